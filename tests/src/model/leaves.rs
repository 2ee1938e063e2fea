//! The frame that leaves: whether it is what should, and what it tells about the program's choice.

use std::net::SocketAddr;

use lb_common::service::mode;

use super::{
    path::{Arrived, Leaves},
    world::{Setup, backend_mac},
};
use crate::{
    packet::{
        ETHERNET_LEN, Packet, describe, flag,
        oracle::{self, check_outer},
    },
    rig::{Outcome, Verdict},
};

/// The backend that a client's packet was sent to, and our end toward it.
pub fn sent_to(setup: &Setup, outcome: &Outcome) -> (Option<usize>, Option<SocketAddr>) {
    if !matches!(outcome.verdict, Verdict::Tx | Verdict::Pass) {
        return (None, None);
    }
    let backends = 0..usize::from(setup.backends);
    let frame = &outcome.frame;
    if setup.mode == mode::DSR {
        return (
            backends.into_iter().find(|n| frame[..6] == backend_mac(*n)),
            None,
        );
    }
    if setup.is_tunnel() {
        let end = check_outer(frame).ok().map(|(outer, _)| outer.destination);
        let found =
            end.and_then(|end| backends.into_iter().find(|n| setup.backend(*n).ip() == end));
        return (found, None);
    }
    let ends = if setup.udp {
        oracle::check_udp(frame)
            .ok()
            .map(|datagram| (datagram.source, datagram.destination))
    } else {
        oracle::check(frame)
            .ok()
            .map(|segment| (segment.source, segment.destination))
    };
    let Some((source, destination)) = ends else {
        return (None, None);
    };
    match backends
        .into_iter()
        .find(|n| setup.backend(*n) == destination)
    {
        Some(n) => (Some(n), Some(source)),
        None => (None, None),
    }
}

/// The outcome of this packet is what should leave.
pub fn check(
    setup: &Setup,
    packet: &Packet,
    arrived: &Arrived,
    outcome: &Outcome,
    leaves: &Leaves,
) -> Result<(), String> {
    let expected = match leaves {
        Leaves::Nothing => return Ok(()),
        Leaves::Untouched => packet.clone(),
        Leaves::Readdressed {
            source,
            destination,
            macs,
        } => {
            let packet = packet.clone().from(*source).to(*destination);
            match macs {
                Some((from, to)) => packet.macs(*from, *to).one_hop_less(),
                None => packet,
            }
        }
        Leaves::Forwarded { macs: (from, to) } => packet.clone().macs(*from, *to),
        Leaves::Wrapped { backend, macs } => {
            let (outer, inner) =
                check_outer(&outcome.frame).map_err(|defect| defect.to_string())?;
            let found = (outer.source, outer.destination);
            let due = (setup.tunnel_source(), setup.backend(*backend).ip());
            if found != due {
                return Err(format!("the tunnel leads {found:?}, not {due:?}"));
            }
            if macs.is_some_and(|macs| macs != (outer.source_mac, outer.destination_mac)) {
                return Err("other MAC addresses".to_owned());
            }
            let due = packet.clone().one_hop_less().build();
            return match inner[ETHERNET_LEN..] == due[ETHERNET_LEN..] {
                true => Ok(()),
                false => Err(format!("inside should be {}", describe(&due))),
            };
        }
        Leaves::Reset => return check_reset(packet, arrived, outcome),
    };
    let expected = expected.build();
    match outcome.frame == expected {
        true => Ok(()),
        false => Err(format!("what leaves should be {}", describe(&expected))),
    }
}

/// The reset that answers a segment (RFC 9293, section 3.10.7.1).
fn check_reset(packet: &Packet, arrived: &Arrived, outcome: &Outcome) -> Result<(), String> {
    let sent = oracle::check(&packet.build()).map_err(|defect| defect.to_string())?;
    let found = oracle::check(&outcome.frame).map_err(|defect| defect.to_string())?;
    let length = sent.payload.len() as u32
        + u32::from(sent.flags & flag::SYN != 0)
        + u32::from(sent.flags & flag::FIN != 0);
    let due = if sent.flags & flag::ACK != 0 {
        (sent.ack, 0, flag::RST)
    } else {
        (0, sent.seq.wrapping_add(length), flag::RST | flag::ACK)
    };
    let ends = (found.source, found.destination) == (arrived.destination, arrived.source);
    let macs = (found.source_mac, found.destination_mac) == (sent.destination_mac, sent.source_mac);
    match ends && macs && (found.seq, found.ack, found.flags) == due && found.payload.is_empty() {
        true => Ok(()),
        false => Err(format!("the reset should have (seq, ack, flags) {due:?}")),
    }
}
