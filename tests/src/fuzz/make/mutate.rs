//! One valid packet made another that mostly is not: a field, an address, options, extension headers,
//! tags, a cut, padding, bits.

use super::field::{self, Field};
use crate::{
    fuzz::{
        end::End,
        frame::{Frame, ROOM},
        plan,
        random::Random,
        world::World,
    },
    packet::{ETHERNET_LEN, ethertype, protocol},
};

/// Changes the frame in one way. Returns what it did.
pub fn once(frame: &mut Frame, random: &mut Random, world: &World) -> &'static str {
    let Some((ip, v6)) = frame.parts.ip else {
        return flip(frame, random);
    };
    // One that was cut just now.
    if ip + 40 > frame.len() {
        return flip(frame, random);
    }
    match random.below(20) {
        0..=3 => any_field(frame, random, ip, field::of_ip(v6)),
        4..=7 => match frame.parts.transport {
            Some((start, protocol)) => {
                any_field(frame, random, start, field::of_transport(protocol))
            }
            None => flip(frame, random),
        },
        8 => address(frame, random, world, (ip, v6)),
        9 => port(frame, random, world),
        10 if v6 => extension(frame, random, ip),
        10 => options(frame, random, ip),
        11 => tag(frame, random),
        12 => cut(frame, random),
        13 => pad(frame, random),
        14 | 15 => quoted(frame, random),
        16 => ethernet(frame, random),
        17 => hops(frame, random, (ip, v6)),
        18 => flags(frame, random),
        _ => flip(frame, random),
    }
}

/// Sets all checksums right again, as far as their places can be told.
pub fn sum(frame: &mut Frame) {
    let Some((ip, v6)) = frame.parts.ip else {
        return;
    };
    if ip + 40 > frame.len() {
        return;
    }
    if !v6 {
        frame.sum_ip(ip);
    }
    if let Some((start, protocol)) = frame.parts.transport {
        let ways = frame.ends(ip, v6);
        frame.sum_transport(start, frame.parts.end, protocol, &ways);
    }
}

fn any_field(
    frame: &mut Frame,
    random: &mut Random,
    header: usize,
    fields: &[Field],
) -> &'static str {
    let field = random.pick(fields);
    field.change(frame, header, random);
    field.name
}

/// An address that means something to somebody.
fn address(
    frame: &mut Frame,
    random: &mut Random,
    world: &World,
    (ip, v6): (usize, bool),
) -> &'static str {
    let end = notable(random, world, v6);
    let (source, length) = if v6 { (8, 16) } else { (12, 4) };
    let (name, at) = if random.once_in(2) {
        ("source address", ip + source)
    } else {
        ("destination address", ip + source + length)
    };
    if let Some(bytes) = frame.bytes_mut().get_mut(at..at + length) {
        bytes.copy_from_slice(end.octets());
    }
    name
}

/// One that is ours, a client's, special to IP, or of the other family in disguise.
fn notable(random: &mut Random, world: &World, v6: bool) -> End {
    let n = random.below(world.backends.len());
    match random.below(8) {
        0 => world.services[n % world.services.len()].vip,
        1 => world.backends[n].end,
        2 => plan::snat(v6, n as u16 % 2),
        3 => plan::client(v6, n as u16 % 9, 0),
        4 => plan::stranger(v6, n as u16 % 200),
        _ => special(random, v6),
    }
    .of_family(v6)
}

fn special(random: &mut Random, v6: bool) -> End {
    const SPECIAL4: [[u8; 4]; 7] = [
        [0; 4],
        [255; 4],
        [127, 0, 0, 1],
        [224, 0, 0, 1],
        [240, 0, 0, 1],
        [169, 254, 1, 1],
        [0, 0, 0, 1],
    ];
    if !v6 {
        return End::read(&random.pick(&SPECIAL4), 0);
    }
    let mut octets = [0; 16];
    match random.below(5) {
        0 => {}
        1 => octets[15] = 1,
        2 => (octets[0], octets[15]) = (0xff, 1),
        3 => (octets[0], octets[1], octets[15]) = (0xfe, 0x80, 1),
        _ => {
            octets[10..12].fill(0xff);
            octets[12..].copy_from_slice(&[198, 51, 100, 1 + 16 * random.below(9) as u8]);
        }
    }
    End::read(&octets, 0)
}

fn port(frame: &mut Frame, random: &mut Random, world: &World) -> &'static str {
    let Some((start, protocol::TCP | protocol::UDP)) = frame.parts.transport else {
        return flip(frame, random);
    };
    let ports = [
        0,
        80,
        443,
        1_000,
        8_080,
        65_535,
        world.shape.first_port,
        world.shape.last_port,
        world.shape.last_port.wrapping_add(1),
    ];
    let at = start + 2 * random.below(2);
    if at + 2 <= frame.len() {
        frame.set16(at, random.pick(&ports));
    }
    "a port of note"
}

pub fn hops(frame: &mut Frame, random: &mut Random, (ip, v6): (usize, bool)) -> &'static str {
    let at = ip + if v6 { 7 } else { 8 };
    if let Some(hops) = frame.bytes_mut().get_mut(at) {
        *hops = random.pick(&[0, 1, 2]);
    }
    if !v6 && ip + 20 <= frame.len() {
        frame.sum_ip(ip);
    }
    "few hops"
}

