//! Header fields by name, and values that are worth trying in them.

use crate::{
    fuzz::{frame::Frame, random::Random},
    packet::protocol,
};

/// A field of up to 32 bits, by its place in its header.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    /// First byte, and bytes that hold it.
    at: usize,
    bytes: usize,
    /// Bits below it in those bytes, and its own.
    shift: u32,
    bits: u32,
}

const fn whole(name: &'static str, at: usize, bytes: usize) -> Field {
    Field {
        name,
        at,
        bytes,
        shift: 0,
        bits: 8 * bytes as u32,
    }
}

const fn part(name: &'static str, at: usize, bytes: usize, shift: u32, bits: u32) -> Field {
    Field {
        name,
        at,
        bytes,
        shift,
        bits,
    }
}

pub const IPV4: &[Field] = &[
    part("version", 0, 1, 4, 4),
    part("header length", 0, 1, 0, 4),
    whole("type of service", 1, 1),
    whole("total length", 2, 2),
    whole("identification", 4, 2),
    part("fragment flags", 6, 1, 5, 3),
    part("fragment offset", 6, 2, 0, 13),
    whole("ttl", 8, 1),
    whole("protocol", 9, 1),
    whole("header checksum", 10, 2),
    whole("source", 12, 4),
    whole("destination", 16, 4),
];

pub const IPV6: &[Field] = &[
    part("version", 0, 1, 4, 4),
    part("traffic class", 0, 2, 4, 8),
    part("flow label", 0, 4, 0, 20),
    whole("payload length", 4, 2),
    whole("next header", 6, 1),
    whole("hop limit", 7, 1),
    whole("source, high", 8, 4),
    whole("source, low", 20, 4),
    whole("destination, high", 24, 4),
    whole("destination, low", 36, 4),
];

pub const TCP: &[Field] = &[
    whole("source port", 0, 2),
    whole("destination port", 2, 2),
    whole("sequence", 4, 4),
    whole("acknowledgement", 8, 4),
    part("data offset", 12, 1, 4, 4),
    part("reserved", 12, 1, 0, 4),
    whole("flags", 13, 1),
    whole("window", 14, 2),
    whole("checksum", 16, 2),
    whole("urgent", 18, 2),
];

pub const UDP: &[Field] = &[
    whole("source port", 0, 2),
    whole("destination port", 2, 2),
    whole("length", 4, 2),
    whole("checksum", 6, 2),
];

pub const ICMP: &[Field] = &[
    whole("type", 0, 1),
    whole("code", 1, 1),
    whole("checksum", 2, 2),
    whole("identifier", 4, 2),
    whole("sequence or mtu", 6, 2),
];

/// Of an IP header.
#[must_use]
pub const fn of_ip(v6: bool) -> &'static [Field] {
    if v6 { IPV6 } else { IPV4 }
}

/// Of what follows it.
#[must_use]
pub const fn of_transport(protocol: u8) -> &'static [Field] {
    match protocol {
        protocol::TCP => TCP,
        protocol::UDP => UDP,
        _ => ICMP,
    }
}

impl Field {
    /// Gives the field of the header that begins there another value, if it is within the frame.
    pub fn change(&self, frame: &mut Frame, header: usize, random: &mut Random) {
        let Some(bytes) = frame
            .bytes_mut()
            .get_mut(header + self.at..header + self.at + self.bytes)
        else {
            return;
        };
        let old = bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte));
        let mask = ((1_u64 << self.bits) - 1) << self.shift;
        let value = self.value((old & mask) >> self.shift, random);
        let mut new = old & !mask | (value << self.shift) & mask;
        for byte in bytes.iter_mut().rev() {
            *byte = new as u8;
            new >>= 8;
        }
    }

    /// Boundaries, neighbours of what is there, or anything.
    fn value(&self, old: u64, random: &mut Random) -> u64 {
        let max = (1_u64 << self.bits) - 1;
        match random.below(10) {
            0 => 0,
            1 => 1,
            2 => max,
            3 => max - 1,
            4 => 1 << (self.bits - 1),
            5 => old.wrapping_add(1),
            6 => old.wrapping_sub(1),
            7 => old ^ 1 << random.below(self.bits as usize),
            // Small numbers, as of lengths and protocols.
            8 => random.below(64) as u64,
            _ => random.word(),
        }
    }
}
