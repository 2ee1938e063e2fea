//! Why a packet was not simply sent on: the reasons that may be counted for it.

use lb_common::{reason::Reason, service::mode};

use super::{Case, Fate, Fault, Judge, claim, echo, path, unsound};
use crate::{
    fuzz::{
        dissect::{self, Content, Ip, Segment, be16},
        flows::Datagram,
        plan::{self, Service},
        reasons::Reasons,
        world::{Backend, MTU},
    },
    packet::{ETHERNET_LEN, flag::*, protocol},
};

/// Bytes by which a packet grows that becomes one of IPv6.
const GROWTH: usize = 20;
/// Bytes behind a packet that a frame may have, as if they were tags.
const SLACK: usize = 8;

impl Judge {
    /// # Errors
    /// When there is no reason.
    pub(super) fn why(
        &self,
        case: &Case<'_>,
        content: &Content,
        fate: Fate,
    ) -> Result<Reasons, Fault> {
        let reasons = match fate {
            Fate::ToBackend { resolved: true, .. }
            | Fate::ToClient { resolved: true, .. }
            | Fate::ErrorSent { resolved: true } => return Ok(Reasons::default()),
            Fate::ToBackend { idx, .. } if !case.world.backends[idx as usize].resolved => {
                Reasons::of(Reason::NextHopUnknown)
            }
            Fate::ErrorSent { .. } => Reasons::of(Reason::NextHopUnknown),
            Fate::ToBackend { .. } | Fate::ToClient { .. } => Reasons::of(Reason::ToFragment),
            Fate::Passed => self.why_passed(case, content),
            Fate::Dropped => self.why_dropped(case, content),
            Fate::Answered => self.why_answered(case, content),
        };
        claim!(
            !reasons.is_empty(),
            "nothing is a reason for this: {fate:?} of {content:?}"
        );
        Ok(reasons)
    }

    fn why_passed(&self, case: &Case<'_>, content: &Content) -> Reasons {
        match content {
            Content::Other => Reasons::of(Reason::NotIp),
            Content::Broken => {
                Reasons::of(Reason::Truncated).or(Reason::NotOurs, unsound::chooses_its_way(case))
            }
            Content::Later(ip) if ip.v6 || is_known(ip) => Reasons::of(Reason::LaterFragment),
            Content::Later(_) => Reasons::of(Reason::OtherProtocol),
            Content::Segment(_) => Reasons::of(Reason::NotOurs),
            Content::NoPorts(ip) if echo::is_icmp(ip) => self.why_icmp_passed(case, ip),
            // A route that goes on leads to others.
            Content::NoPorts(ip) => Reasons::of(Reason::OtherProtocol)
                .or(Reason::NotOurs, ip.v6 && ip.protocol == protocol::ROUTING),
        }
    }

    fn why_answered(&self, case: &Case<'_>, content: &Content) -> Reasons {
        let Content::Segment(segment) = content else {
            return Reasons::of(Reason::IcmpEcho);
        };
        let Content::NoPorts(out) = dissect::frame(case.out) else {
            return self.refusals(case, segment);
        };
        let kind = case.out[out.body];
        let in_time = kind == if out.v6 { 3 } else { 11 };
        Reasons::default()
            .or(Reason::TimeExceeded, in_time)
            .or(Reason::PacketTooBig, !in_time)
    }

    fn why_dropped(&self, case: &Case<'_>, content: &Content) -> Reasons {
        match content {
            Content::Segment(segment) => self.why_segment_dropped(case, segment),
            Content::Broken => broken(case),
            Content::Later(ip) => self.why_later_dropped(case, ip),
            Content::NoPorts(ip) => self.why_icmp_dropped(case, ip),
            Content::Other => Reasons::default(),
        }
    }

    fn why_segment_dropped(&self, case: &Case<'_>, segment: &Segment) -> Reasons {
        let wrong = unsound::of_any(case, segment);
        if !wrong.is_empty() {
            return wrong;
        }
        let service = self.service(case, segment);
        if let Some(service) = service {
            let Segment { ways, .. } = segment;
            let wrong = unsound::of_client(&ways.source, &ways.destination);
            if !wrong.is_empty() {
                return wrong;
            }
            if service.lists && plan::is_denied(&ways.source) {
                return Reasons::of(Reason::SourceDenied);
            }
        }
        let refused = !self.refusals(case, segment).is_empty();
        let is_reset = segment.is_tcp() && segment.has(RST);
        let unsummed = !segment.is_tcp() && be16(case.sent, segment.checksum_at()) == 0;
        let crosses = self.crosses(case, segment);
        self.why_way_ends(case, &segment.ip, self.service_of_either(case, segment))
            .or(Reason::RstLimited, refused && segment.is_tcp() && !is_reset)
            .or(Reason::RstForRst, refused && is_reset)
            .or(Reason::Unanswered, refused && !segment.is_tcp())
            .or(Reason::NoChecksum, crosses && unsummed)
            .or(Reason::FragmentCrossed, crosses && segment.ip.fragment)
            .or(
                Reason::PortsExhausted,
                service.is_some_and(|service| service.mode == mode::NAT),
            )
            .or(
                Reason::FlowConflict,
                service.is_some_and(|service| service.mode == mode::ROUTE),
            )
    }

