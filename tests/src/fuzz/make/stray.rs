//! Packets that belong to no conversation: of strangers, of other protocols, and errors about what
//! conversations sent.

use lb_common::service::mode;

use super::{
    session::{FRONT, Session, anybody},
    write::{Body, Payload, Spec},
};
use crate::{
    fuzz::{end::Ways, flows::Flows, frame::Frame, plan, random::Random, world::World},
    packet::{GUE_PORT, Mac, flag::*, protocol},
};

const NEIGHBOUR: Mac = [2, 0, 0, 0, 0, 7];

/// TCP or UDP between any two.
pub fn segment(frame: &mut Frame, random: &mut Random, world: &World) -> &'static str {
    let v6 = random.once_in(2);
    let ways = Ways {
        source: anybody(random, world, v6),
        destination: anybody(random, world, v6),
    };
    let body = if random.once_in(2) {
        Body::Udp { summed: true }
    } else {
        Body::Tcp {
            sequence: random.word() as u32,
            acknowledgement: random.word() as u32,
            flags: random.pick(&[SYN, ACK, SYN | ACK, RST, FIN | ACK, ACK | PSH]),
            options: 0,
        }
    };
    let len = random.below(100);
    Spec::new(ways, [NEIGHBOUR, FRONT], body).write(frame, Payload::Text(len));
    "a stranger's"
}

/// An echo request or its reply, often to a vip.
pub fn echo(frame: &mut Frame, random: &mut Random, world: &World) -> &'static str {
    let service = &world.services[random.below(world.services.len())];
    let v6 = service.vip.v6;
    let destination = match random.below(4) {
        0 => anybody(random, world, v6),
        _ => service.vip,
    };
    let ways = Ways {
        source: anybody(random, world, v6).at_port(0),
        destination: destination.at_port(0),
    };
    let kinds: [u8; 2] = if v6 { [128, 129] } else { [8, 0] };
    let body = Body::Icmp {
        kind: kinds[usize::from(random.once_in(8))],
        code: 0,
        rest: random.word() as u32,
    };
    let len = random.pick(&[0, 1, 7, 56, 57, 500, 1_300]);
    let mut spec = Spec::new(ways, [NEIGHBOUR, FRONT], body);
    spec.hops = random.pick(&[1, 2, 64, 255]);
    if random.once_in(12) {
        spec.options = 1 + random.below(4);
        spec.extended = random.below(3);
    }
    spec.write(frame, Payload::Text(len));
    "echo"
}

/// An error about a packet of this conversation, by somebody on its way, with as much of the packet as
/// it pleases to quote.
pub fn error(
    frame: &mut Frame,
    quote: &mut Frame,
    random: &mut Random,
    world: &World,
    session: &Session,
    flows: &Flows,
) -> &'static str {
    let toward_client = random.once_in(2);
    let quoted = match session.seen_by_backend(world, flows) {
        Some(local) if !toward_client => local,
        _ => session.ways.back(),
    };
    let name = if quoted.source.same_host(&session.ways.destination) {
        "error of a client's way"
    } else {
        "error of a backend's way"
    };
    write_quoted(quote, random, quoted, session.protocol);
    let whole = quote.len();
    let least = if quoted.source.v6 { 40 } else { 20 };
    let cut = match random.below(6) {
        0 => random.below(whole + 1),
        1 => least + 8,
        2 => least + random.below(20),
        _ => whole,
    };
    quote.resize(cut.min(whole).min(1_200));
    let (start, inner) = (quote.parts.ip, quote.parts.transport);
    let v6 = quoted.source.v6;
    let (kind, code, rest) = if v6 {
        random.pick(&[
            (1, 0, 0),
            (1, 4, 0),
            (2, 0, 1_280),
            (2, 0, 1_400),
            (3, 0, 0),
            (4, 1, 40),
            (137, 0, 0),
        ])
    } else {
        random.pick(&[
            (3, 1, 0),
            (3, 3, 0),
            (3, 4, 1_400),
            (3, 4, 68),
            (11, 0, 0),
            (12, 0, 0x1400_0000),
            (5, 1, 0),
        ])
    };
    let source = match random.below(3) {
        0 => quoted.destination,
        _ => anybody(random, world, v6),
    };
    let ways = Ways {
        source: source.at_port(0),
        destination: quoted.source.at_port(0),
    };
    let mut spec = Spec::new(ways, [NEIGHBOUR, FRONT], Body::Icmp { kind, code, rest });
    spec.hops = random.pick(&[1, 2, 64, 255]);
    spec.write(frame, Payload::Bytes(quote.bytes()));
    if let (Some((at, _)), Some((start, v6)), Some((inner, _))) =
        (frame.parts.transport, start, inner)
    {
        frame.parts.quoted = Some((at + 8 + start, v6));
        frame.parts.quoted_transport = Some(at + 8 + inner);
    }
    name
}

