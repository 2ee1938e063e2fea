//! ICMP errors about flows (RFC 792; RFC 4443, section 3): to the end that sent what they quote, who must
//! find there what it sent.

use lb_common::service::mode;

use super::{
    Case, Fate, Fault, Judge,
    bytes::{self, Rewrite},
    claim,
    echo::{self, HEADER},
    forth, told, tunnel, unsound,
};
use crate::{
    fuzz::{
        dissect::{self, Ip, be16},
        end::{End, Ways},
        flows::Stage,
        plan::Service,
        sum::Sum,
        world::{BACK, Backend},
    },
    packet::protocol,
    rig::Verdict,
};

/// Bytes of a quoted transport header that are always there.
pub(super) const LEAST: usize = 8;

/// The packet that an error quotes.
pub(super) struct Quoted {
    pub(super) start: usize,
    pub(super) v6: bool,
    pub(super) transport: usize,
    pub(super) protocol: u8,
    /// Bytes that it says it had.
    pub(super) length: usize,
    pub(super) ways: Ways,
}

impl Quoted {
    pub(super) fn of(case: &Case<'_>, ip: &Ip) -> Option<Self> {
        if !echo::is_error(case, ip) {
            return None;
        }
        let start = ip.body + HEADER;
        let message = &case.sent[..ip.end];
        let (protocol, transport) = if ip.v6 {
            let header = message.get(start..start + 40)?;
            (header[0] >> 4 == 6).then_some(())?;
            dissect::behind_extensions(message, start)?
        } else {
            let header = message.get(start..start + 20)?;
            let words = header[0] & 15;
            (header[0] >> 4 == 4 && words >= 5 && be16(header, 6) & 0x1fff == 0).then_some(())?;
            (header[9], start + usize::from(words) * 4)
        };
        let ports = message.get(transport..transport + LEAST)?;
        let (source, length) = if ip.v6 { (8, 16) } else { (12, 4) };
        let end = |at, port| End::read(&message[start + at..][..length], port);
        let balanced = matches!(protocol, protocol::TCP | protocol::UDP);
        balanced.then(|| Self {
            start,
            v6: ip.v6,
            transport,
            protocol,
            length: if ip.v6 {
                40 + usize::from(be16(message, start + 4))
            } else {
                usize::from(be16(message, start + 2))
            },
            ways: Ways {
                source: end(source, be16(ports, 0)),
                destination: end(source + length, be16(ports, 2)),
            },
        })
    }

    /// Protocol and ends of packets from who got it.
    pub(super) const fn key(&self) -> (u8, Ways) {
        (self.protocol, self.ways.back())
    }

    /// It was as long as its own headers.
    pub(super) const fn is_plausible(&self) -> bool {
        let least = if self.protocol == protocol::TCP {
            20
        } else {
            8
        };
        self.transport - self.start + least <= self.length
    }
}

impl Judge {
    /// It quotes a packet that is for a vip or of a flow of ours.
    pub(super) fn is_about_ours(&self, case: &Case<'_>, ip: &Ip) -> bool {
        Quoted::of(case, ip).is_some_and(|quoted| self.is_ours(case, quoted.key()))
    }

    /// An error was passed. One about an established flow may not be.
    pub(super) fn error_passed(&mut self, case: &Case<'_>, ip: &Ip) {
        if self.is_about_established(case, ip).is_some() {
            self.lost = Some("an error about an established flow was passed".to_owned());
        }
    }

    /// An error was dropped. One about an established flow between the families may only be if the other family
    /// has none like it, or nobody to send it to.
    pub(super) fn error_dropped(&mut self, case: &Case<'_>, ip: &Ip) {
        let Some((service, backend)) = self.is_about_established(case, ip) else {
            return;
        };
        let may_go = ip.hops > 1 && !backend.is_dead() && told::likeness(case, ip).is_some();
        if service.translates() && may_go {
            self.lost = Some("an error about an established flow was dropped".to_owned());
        }
    }