    /// Reasons that lie on its way to whom it is for, if that is so.
    fn why_way_ends(&self, case: &Case<'_>, ip: &Ip, service: Option<&Service>) -> Reasons {
        let Some(service) = service else {
            return Reasons::default();
        };
        let last = ip.hops <= 1 && service.mode != mode::DSR;
        let long = self.may_be_too_big(case, ip, service);
        Reasons::default()
            .or(Reason::TtlExpired, last)
            .or(Reason::TooBig, long)
            .or(Reason::IcmpLimited, last || long)
            .or(
                Reason::BackendUnresolved,
                service.mode == mode::DSR && any_unresolved(case, service),
            )
    }

    pub(super) fn may_be_too_big(&self, case: &Case<'_>, ip: &Ip, service: &Service) -> bool {
        let length = ip.end - ip.start;
        if service.is_tunnel() {
            return length + path::overhead(service) > self.narrowest(case, service);
        }
        let growth = if service.crossed && !ip.v6 { GROWTH } else { 0 };
        let shrinks = if service.crossed && ip.v6 { GROWTH } else { 0 };
        length + growth > MTU as usize + shrinks
            || case.sent.len() + growth > ETHERNET_LEN + MTU as usize + SLACK + shrinks
    }

    fn why_later_dropped(&self, case: &Case<'_>, ip: &Ip) -> Reasons {
        let wrong = unsound::of_ip(case, ip);
        let Some(first) = self.flows.first(&Datagram::of(ip)) else {
            return Reasons::of(Reason::FragmentUnknown);
        };
        let (protocol, ways) = first;
        let service = case.world.service_of(*protocol, &ways.destination);
        let back = self.flows.back(first).map(|back| {
            let idx = case.world.backends[back.backend_idx as usize].service_idx;
            &case.world.services[idx as usize]
        });
        let crossed = [service, back];
        let crossed = crossed.iter().flatten().any(|service| service.translates());
        let mut reasons = wrong
            .or(Reason::BadFragment, true)
            .or(Reason::FragmentUnknown, service.is_some())
            .or(Reason::FragmentCrossed, crossed);
        if let Some(service) = back.or(service) {
            let last = ip.hops <= 1 && service.mode != mode::DSR;
            // None is told of a later fragment.
            reasons = reasons
                .or(Reason::TtlExpired, last)
                .or(Reason::TooBig, self.may_be_too_big(case, ip, service))
                .or(Reason::BackendUnresolved, service.mode == mode::DSR);
        }
        reasons
    }

    /// Reasons to answer a segment with a reset.
    fn refusals(&self, case: &Case<'_>, segment: &Segment) -> Reasons {
        let key = (segment.ip.protocol, segment.ways);
        let is_dead = |idx: u32| case.world.backends[idx as usize].is_dead();
        let dead = self
            .flows
            .forth(&key)
            .is_some_and(|flow| is_dead(flow.backend_idx))
            || self
                .flows
                .back(&key)
                .is_some_and(|back| is_dead(back.backend_idx));
        let reasons = Reasons::default().or(Reason::BackendDown, dead);
        let Some(service) = self.service(case, segment) else {
            return reasons;
        };
        let opens = !segment.is_tcp() || segment.flags & (SYN | ACK | RST | FIN) == SYN;
        let chooses = opens || service.is_one_way();
        let backends = case.world.backends_of(service.idx);
        let any = backends.iter().any(Backend::takes_flows);
        reasons
            .or(Reason::NoFlow, !chooses)
            .or(Reason::NoBackend, chooses && !any)
            .or(Reason::BackendsFull, chooses && service.max_flows != 0)
    }

    /// The service of a segment in either direction.
    pub(super) fn service_of_either<'a>(
        &self,
        case: &Case<'a>,
        segment: &Segment,
    ) -> Option<&'a Service> {
        let back = self.flows.back(&(segment.ip.protocol, segment.ways));
        match back {
            Some(back) => {
                let backend = &case.world.backends[back.backend_idx as usize];
                case.world.services.get(backend.service_idx as usize)
            }
            None => self.service(case, segment),
        }
    }

    fn crosses(&self, case: &Case<'_>, segment: &Segment) -> bool {
        self.service_of_either(case, segment)
            .is_some_and(Service::translates)
    }
}

/// Of a protocol that is looked at.
const fn is_known(ip: &Ip) -> bool {
    matches!(ip.protocol, protocol::TCP | protocol::UDP | protocol::ICMP)
}

fn any_unresolved(case: &Case<'_>, service: &Service) -> bool {
    let mut backends = case.world.backends_of(service.idx).iter();
    backends.any(|backend| !backend.resolved)
}

/// Of what has lengths that contradict one another.
fn broken(case: &Case<'_>) -> Reasons {
    let first = dissect::is_first_fragment(case.sent);
    Reasons::default()
        .or(Reason::BadFragment, first)
        .or(Reason::BadLength, !first)
        .or(Reason::SourceRouted, unsound::chooses_its_way(case))
}
