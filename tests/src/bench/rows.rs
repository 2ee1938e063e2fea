//! What is measured: each row is one kind of packet, on one rig, with what must come of it.

use std::net::SocketAddr;

use lb_common::{reason::Reason, service::mode};

use super::{
    rewinder::{End, Plan, Rewinder},
    row::{Counts, Row},
    tables::{
        BACK, CROSSED, DATAGRAMS, FEW, FRONT, Family, Flows, LARGE, MANY, ONE_WAY, PEER, RIGS,
        ROUTED, ROUTER, SMALL, TRACED, TRACED_ALL,
    },
};
use crate::{
    packet::{GUE_PORT, Gue, Packet, flag},
    rig::{Rig, Verdict},
};

/// Name of the row that the others are compared to.
pub const BASELINE: &str = "baseline: swap MAC addresses";

/// Flows that each packet of a series is a new one of.
const EACH_NEW: u64 = 1 << 32;

/// All rows, in the order in which they are shown.
pub fn all(rigs: &[Rig]) -> Vec<Row> {
    let mut rows = vec![baseline(rigs)];
    let both = [Family::V4, Family::V6];
    rows.extend(both.map(|family| not_ours(rigs, family)));
    for (flows, rig, text, target) in [
        (1, SMALL, "established, 1 flow", Some(3.0)),
        (FEW, SMALL, "established, 64k flows", Some(10.0)),
        (MANY, LARGE, "established, 512k flows", None),
        (1, DATAGRAMS, "UDP, established, 1 flow", None),
        (1, CROSSED, "between families, established, 1 flow", None),
        (
            FEW,
            CROSSED,
            "between families, established, 64k flows",
            None,
        ),
        (1, ROUTED, "route, established, 1 flow", None),
        (1, TRACED, "traced at 1 %, established, 1 flow", None),
        (FEW, TRACED, "traced at 1 %, established, 64k flows", None),
        (1, TRACED_ALL, "traced whole, established, 1 flow", None),
    ] {
        for family in both {
            for from in [End::Source, End::Destination] {
                rows.push(established(rigs, rig, text, target, family, flows, from));
            }
        }
    }
    for (rig, text, target) in [
        (SMALL, "new flow, 64k flows", Some(18.0)),
        (DATAGRAMS, "UDP, new flow", None),
        (CROSSED, "between families, new flow", None),
        (ROUTED, "route, new flow", None),
        (TRACED, "traced at 1 %, new flow, 64k flows", None),
    ] {
        rows.extend(both.map(|family| {
            let room = Counts::NewFlowsWithRoom(table_of(rig, family).vip().ip());
            new_flow(rigs, rig, family, text, target, room)
        }));
    }
    let text = "new flow, half-open table full";
    rows.extend(both.map(|family| new_flow(rigs, SMALL, family, text, None, Counts::NewFlows)));
    rows.extend(both.map(|family| answer(rigs, family)));
    for (mode, flows, text, target) in [
        (mode::DSR, 1, "dsr, established, 1 flow", Some(2.5)),
        (mode::DSR, FEW, "dsr, established, 64k flows", None),
        (mode::IPIP, 1, "ipip, established, 1 flow", Some(3.2)),
        (mode::IPIP, FEW, "ipip, established, 64k flows", None),
        (mode::GUE, 1, "gue, established, 1 flow", None),
    ] {
        rows.extend(both.map(|family| one_way(rigs, family, mode, flows.into(), text, target)));
    }
    for (mode, text) in [
        (mode::DSR, "dsr, new flow"),
        (mode::IPIP, "ipip, new flow"),
        (mode::GUE, "gue, new flow"),
    ] {
        rows.extend(both.map(|family| one_way(rigs, family, mode, EACH_NEW, text, Some(15.0))));
    }
    rows
}

/// A packet that goes past the balancer's way back, of one of so many flows.
fn one_way(
    rigs: &[Rig],
    family: Family,
    mode: u8,
    flows: u64,
    name: &str,
    target: Option<f64>,
) -> Row {
    let [.., backend] = Flows::OneWay.ends(family, 0);
    let (packet, counts) = if flows == EACH_NEW {
        (
            opening(ONE_WAY, family),
            Counts::NewFlowsWithRoom(family.vip().ip()),
        )
    } else {
        (from_client(ONE_WAY, family), Counts::PacketsIn)
    };
    let left = match mode {
        mode::DSR => packet.clone(),
        mode::IPIP => {
            (packet.clone().one_hop_less()).inside(Packet::ip_in_ip(family.snat(), backend.ip()))
        }
        _ => {
            let source = SocketAddr::new(family.snat(), 0);
            let destination = SocketAddr::new(backend.ip(), GUE_PORT);
            let outer = Packet::gue(Gue::Variant0, source, destination);
            packet.clone().one_hop_less().inside(outer)
        }
    };
    let left = match mode {
        mode::DSR => left,
        _ => left.identification(0).dont_fragment(true),
    };
    let plan = Plan {
        packet: &packet,
        left: &left.macs(BACK, PEER),
        verdict: Verdict::Tx,
        flows,
        port_of: End::Source,
    };
    let on = On {
        rig: ONE_WAY,
        mode,
        program: Some(&rigs[ONE_WAY]),
    };
    row(name, family, "to backend", target, on, &plan, counts)
}

/// What a row is measured on.
struct On<'a> {
    rig: usize,
    mode: u8,
    /// `None` for the baseline.
    program: Option<&'a Rig>,
}

impl<'a> On<'a> {
    /// A rig in the mode that its flows are of.
    fn rig(rigs: &'a [Rig], rig: usize) -> Self {
        Self {
            rig,
            mode: RIGS[rig].flows.mode(),
            program: Some(&rigs[rig]),
        }
    }
}