    /// The service and backend of the established flow that it is about, if nothing is wrong with it.
    fn is_about_established<'c>(
        &self,
        case: &Case<'c>,
        ip: &Ip,
    ) -> Option<(&'c Service, &'c Backend)> {
        let quoted = Quoted::of(case, ip)?;
        let (protocol, ways) = quoted.key();
        let back = self.flows.back(&(protocol, ways));
        let client = back.map_or(ways, |back| back.client);
        let flow = self.flows.forth(&(protocol, client))?;
        let its_own = client == ways || flow.local.back() == ways;
        let sound = ip.destination.same_host(&quoted.ways.source)
            && quoted.is_plausible()
            && !ip.fragment
            && !unsound::chooses_its_way(case);
        (its_own && sound && flow.stage == Stage::Established).then(|| {
            let service = &case.world.services[flow.service_idx as usize];
            (service, &case.world.backends[flow.backend_idx as usize])
        })
    }

    pub(super) fn error_sent_on(&mut self, case: &Case<'_>, ip: &Ip) -> Result<Fate, Fault> {
        let Some(quoted) = Quoted::of(case, ip) else {
            return Err("a message was sent on that quotes nothing of ours".to_owned());
        };
        claim!(
            ip.destination.same_host(&quoted.ways.source),
            "an error was sent on that is not for who sent what it quotes"
        );
        let key = quoted.key();
        if let Some(back) = self.flows.back(&key).copied() {
            let client = back.client;
            claim!(
                !case.world.backends[back.backend_idx as usize].is_dead(),
                "an error about a flow of a dead backend was sent on"
            );
            let outer = client.back();
            let macs = Some((back.router, back.front(case.out)));
            self.rewritten(case, ip, &quoted, (outer, client), macs)?;
            forth::leaves_by(case, true)?;
            return Ok(Fate::ErrorSent { resolved: true });
        }
        let Some(service) = case.world.service_of(key.0, &key.1.destination) else {
            return Err(format!(
                "an error about others was sent on: {:?}",
                quoted.ways
            ));
        };
        if service.is_one_way() {
            self.error_past_us(case, ip, &quoted, service)
        } else {
            self.error_to_backend(case, ip, &quoted)
        }
    }

    fn error_to_backend(
        &mut self,
        case: &Case<'_>,
        ip: &Ip,
        quoted: &Quoted,
    ) -> Result<Fate, Fault> {
        let key = quoted.key();
        let Some(flow) = self.flows.forth(&key).copied() else {
            return Err(format!(
                "an error about no flow was sent on: {:?}",
                quoted.ways
            ));
        };
        let backend = &case.world.backends[flow.backend_idx as usize];
        let resolved = way(case, backend)?;
        let mut outer = flow.local;
        if outer.source.same_host(&key.1.source) {
            // Who knows the client may know who is on the way to it.
            outer.source = ip.source;
        }
        let macs = resolved.then_some((backend.mac, BACK));
        self.rewritten(case, ip, quoted, (outer, flow.local.back()), macs)?;
        if resolved {
            forth::leaves_by(case, backend.leaves_by_ingress())?;
        }
        Ok(Fate::ErrorSent { resolved })
    }

    /// As it is, or wrapped, to the backend of the flow; or to that of the ring, as another balancer may
    /// have opened the flow.
    fn error_past_us(
        &mut self,
        case: &Case<'_>,
        ip: &Ip,
        quoted: &Quoted,
        service: &Service,
    ) -> Result<Fate, Fault> {
        let its_own = self.flows.forth(&quoted.key()).map(|flow| flow.backend_idx);
        let end = tunnel::outer_destination(case.out);
        let backend = case.world.backends_of(service.idx).iter().find(|backend| {
            if service.mode == mode::DSR {
                case.out.starts_with(&backend.mac)
            } else {
                end.is_some_and(|end| backend.end.same_host(&end))
            }
        });
        let Some(backend) = backend else {
            return Err("an error went to no backend of the service".to_owned());
        };
        let resolved = way(case, backend)?;
        claim!(
            its_own == Some(backend.idx) || backend.takes_flows(),
            "an error went to a backend that takes no flows"
        );
        if service.mode == mode::DSR {
            self.expected.take(case.sent);
            bytes::macs(&mut self.expected, Some((backend.mac, BACK)));
        } else {
            claim!(ip.hops > 1, "an error was sent on with no hop left");
            let limit = self.limit(service, backend);
            tunnel::wrap(&mut self.expected, case, ip, (service, backend), limit)?;
        }
        bytes::same(&self.expected, case.out)?;
        if resolved {
            forth::leaves_by(case, backend.leaves_by_ingress())?;
        }
        Ok(Fate::ErrorSent { resolved })
    }

    /// It came out between these ends, and quotes a packet between those.
    fn rewritten(
        &mut self,
        case: &Case<'_>,
        ip: &Ip,
        quoted: &Quoted,
        (outer, inner): (Ways, Ways),
        macs: Option<([u8; 6], [u8; 6])>,
    ) -> Result<(), Fault> {
        let out = case.out;
        claim!(ip.hops > 1, "an error was sent on with no hop left");
        if inner.source.v6 != ip.v6 {
            return told::rewrite(&mut self.expected, case, ip, quoted, (&outer, &inner), macs);
        }
        claim!(
            out.len() == case.sent.len(),
            "{} bytes became {}",
            case.sent.len(),
            out.len()
        );
        let rewrite = Rewrite {
            ways: outer,
            macs,
            hop: macs.is_some(),
        };
        bytes::header(&mut self.expected, case, ip, &rewrite)?;
        let expected = self.expected.bytes_mut();
        bytes::copy16(expected, out, ip.body + 2);
        bytes::addresses(expected, quoted.start, quoted.v6, &inner);
        bytes::ports(expected, quoted.transport, &inner);
        if !quoted.v6 {
            bytes::copy16(expected, out, quoted.start + 10);
            let header = quoted.start..quoted.transport;
            let sum = |frame: &[u8]| Sum::of(&frame[header.clone()]).remainder();
            claim!(
                sum(case.sent) == sum(out),
                "the quoted header's sum was off by {:#06x} and is by {:#06x}",
                sum(case.sent),
                sum(out)
            );
        }
        let place = match quoted.protocol {
            protocol::TCP => 16,
            _ => 6,
        };
        if quoted.transport + place + 2 <= ip.end {
            bytes::copy16(expected, out, quoted.transport + place);
            quoted_sums(case, ip, quoted, quoted.transport + place, &inner)?;
        }
        let before = Ways {
            source: ip.source,
            destination: ip.destination,
        };
        echo::message_sums(case, ip, ip.body, (&before, &outer))?;
        bytes::same(&self.expected, out)
    }
}

