//! What routers say of the way to a tunnel's end (RFC 1191, RFC 8201), and what fits into a tunnel by that.

use lb_common::service::mode;

use super::{Case, Judge, echo, unsound};
use crate::{
    fuzz::{
        dissect::{Ip, be16, be32},
        end::End,
        plan::Service,
        world::{Backend, TUNNEL_MTU, tunnel},
    },
    packet::protocol,
};

/// A router's word about an outer packet that was too big for it.
pub(super) struct News {
    end: End,
    source: End,
    mtu: usize,
}

impl News {
    /// No less is believed.
    const fn floor(v6: bool) -> usize {
        if v6 { 1_280 } else { 576 }
    }

    /// What a message says, whatever its lengths do. Its sender proves nothing in any case.
    pub(super) fn of(case: &Case<'_>, ip: &Ip) -> Option<Self> {
        let kind: [u8; 2] = if ip.v6 { [2, 0] } else { [3, 4] };
        let in_parts = !ip.v6 && be16(case.sent, ip.start + 6) & 0xbfff != 0;
        let extended = ip.v6 && ip.body != ip.start + 40;
        if !echo::is_icmp(ip) || in_parts || extended || unsound::chooses_its_way(case) {
            return None;
        }
        let message = case.sent.get(ip.body..)?;
        if !message.starts_with(&kind) || message.len() < echo::HEADER {
            return None;
        }
        let rest = be32(message, 4) as usize;
        let quote = &message[echo::HEADER..];
        let (inside, length, source, end, mtu) = if ip.v6 {
            let header = quote.get(..40).filter(|header| header[0] >> 4 == 6)?;
            let length = 40 + usize::from(be16(header, 4));
            (header[6], length, &header[8..24], &header[24..40], rest)
        } else {
            let header = quote.get(..20).filter(|header| header[0] == 0x45)?;
            let length = usize::from(be16(header, 2));
            let mtu = rest & 0xffff;
            (header[9], length, &header[12..16], &header[16..20], mtu)
        };
        let news = Self {
            end: End::read(end, 0),
            source: End::read(source, 0),
            mtu: mtu.max(Self::floor(ip.v6)),
        };
        let outer = matches!(inside, protocol::IPV4 | protocol::IPV6 | protocol::UDP);
        (outer && news.source.same_host(&ip.destination) && news.mtu < length).then_some(news)
    }

    /// The packet was for the end of a tunnel.
    pub(super) fn is_end(&self, case: &Case<'_>) -> bool {
        case.world.backends.iter().any(|backend| {
            let service = &case.world.services[backend.service_idx as usize];
            service.is_tunnel() && backend.end.same_host(&self.end)
        })
    }
}

impl Judge {
    /// Notes what a message says that went to the kernel.
    pub(super) fn hear(&mut self, case: &Case<'_>, ip: &Ip) {
        if let Some(news) = News::of(case, ip)
            && news.is_end(case)
        {
            self.flows.paths.insert(news.end, (news.source, news.mtu));
        }
    }

    /// Most bytes of an outer packet to this backend.
    pub(super) fn limit(&self, service: &Service, backend: &Backend) -> usize {
        let end = backend.end.at_port(0);
        match self.flows.paths.get(&end) {
            Some((source, mtu)) if is_source(service, source.octets()) => TUNNEL_MTU.min(*mtu),
            _ => TUNNEL_MTU,
        }
    }

    /// The least of that among the backends of a service.
    pub(super) fn narrowest(&self, case: &Case<'_>, service: &Service) -> usize {
        let backends = case.world.backends_of(service.idx).iter();
        let limits = backends.map(|backend| self.limit(service, backend));
        limits.min().unwrap_or(TUNNEL_MTU)
    }
}

/// Bytes that a tunnel adds to a packet.
pub(super) fn overhead(service: &Service) -> usize {
    let ip = if service.backends_v6() { 40 } else { 20 };
    ip + shim(service)
}

/// Bytes between the outer IP header and the packet.
pub(super) const fn shim(service: &Service) -> usize {
    match (service.mode, service.variant) {
        (mode::IPIP, _) => 0,
        (_, 0) => 12,
        _ => 8,
    }
}

/// Outer packets of the service may have this source: the tunnel's, but for the bits that tell flows apart.
pub(super) fn is_source(service: &Service, octets: &[u8]) -> bool {
    let tunnel = tunnel(service);
    let bytes = |words: [u32; 4]| words.map(u32::to_ne_bytes).concat();
    let skip = 16 - octets.len();
    let (source, spread) = (bytes(tunnel.source), bytes(tunnel.spread));
    let mut pairs = octets
        .iter()
        .zip(source[skip..].iter().zip(&spread[skip..]));
    pairs.all(|(octet, (source, spread))| octet & !spread == *source)
}
