//! What went to a backend.

use lb_common::service::mode;

use super::{
    Case, Fate, Fault, Judge,
    bytes::{self, Rewrite},
    claim, translated, tunnel, unsound,
};
use crate::{
    fuzz::{
        dissect::{self, Content, Ip, Segment, be16},
        end::Ways,
        flows::{Back, FRONTS, Flow, Stage},
        plan::{self, Service},
        world::{BACK, Backend, MTU},
    },
    packet::{Mac, flag::*},
    rig::Verdict,
};

impl Judge {
    pub(super) fn sent_forth(
        &mut self,
        case: &Case<'_>,
        segment: &Segment,
        service: &Service,
    ) -> Result<Fate, Fault> {
        let resolved = case.verdict != Verdict::Pass;
        let hop = service.mode != mode::DSR;
        claim!(
            !hop || segment.ip.hops > 1,
            "it was sent on with {} hops left",
            segment.ip.hops
        );
        let (backend, local) = receiver(case, segment, service)?;
        claim!(
            backend.resolved == resolved
                || !resolved
                    && may_be_fragmented(
                        case,
                        &segment.ip,
                        service.crossed || service.is_one_way()
                    ),
            "verdict {:?}, where the way to the backend is known: {}",
            case.verdict,
            backend.resolved
        );
        let macs = resolved.then_some((backend.mac, BACK));
        let limit = self.limit(service, backend);
        let expected = &mut self.expected;
        match service.mode {
            mode::DSR => {
                expected.take(case.sent);
                bytes::macs(expected, macs);
            }
            mode::IPIP | mode::GUE => {
                tunnel::wrap(expected, case, &segment.ip, (service, backend), limit)?;
            }
            _ if service.crossed => {
                translated::rewrite(expected, case, segment, &local, macs, resolved)?;
            }
            _ => {
                let rewrite = Rewrite {
                    ways: local,
                    macs,
                    hop: resolved,
                };
                bytes::rewrite(expected, case, segment, &rewrite)?;
            }
        }
        bytes::same(&self.expected, case.out)?;
        if resolved {
            leaves_by(case, backend.leaves_by_ingress())?;
        }
        self.bind(case, segment, service, backend, local)?;
        Ok(Fate::ToBackend {
            idx: backend.idx,
            resolved,
        })
    }

    /// This backend may have this packet, and from now on its flow.
    fn bind(
        &mut self,
        case: &Case<'_>,
        segment: &Segment,
        service: &Service,
        backend: &Backend,
        local: Ways,
    ) -> Result<(), Fault> {
        let key = (segment.ip.protocol, segment.ways);
        let back = Back {
            client: segment.ways,
            backend_idx: backend.idx,
            router: mac(&case.sent[6..12]),
            fronts: [mac(&case.sent[..6]); FRONTS],
        }
        .after(self.flows.back(&(key.0, local.back())));
        let back = (!service.is_one_way()).then_some(back);
        let before = self.flows.forth(&key).copied();
        let its_own = before.filter(|flow| flow.backend_idx == backend.idx && flow.local == local);
        if let Some(flow) = its_own {
            let is_reset = segment.is_tcp() && segment.has(RST);
            claim!(
                !backend.is_dead() || is_reset,
                "a dead backend was sent something: {backend:?}"
            );
            self.flows.note(key, flow, back);
            return Ok(());
        }
        claim!(
            backend.takes_flows(),
            "a new flow went to a backend that takes none: {backend:?}, before: {before:?}"
        );
        claim!(
            service.is_one_way()
                || !segment.is_tcp()
                || segment.flags & (SYN | ACK | RST | FIN) == SYN,
            "a flow was opened by flags {:#04x}",
            segment.flags
        );
        claim!(
            !service.lists || !plan::is_denied(&segment.ways.source),
            "a source that lists deny opened a flow"
        );
        let wrong = unsound::of_client(&segment.ways.source, &segment.ways.destination);
        claim!(wrong.is_empty(), "who is nobody opened a flow: {wrong:?}");
        if !service.is_one_way() {
            self.may_have_source(case, segment, service, &local)?;
        }
        let flow = Flow {
            service_idx: service.idx,
            backend_idx: backend.idx,
            local,
            stage: Stage::Opened,
        };
        if let Some(before) = before
            && before.stage == Stage::Established
            && !case.world.backends[before.backend_idx as usize].is_dead()
        {
            self.lost = Some(format!(
                "an established flow began anew: {before:?} as {flow:?}"
            ));
        }
        self.flows.note(key, flow, back);
        Ok(())
    }