/// The quoted checksum, which stands at `place`, is as right as it was.
fn quoted_sums(
    case: &Case<'_>,
    ip: &Ip,
    quoted: &Quoted,
    place: usize,
    inner: &Ways,
) -> Result<(), Fault> {
    if quoted.protocol == protocol::UDP {
        let (was, is) = (be16(case.sent, place), be16(case.out, place));
        claim!(
            (was == 0) == (is == 0),
            "UDP's quoted checksum was {was:#06x} and is {is:#06x}"
        );
        if was == 0 {
            return Ok(());
        }
    }
    let sum = |frame: &[u8], ways: &Ways| {
        Sum::of(&frame[quoted.transport..ip.end])
            .and_pseudo_header(ways, quoted.protocol, 0)
            .remainder()
    };
    let (before, after) = (sum(case.sent, &quoted.ways), sum(case.out, inner));
    claim!(
        before == after,
        "the quoted transport's sum was off by {before:#06x} and is by {after:#06x}"
    );
    Ok(())
}

/// Whether the way to the backend is known; an error may go there.
fn way(case: &Case<'_>, backend: &Backend) -> Result<bool, Fault> {
    let resolved = case.verdict != Verdict::Pass;
    claim!(
        !backend.is_dead(),
        "an error was sent to a dead backend: {backend:?}"
    );
    claim!(
        backend.resolved == resolved,
        "verdict {:?}, where the way to the backend is known: {}",
        case.verdict,
        backend.resolved
    );
    Ok(resolved)
}
