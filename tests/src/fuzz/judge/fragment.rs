//! Fragments: the first goes the way of any packet, and the others go where it went.

use lb_common::service::mode;

use super::{
    Case, Fate, Fault, Judge,
    bytes::{self, Rewrite},
    claim, forth, tunnel,
};
use crate::{
    fuzz::{
        dissect::{Content, Ip},
        flows::Datagram,
        world::BACK,
    },
    rig::Verdict,
};

impl Datagram {
    pub(super) const fn of(ip: &Ip) -> Self {
        Self {
            source: ip.source,
            destination: ip.destination,
            identification: ip.identification,
            // IPv6 has one for all protocols (RFC 8200, section 4.5).
            protocol: if ip.v6 { 0 } else { ip.protocol },
        }
    }
}

impl Judge {
    /// Notes the ports of first fragments.
    pub(super) fn watch_fragments(&mut self, content: &Content) {
        if let Content::Segment(segment) = content
            && segment.ip.fragment
        {
            let key = (segment.ip.protocol, segment.ways);
            self.flows.note_first(Datagram::of(&segment.ip), key);
        }
    }

    /// Its first one, or its address, may be of ours.
    pub(super) fn may_drop_later(&self, case: &Case<'_>, ip: &Ip) -> bool {
        case.world.is_vip_address(&ip.destination) || self.flows.first(&Datagram::of(ip)).is_some()
    }

    pub(super) fn fragment_sent_on(&mut self, case: &Case<'_>, ip: &Ip) -> Result<Fate, Fault> {
        let Some(key) = self.flows.first(&Datagram::of(ip)).copied() else {
            return Err("a fragment was sent on whose first was not seen".to_owned());
        };
        let out = case.out.len();
        claim!(
            ip.body <= ip.end && ip.end <= case.sent.len(),
            "a broken fragment was sent on"
        );
        if let Some(back) = self.flows.back(&key).copied() {
            let resolved = case.verdict != Verdict::Pass;
            claim!(
                resolved || forth::may_be_fragmented(case, ip, false),
                "a backend's fragment was changed and passed"
            );
            let rewrite = Rewrite {
                ways: back.client.back(),
                macs: resolved.then_some((back.router, back.front(case.out))),
                hop: resolved,
            };
            claim!(ip.hops > 1, "a fragment was sent on with no hop left");
            claim!(
                rewrite.ways.source.v6 == ip.v6 && out == case.sent.len(),
                "a fragment went to the other address family"
            );
            bytes::header(&mut self.expected, case, ip, &rewrite)?;
            bytes::same(&self.expected, case.out)?;
            if resolved {
                forth::leaves_by(case, true)?;
            }
            return Ok(Fate::ToClient {
                backend_idx: back.backend_idx,
                resolved,
            });
        }
        let Some(flow) = self.flows.forth(&key).copied() else {
            return Err(format!("a fragment of no flow was sent on: {key:?}"));
        };
        let service = &case.world.services[flow.service_idx as usize];
        let backend = &case.world.backends[flow.backend_idx as usize];
        let resolved = case.verdict != Verdict::Pass;
        claim!(!backend.is_dead(), "a dead backend was sent a fragment");
        claim!(
            backend.resolved == resolved
                || !resolved && forth::may_be_fragmented(case, ip, service.is_one_way()),
            "verdict {:?}, where the way to the backend is known: {}",
            case.verdict,
            backend.resolved
        );
        claim!(
            service.mode == mode::DSR || ip.hops > 1,
            "a fragment was sent on with no hop left"
        );
        let macs = resolved.then_some((backend.mac, BACK));
        match service.mode {
            mode::DSR => {
                self.expected.take(case.sent);
                bytes::macs(&mut self.expected, macs);
            }
            mode::IPIP | mode::GUE => {
                let limit = self.limit(service, backend);
                tunnel::wrap(&mut self.expected, case, ip, (service, backend), limit)?;
            }
            _ => {
                claim!(
                    !service.crossed && out == case.sent.len(),
                    "a fragment went to the other address family"
                );
                let rewrite = Rewrite {
                    ways: flow.local,
                    macs,
                    hop: resolved,
                };
                bytes::header(&mut self.expected, case, ip, &rewrite)?;
            }
        }
        bytes::same(&self.expected, case.out)?;
        if resolved {
            forth::leaves_by(case, backend.leaves_by_ingress())?;
        }
        Ok(Fate::ToBackend {
            idx: backend.idx,
            resolved,
        })
    }
}