fn flags(frame: &mut Frame, random: &mut Random) -> &'static str {
    if let Some((start, protocol::TCP)) = frame.parts.transport
        && let Some(flags) = frame.bytes_mut().get_mut(start + 13)
    {
        *flags = random.word() as u8 & 0x3f;
        sum(frame);
        return "any flags";
    }
    flip(frame, random)
}

fn options(frame: &mut Frame, random: &mut Random, ip: usize) -> &'static str {
    let words = 1 + random.below(10);
    let header = usize::from(frame.bytes()[ip] & 15);
    if header < 5 || header + words > 15 || ip + header * 4 > frame.len() {
        return "options";
    }
    frame.insert(ip + header * 4, words * 4);
    let kind = random.pick(&[0, 1, 7, 0x44, 0x83, 0x94, 0xff]);
    frame.bytes_mut()[ip + header * 4..][..words * 4].fill(kind);
    frame.bytes_mut()[ip] += words as u8;
    let total = u16::from_be_bytes([frame.bytes()[ip + 2], frame.bytes()[ip + 3]]);
    frame.set16(ip + 2, total.wrapping_add(words as u16 * 4));
    shift(frame, words * 4);
    frame.sum_ip(ip);
    "options"
}

fn extension(frame: &mut Frame, random: &mut Random, ip: usize) -> &'static str {
    const KINDS: [u8; 8] = [
        protocol::HOP_BY_HOP,
        protocol::ROUTING,
        protocol::FRAGMENT,
        protocol::DESTINATION,
        protocol::DESTINATION,
        protocol::AUTHENTICATION,
        59,
        135,
    ];
    let units = if random.once_in(4) {
        1 + random.below(8)
    } else {
        1
    };
    if ip + 40 > frame.len() {
        return "extension";
    }
    let kind = random.pick(&KINDS);
    let next = std::mem::replace(&mut frame.bytes_mut()[ip + 6], kind);
    frame.insert(ip + 40, units * 8);
    let units = if kind == protocol::FRAGMENT { 1 } else { units };
    let header = &mut frame.bytes_mut()[ip + 40..];
    (header[0], header[1]) = (next, units as u8 - 1);
    if kind == protocol::FRAGMENT {
        header[1] = 0;
        header[3] = random.pick(&[0, 1, 8, 9]);
    } else if kind == protocol::ROUTING {
        header[3] = random.pick(&[0, 0, 1, 255]);
    }
    let length = u16::from_be_bytes([frame.bytes()[ip + 4], frame.bytes()[ip + 5]]);
    frame.set16(ip + 4, length.wrapping_add(units as u16 * 8));
    shift(frame, units * 8);
    "extension"
}

/// What lies behind an insertion has moved.
fn shift(frame: &mut Frame, by: usize) {
    frame.parts.end += by;
    if let Some((start, _)) = &mut frame.parts.transport {
        *start += by;
    }
    if let Some(start) = &mut frame.parts.quoted_transport {
        *start += by;
    }
    if let Some((start, _)) = &mut frame.parts.quoted {
        *start += by;
    }
}

/// One tag more, in front of those that are there.
fn tag(frame: &mut Frame, random: &mut Random) -> &'static str {
    frame.insert(12, 4);
    let kind = random.pick(&[ethertype::VLAN, ethertype::VLAN, 0x88a8, 0x9100]);
    frame.set16(12, kind);
    frame.set16(14, random.word() as u16);
    if let Some((start, _)) = &mut frame.parts.ip {
        *start += 4;
    }
    shift(frame, 4);
    "tag"
}

fn cut(frame: &mut Frame, random: &mut Random) -> &'static str {
    let len = ETHERNET_LEN + random.below(frame.len() - ETHERNET_LEN + 1);
    frame.resize(len);
    "cut"
}

fn pad(frame: &mut Frame, random: &mut Random) -> &'static str {
    let len = frame.len() + 1 + random.below(64);
    frame.resize(len.min(ROOM));
    "padding"
}

fn ethernet(frame: &mut Frame, random: &mut Random) -> &'static str {
    let (name, at) = random.pick(&[("mac", 0), ("mac", 6), ("ethertype", 12)]);
    let byte = at + random.below(if at == 12 { 2 } else { 6 });
    frame.bytes_mut()[byte] ^= 1 << random.below(8);
    name
}

/// A field of the packet that an error quotes.
fn quoted(frame: &mut Frame, random: &mut Random) -> &'static str {
    let Some((start, v6)) = frame.parts.quoted else {
        return flip(frame, random);
    };
    match frame.parts.quoted_transport {
        Some(transport) if random.once_in(2) => {
            any_field(frame, random, transport, field::UDP);
        }
        _ => {
            any_field(frame, random, start, field::of_ip(v6));
        }
    }
    "quoted"
}

fn flip(frame: &mut Frame, random: &mut Random) -> &'static str {
    for _ in 0..=random.below(3) {
        let at = random.below(frame.len());
        frame.bytes_mut()[at] ^= 1 << random.below(8);
    }
    "bits"
}