/// A router's word that an outer packet to the end of a tunnel was too big for it.
pub fn narrow(
    frame: &mut Frame,
    quote: &mut Frame,
    random: &mut Random,
    world: &World,
) -> &'static str {
    const NAME: &str = "word of a narrow way";
    let backend = &world.backends[random.below(world.backends.len())];
    let service = &world.services[backend.service_idx as usize];
    if !service.is_tunnel() {
        return echo(frame, random, world);
    }
    let v6 = backend.end.v6;
    let source = plan::tunnel_source(v6, random.word() as u8);
    let outer = Ways {
        source: source.at_port(0xc123),
        destination: backend.end.at_port(GUE_PORT),
    };
    let spec = Spec::new(outer, [NEIGHBOUR, FRONT], Body::Udp { summed: false });
    quote.clear();
    spec.write_ip(
        quote,
        Payload::Text(random.pick(&[500, 1_300, 1_372, 1_392])),
    );
    if service.mode == mode::IPIP {
        quote.bytes_mut()[if v6 { 6 } else { 9 }] = random.pick(&[protocol::IPV4, protocol::IPV6]);
        quote.sum_ip(0);
    }
    let most = quote.len();
    quote.resize(random.pick(&[28, 48, 60, most]));
    let ways = Ways {
        source: plan::stranger(v6, 250),
        destination: source,
    };
    let (kind, code) = if v6 { (2, 0) } else { (3, 4) };
    let rest = random.pick(&[
        0,
        68,
        576,
        1_000,
        1_280,
        1_350,
        1_399,
        1_400,
        1_500,
        u32::MAX,
    ]);
    let body = Body::Icmp { kind, code, rest };
    Spec::new(ways, [NEIGHBOUR, FRONT], body).write(frame, Payload::Bytes(quote.bytes()));
    NAME
}

/// The packet that the error is about, from its IP header on.
fn write_quoted(quote: &mut Frame, random: &mut Random, ways: Ways, protocol: u8) {
    let body = match protocol {
        protocol::TCP => Body::Tcp {
            sequence: random.word() as u32,
            acknowledgement: random.word() as u32,
            flags: ACK,
            options: random.pick(&[0, 3]),
        },
        _ => Body::Udp {
            summed: ways.source.v6 || !random.once_in(4),
        },
    };
    let mut spec = Spec::new(ways, [NEIGHBOUR, FRONT], body);
    spec.hops = random.pick(&[0, 1, 63]);
    if random.once_in(10) {
        spec.options = 1 + random.below(3);
        spec.extended = random.below(3);
    }
    quote.clear();
    let len = random.below(64);
    let transport = spec.write_ip(quote, Payload::Text(len));
    quote.parts.ip = Some((0, ways.source.v6));
    quote.parts.transport = Some((transport, protocol));
}

/// What is not IP, or not even that.
pub fn noise(frame: &mut Frame, random: &mut Random) -> &'static str {
    const ARP: [u8; 8] = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4];
    frame.clear();
    frame.push(&FRONT);
    frame.push(&NEIGHBOUR);
    if random.once_in(2) {
        frame.push(&ARP);
        frame.push_text(20);
    } else {
        for _ in 0..=random.below(12) {
            frame.push(&random.word().to_be_bytes());
        }
        frame.resize(14 + random.below(80));
    }
    frame.parts.end = frame.len();
    "noise"
}
