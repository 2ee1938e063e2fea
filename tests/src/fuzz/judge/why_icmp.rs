//! Why a message of ICMP was passed as it came, or dropped.

use lb_common::{reason::Reason, service::mode};

use super::{Case, Judge, echo, error::Quoted, path::News, unsound};
use crate::fuzz::{dissect::Ip, plan, reasons::Reasons};

impl Judge {
    pub(super) fn why_icmp_passed(&self, case: &Case<'_>, ip: &Ip) -> Reasons {
        let routed = unsound::chooses_its_way(case);
        let news = News::of(case, ip);
        if news.as_ref().is_some_and(|news| news.is_end(case)) {
            return Reasons::of(Reason::PathMtu);
        }
        // The filter may take others for the end of a tunnel.
        let reasons = Reasons::default().or(Reason::PathMtu, news.is_some());
        if !echo::is_whole(case, ip) {
            return reasons
                .or(Reason::Truncated, true)
                .or(Reason::OtherProtocol, routed);
        }
        if routed {
            return Reasons::of(Reason::OtherProtocol);
        }
        if echo::is_request(case, ip) {
            let vip = case.world.is_vip_address(&ip.destination);
            return Reasons::default()
                .or(Reason::NotOurs, !vip)
                .or(Reason::IcmpFragment, vip && ip.fragment)
                .or(Reason::IcmpMalformed, vip && !ip.fragment);
        }
        if !echo::is_error(case, ip) {
            return Reasons::of(Reason::OtherProtocol);
        }
        if ip.fragment {
            return Reasons::of(Reason::IcmpFragment);
        }
        let Some(quoted) = Quoted::of(case, ip) else {
            // It is cut off, or of another protocol, or a later fragment.
            return reasons
                .or(Reason::IcmpMalformed, true)
                .or(Reason::NotOurs, true)
                .or(Reason::IcmpNoFlow, true);
        };
        let (protocol, ways) = quoted.key();
        let ours = case.world.service_of(protocol, &ways.destination).is_some();
        let malformed = !ip.destination.same_host(&quoted.ways.source) || !quoted.is_plausible();
        if malformed {
            return reasons.or(Reason::IcmpMalformed, true);
        }
        let known = self.flows.back(&quoted.key()).is_some();
        reasons
            .or(Reason::IcmpNoFlow, ours || known)
            .or(Reason::NotOurs, !ours)
    }

    pub(super) fn why_icmp_dropped(&self, case: &Case<'_>, ip: &Ip) -> Reasons {
        if echo::is_request(case, ip) {
            return Reasons::of(Reason::IcmpLimited);
        }
        let Some(quoted) = Quoted::of(case, ip) else {
            return Reasons::default();
        };
        let key = quoted.key();
        let forth = self.flows.forth(&key).map(|flow| flow.backend_idx);
        let back = self.flows.back(&key).map(|back| back.backend_idx);
        let mut reasons = Reasons::default();
        let mut service = case.world.service_of(key.0, &key.1.destination);
        for idx in [forth, back].into_iter().flatten() {
            let backend = &case.world.backends[idx as usize];
            reasons = reasons.or(Reason::IcmpBackendDown, backend.is_dead());
            service = service.or(case.world.services.get(backend.service_idx as usize));
        }
        let Some(service) = service else {
            return reasons;
        };
        let unresolved = case
            .world
            .backends_of(service.idx)
            .iter()
            .any(|backend| !backend.resolved);
        let lost = ip.hops <= 1 && service.mode != mode::DSR
            || service.mode == mode::DSR && unresolved
            || service.is_tunnel() && self.may_be_too_big(case, ip, service);
        reasons
            .or(Reason::IcmpCrossed, service.translates())
            .or(Reason::IcmpUndeliverable, lost)
            .or(
                Reason::SourceDenied,
                service.lists && plan::is_denied(&key.1.source),
            )
    }
}
