//! What is measured: each row is one kind of packet, on one rig, with what must come of it.

use lb_common::reason::Reason;

use super::{
    rewinder::{End, Plan, Rewinder},
    row::{Counts, Row},
    tables::{self, BACK, FRONT, Family, PEER, ROUTER},
};
use crate::{
    packet::{Packet, flag},
    rig::{Capacity, Rig, Verdict},
};

/// Name of the row that the others are compared to.
pub const BASELINE: &str = "baseline: swap MAC addresses";

/// Flows that each packet of a series is a new one of.
const EACH_NEW: u64 = 1 << 32;
const FEW: u32 = 65_536;
const MANY: u32 = 524_288;

/// `limits.half_open` by default.
const HALF_OPEN: u32 = 65_536;

/// The rigs that the rows are measured on: tables of the default length with 64k flows, and larger
/// ones with 512k.
pub fn rigs() -> Vec<Rig> {
    // As large as hold all those flows without one that finds its bucket full.
    [(262_144, FEW), (MANY + MANY / 2, MANY)]
        .map(|(limit, established)| {
            tables::rig(Capacity::for_limits(limit, HALF_OPEN), established)
        })
        .into()
}

/// All rows, in the order in which they are shown.
pub fn all(rigs: &[Rig]) -> Vec<Row> {
    let mut rows = vec![baseline()];
    let both = [Family::V4, Family::V6];
    rows.extend(both.map(|family| not_ours(rigs, family)));
    for (flows, rig, text, target) in [
        (1, 0, "established, 1 flow", Some(3.0)),
        (FEW, 0, "established, 64k flows", Some(10.0)),
        (MANY, 1, "established, 512k flows", None),
    ] {
        for family in both {
            for from in [End::Source, End::Destination] {
                rows.push(established(rigs, rig, text, target, family, flows, from));
            }
        }
    }
    for family in both {
        let room = Counts::NewFlowsWithRoom(family.vip().ip());
        rows.push(new_flow(
            rigs,
            family,
            "new flow, 64k flows",
            Some(18.0),
            room,
        ));
    }
    for family in both {
        let text = "new flow, half-open table full";
        rows.push(new_flow(rigs, family, text, None, Counts::NewFlows));
    }
    rows.extend(both.map(|family| answer(rigs, family)));
    rows
}

fn row(
    name: &str,
    family: Family,
    direction: &'static str,
    target: Option<f64>,
    (rig, program): (usize, Option<&Rig>),
    plan: &Plan<'_>,
    counts: Counts,
) -> Row {
    let rewinder = Rewinder::load(plan, program.map(Rig::program_fd))
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
        rig,
        counts,
    }
}

/// Ten bytes of payload make an IPv4 frame of 64 bytes.
fn from_client(family: Family) -> Packet {
    let [client, vip, ..] = family.flow(0);
    Packet::tcp(client, vip)
        .macs(ROUTER, FRONT)
        .flags(flag::PSH | flag::ACK)
        .payload(b"ten bytes!")
}

fn baseline() -> Row {
    let packet = from_client(Family::V4);
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
        (0, None),
        &plan,
        Counts::Nothing,
    )
}

fn not_ours(rigs: &[Rig], family: Family) -> Row {
    let packet = from_client(family).to(family.stranger());
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
        (0, Some(&rigs[0])),
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
    let [client, vip, local, backend] = family.flow(0);
    let packet = from_client(family);
    let (direction, packet, left, counts) = match port_of {
        End::Source => {
            let left = packet.clone().from(local).to(backend).macs(BACK, PEER);
            ("to backend", packet, left, Counts::PacketsIn)
        }
        End::Destination => {
            let packet = packet.from(backend).to(local).macs(PEER, BACK);
            let left = packet.clone().from(vip).to(client).macs(FRONT, ROUTER);
            ("to client", packet, left, Counts::PacketsOut)
        }
    };
    let plan = Plan {
        packet: &packet,
        left: &left.one_hop_less(),
        verdict: Verdict::Tx,
        flows: flows.into(),
        port_of,
    };
    row(
        name,
        family,
        direction,
        target,
        (rig, Some(&rigs[rig])),
        &plan,
        counts,
    )
}

fn new_flow(rigs: &[Rig], family: Family, text: &str, target: Option<f64>, counts: Counts) -> Row {
    let [.., local, backend] = family.flow(0);
    let syn = from_client(family).from(family.newcomer()).flags(flag::SYN);
    let left = syn.clone().from(local).to(backend).macs(BACK, PEER);
    let plan = Plan {
        packet: &syn,
        left: &left.one_hop_less(),
        verdict: Verdict::Tx,
        flows: EACH_NEW,
        port_of: End::Source,
    };
    row(
        text,
        family,
        "to backend",
        target,
        (0, Some(&rigs[0])),
        &plan,
        counts,
    )
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
        (0, Some(&rigs[0])),
        &plan,
        Counts::Answers,
    )
}