fn row(
    name: &str,
    family: Family,
    direction: &'static str,
    target: Option<f64>,
    on: On<'_>,
    plan: &Plan<'_>,
    counts: Counts,
) -> Row {
    let rewinder = Rewinder::load(plan, on.program.map(Rig::program_fd))
        .unwrap_or_else(|error| panic!("row \"{name}\": {error:?}"));
    Row {
        name: name.to_owned(),
        family: match family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        },
        direction,
        target,
        rewinder,
        rig: on.rig,
        mode: on.mode,
        counts,
    }
}

/// A client's packet of an established flow: 64 bytes over IPv4.
fn from_client(rig: usize, family: Family) -> Packet {
    let flows = RIGS[rig].flows;
    let [client, vip, ..] = flows.ends(family, 0);
    match flows {
        Flows::Datagrams => Packet::udp(client, vip).payload(b"two and twenty bytes !"),
        _ => Packet::tcp(client, vip)
            .flags(flag::PSH | flag::ACK)
            .payload(b"ten bytes!"),
    }
    .macs(ROUTER, FRONT)
}

/// The packet by which a new client opens a flow.
fn opening(rig: usize, family: Family) -> Packet {
    let packet = from_client(rig, family).from(family.newcomer());
    match RIGS[rig].flows {
        Flows::Datagrams => packet,
        _ => packet.flags(flag::SYN),
    }
}

/// What becomes of a packet that leaves with these addresses. A short one that was translated may be
/// fragmented (RFC 7915, section 5.1).
fn leaves(packet: &Packet, rig: usize, from: SocketAddr, to: SocketAddr) -> Packet {
    let left = packet.clone().from(from).to(to).one_hop_less();
    left.dont_fragment(RIGS[rig].flows != Flows::Crossed)
}

/// The family of the table in which such flows lie.
fn table_of(rig: usize, family: Family) -> Family {
    match RIGS[rig].flows {
        Flows::Crossed => Family::V6,
        _ => family,
    }
}

fn baseline(rigs: &[Rig]) -> Row {
    let packet = from_client(SMALL, Family::V4);
    let plan = Plan {
        packet: &packet,
        left: &packet.clone().macs(FRONT, ROUTER),
        verdict: Verdict::Tx,
        flows: FEW.into(),
        port_of: End::Source,
    };
    row(
        BASELINE,
        Family::V4,
        "",
        None,
        On {
            program: None,
            ..On::rig(rigs, SMALL)
        },
        &plan,
        Counts::Nothing,
    )
}

fn not_ours(rigs: &[Rig], family: Family) -> Row {
    let packet = from_client(SMALL, family).to(family.stranger());
    let plan = Plan {
        packet: &packet,
        left: &packet,
        verdict: Verdict::Pass,
        flows: FEW.into(),
        port_of: End::Source,
    };
    let counts = Counts::Reason(Reason::NotOurs);
    row(
        "not ours",
        family,
        "",
        Some(2.0),
        On::rig(rigs, SMALL),
        &plan,
        counts,
    )
}

fn established(
    rigs: &[Rig],
    rig: usize,
    name: &str,
    target: Option<f64>,
    family: Family,
    flows: u32,
    port_of: End,
) -> Row {
    let [client, vip, local, backend] = RIGS[rig].flows.ends(family, 0);
    let packet = from_client(rig, family);
    let (direction, packet, left, counts) = match port_of {
        End::Source => {
            let left = leaves(&packet, rig, local, backend).macs(BACK, PEER);
            ("to backend", packet, left, Counts::PacketsIn)
        }
        End::Destination => {
            let packet = packet.from(backend).to(local).macs(PEER, BACK);
            let left = leaves(&packet, rig, vip, client).macs(FRONT, ROUTER);
            ("to client", packet, left, Counts::PacketsOut)
        }
    };
    let plan = Plan {
        packet: &packet,
        left: &left,
        verdict: Verdict::Tx,
        flows: flows.into(),
        port_of,
    };
    row(
        name,
        family,
        direction,
        target,
        On::rig(rigs, rig),
        &plan,
        counts,
    )
}

fn new_flow(
    rigs: &[Rig],
    rig: usize,
    family: Family,
    text: &str,
    target: Option<f64>,
    counts: Counts,
) -> Row {
    let [.., local, backend] = RIGS[rig].flows.ends(family, 0);
    let packet = opening(rig, family);
    let plan = Plan {
        packet: &packet,
        left: &leaves(&packet, rig, local, backend).macs(BACK, PEER),
        verdict: Verdict::Tx,
        flows: EACH_NEW,
        port_of: End::Source,
    };
    let on = On::rig(rigs, rig);
    row(text, family, "to backend", target, on, &plan, counts)
}

/// Without payload, so that the answer is as long as what it answers.
fn answer(rigs: &[Rig], family: Family) -> Row {
    let (client, vip) = (family.newcomer(), family.vip());
    let stray = Packet::tcp(client, vip)
        .macs(ROUTER, FRONT)
        .flags(flag::ACK)
        .seq(1)
        .ack(2);
    let reset = Packet::tcp(vip, client)
        .macs(FRONT, ROUTER)
        .identification(0)
        .flags(flag::RST)
        .seq(2);
    let plan = Plan {
        packet: &stray,
        left: &reset,
        verdict: Verdict::Tx,
        flows: 1,
        port_of: End::Source,
    };
    row(
        "no flow, answered with RST",
        family,
        "to client",
        None,
        On::rig(rigs, SMALL),
        &plan,
        Counts::Answers,
    )
}
