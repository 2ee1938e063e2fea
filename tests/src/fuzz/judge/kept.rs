//! What was not sent on: passed as it came, or dropped. And established flows, which may not be treated
//! as if they were not there.

use super::{Case, Fate, Fault, Judge, claim, echo, unsound};
use crate::{
    fuzz::{
        dissect::{self, Content, Segment},
        flows::Stage,
        sum::Sum,
    },
    packet::flag::*,
};

impl Judge {
    /// It went to the kernel as it came.
    pub(super) fn passed(&mut self, case: &Case<'_>, content: &Content) -> Result<Fate, Fault> {
        match content {
            Content::Segment(segment) => {
                claim!(
                    self.service(case, segment).is_none(),
                    "what is for a vip was passed: {:?}",
                    segment.ways
                );
            }
            Content::Broken => {
                if let Some((protocol, ways)) = dissect::rough(case.sent) {
                    claim!(
                        case.world.service_of(protocol, &ways.destination).is_none(),
                        "a broken packet for a vip was passed: {ways:?}"
                    );
                }
            }
            Content::NoPorts(ip) if echo::is_icmp(ip) => self.icmp_passed(case, ip)?,
            _ => {}
        }
        Ok(Fate::Passed)
    }

    pub(super) fn dropped(&mut self, case: &Case<'_>, content: &Content) -> Result<Fate, Fault> {
        let ours = match content {
            Content::Segment(segment) => self.is_ours(case, (segment.ip.protocol, segment.ways)),
            Content::Broken => {
                dissect::rough(case.sent).is_some_and(|rough| self.is_ours(case, rough))
                    || dissect::too_short(case.sent)
                        .is_some_and(|vip| case.world.is_vip_address(&vip))
            }
            Content::Later(ip) => self.may_drop_later(case, ip),
            Content::NoPorts(ip) if echo::is_icmp(ip) => self.may_drop_icmp(case, ip),
            Content::NoPorts(_) | Content::Other => false,
        };
        claim!(ours, "what is not ours was dropped: {content:?}");
        if let Content::NoPorts(ip) = content {
            self.error_dropped(case, ip);
        }
        Ok(Fate::Dropped)
    }

    /// Notes what a segment that was judged means for its flow's stage.
    pub(super) fn watch(&mut self, case: &Case<'_>, segment: &Segment, fate: Fate) {
        if !segment.is_tcp() {
            return;
        }
        let client = self.client_of(segment);
        let is_client = client == segment.ways;
        let key = (segment.ip.protocol, client);
        let Some(flow) = self.flows.forth(&key).copied() else {
            return;
        };
        // A backend may still send to where an earlier flow of this client was.
        if !is_client && flow.local.back() != segment.ways {
            return;
        }
        let went_on = matches!(fate, Fate::ToBackend { .. } | Fate::ToClient { .. });
        let flags = segment.flags & (SYN | ACK | FIN | RST);
        let backend = &case.world.backends[flow.backend_idx as usize];
        let next = match flow.stage {
            _ if backend.is_dead() => Stage::Unsure,
            Stage::Established if went_on && flags & (FIN | RST) != 0 => Stage::Unsure,
            Stage::Established if went_on || fate == Fate::Dropped && !is_sound(case, segment) => {
                Stage::Established
            }
            Stage::Established if flags == ACK && is_sound(case, segment) => {
                self.lost = Some(format!("an established flow was lost: {client:?}"));
                Stage::Unsure
            }
            Stage::Established if flags == ACK => Stage::Established,
            Stage::Established => Stage::Unsure,
            _ if flags & (FIN | RST) != 0 => Stage::Unsure,
            stage if !went_on => stage,
            _ if is_client && flags == SYN => Stage::Opened,
            Stage::Opened | Stage::Answered(_) if !is_client && flags == SYN | ACK => {
                Stage::Answered(segment.sequence.wrapping_add(1))
            }
            Stage::Answered(pending) if is_client && flags == ACK => {
                if segment.acknowledgement.wrapping_sub(pending) < 1 << 16 {
                    Stage::Established
                } else {
                    Stage::Answered(pending)
                }
            }
            stage => stage,
        };
        if let Some(stage) = self.flows.stage(&key) {
            *stage = next;
        }
    }
}

/// Nothing is wrong with a segment, and it may go on.
fn is_sound(case: &Case<'_>, segment: &Segment) -> bool {
    let ip = &segment.ip;
    let whole = Sum::of(&case.sent[ip.body..ip.end])
        .and_pseudo_header(&segment.ways, ip.protocol, ip.end - ip.body)
        .remainder();
    ip.hops > 1
        && !ip.fragment
        && whole == 0
        && ip.end - ip.start < 1_280
        && unsound::of_any(case, segment).is_empty()
}