    /// The source toward the backend is one of ours, and of no flow that is established.
    fn may_have_source(
        &mut self,
        case: &Case<'_>,
        segment: &Segment,
        service: &Service,
        local: &Ways,
    ) -> Result<(), Fault> {
        if service.mode == mode::ROUTE {
            claim!(
                local.source == segment.ways.source,
                "mode route changed the source to {:?}",
                local.source
            );
        } else {
            claim!(
                case.world.is_source(&local.source),
                "{:?} is no source of ours",
                local.source
            );
        }
        let protocol = segment.ip.protocol;
        let holder = self.flows.back(&(protocol, local.back()));
        let holder = holder.and_then(|back| self.flows.forth(&(protocol, back.client)));
        if let Some(holder) = holder
            && holder.stage == Stage::Established
            && holder.local == *local
        {
            self.lost = Some(format!(
                "the source of an established flow was given away: {holder:?}"
            ));
        }
        Ok(())
    }
}

/// Which backend a packet went to, and from where to where.
fn receiver<'a>(
    case: &Case<'a>,
    segment: &Segment,
    service: &Service,
) -> Result<(&'a Backend, Ways), Fault> {
    let backends = case.world.backends_of(service.idx);
    let out = case.out;
    let (found, ways) = match service.mode {
        mode::DSR => {
            let found = backends
                .iter()
                .find(|backend| out.starts_with(&backend.mac));
            (found, segment.ways)
        }
        mode::IPIP | mode::GUE => {
            let end = tunnel::outer_destination(out);
            let found = backends
                .iter()
                .find(|backend| end.is_some_and(|end| backend.end.same_host(&end)));
            (found, segment.ways)
        }
        _ => {
            let Content::Segment(sent) = dissect::frame(out) else {
                return Err("what was sent on is no whole segment".to_owned());
            };
            let to = sent.ways.destination;
            let asked = segment.ways.destination.port;
            let found = backends.iter().find(|backend| {
                let port = if backend.end.port == 0 {
                    asked
                } else {
                    backend.end.port
                };
                backend.end.at_port(port) == to
            });
            (found, sent.ways)
        }
    };
    match found {
        Some(backend) => Ok((backend, ways)),
        None => Err(format!("it went to no backend of the service: {ways:?}")),
    }
}

/// The kernel may get it to fragment it: it is too long for its way, and its sender allows that. What
/// becomes a packet of IPv6 only its sender may fragment.
pub(super) fn may_be_fragmented(case: &Case<'_>, ip: &Ip, crossed: bool) -> bool {
    let forbidden = ip.v6 || crossed || be16(case.sent, ip.start + 6) & 0x4000 != 0;
    !forbidden && ip.end - ip.start > MTU as usize
}

/// By the interface that packets come by, or not.
pub(super) fn leaves_by(case: &Case<'_>, ingress: bool) -> Result<(), Fault> {
    let right = if ingress && !case.world.shape.plain {
        Verdict::Tx
    } else {
        Verdict::Redirect
    };
    claim!(
        case.verdict == right,
        "the verdict is {:?}, not {right:?}",
        case.verdict
    );
    Ok(())
}

pub(super) fn mac(bytes: &[u8]) -> Mac {
    let mut mac = [0; 6];
    mac.copy_from_slice(bytes);
    mac
}
