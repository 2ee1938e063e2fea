//! The transport protocols that are balanced.

use core::hint::black_box;

use lb_common::{PROTOCOL_TCP, PROTOCOL_UDP};

use crate::rewrite::Difference;

/// TCP flags (RFC 9293, section 3.1).
pub mod tcp_flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const ACK: u8 = 0x10;
    const URG: u8 = 0x20;

    /// Those that some state of a connection sends (RFC 9293, section 3.10), by bit; the others, PSH and
    /// those of congestion control, may come with each. As Linux's connection tracking has it
    /// (net/netfilter/nf_conntrack_proto_tcp.c, `tcp_valid_flags`).
    const POSSIBLE: u64 = 1 << SYN
        | 1 << (SYN | URG)
        | 1 << (SYN | ACK)
        | 1 << RST
        | 1 << (RST | ACK)
        | 1 << (FIN | ACK)
        | 1 << (FIN | ACK | URG)
        | 1 << ACK
        | 1 << (ACK | URG);

    /// Some state of a connection sends these.
    #[inline(always)]
    pub const fn are_possible(flags: u8) -> bool {
        POSSIBLE >> (flags & (FIN | SYN | RST | ACK | URG)) & 1 != 0
    }

    /// Opens a connection: SYN without ACK, RST or FIN.
    #[inline(always)]
    pub const fn is_syn(flags: u8) -> bool {
        flags & (SYN | ACK | RST | FIN) == SYN
    }

    /// Answers a SYN.
    #[inline(always)]
    pub const fn is_syn_ack(flags: u8) -> bool {
        flags & (SYN | ACK | RST) == SYN | ACK
    }
}

/// A header of TCP (RFC 9293, section 3.1).
#[repr(C)]
pub struct Tcp {
    pub source_port_be: u16,
    pub destination_port_be: u16,
    pub sequence_be: u32,
    pub acknowledgement_be: u32,
    pub data_offset: u8,
    pub flags: u8,
    pub window_be: u16,
    pub checksum_be: u16,
    pub urgent_be: u16,
}

/// A header of UDP (RFC 768).
#[repr(C)]
pub struct Udp {
    pub source_port_be: u16,
    pub destination_port_be: u16,
    pub length_be: u16,
    pub checksum_be: u16,
}

/// What a later fragment has instead: nothing.
pub struct Rest;

/// What the path needs of a transport header.
pub trait Transport: Sized + 'static {
    /// IP protocol number.
    const PROTOCOL: u8;
    fn source_port_be(&self) -> u16;
    fn destination_port_be(&self) -> u16;
    /// Writes both ports; `addresses` is what new addresses mean for the pseudo header.
    fn rewrite(&mut self, source_port_be: u16, destination_port_be: u16, addresses: Difference);
    /// It has a checksum, as over IPv6 it must.
    fn has_checksum(&self) -> bool;
    /// Some state of a connection sends it.
    fn is_possible(&self) -> bool;
    /// Bytes behind the header, where so many follow the IP header; of a first fragment
    /// (`fragment`), those that are in it. `None`: the lengths contradict one another.
    fn payload(&self, length: u32, fragment: bool) -> Option<u32>;
}

/// Writes a port, and adds the change to a difference of checksums.
#[inline(always)]
fn replace(port_be: &mut u16, new_be: u16, difference: Difference) -> Difference {
    let difference = difference.half(*port_be, new_be);
    *port_be = new_be;
    difference
}

impl Transport for Tcp {
    const PROTOCOL: u8 = PROTOCOL_TCP;

    #[inline(always)]
    fn source_port_be(&self) -> u16 {
        self.source_port_be
    }

    #[inline(always)]
    fn destination_port_be(&self) -> u16 {
        self.destination_port_be
    }

    #[inline(always)]
    fn rewrite(&mut self, source_port_be: u16, destination_port_be: u16, addresses: Difference) {
        let difference = replace(&mut self.source_port_be, source_port_be, addresses);
        let difference = replace(
            &mut self.destination_port_be,
            destination_port_be,
            difference,
        );
        self.checksum_be = difference.apply(self.checksum_be);
    }

    #[inline(always)]
    fn has_checksum(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_possible(&self) -> bool {
        tcp_flag::are_possible(self.flags)
    }

    #[inline(always)]
    fn payload(&self, length: u32, _fragment: bool) -> Option<u32> {
        let header = (self.data_offset >> 4) as u32 * 4;
        if header < size_of::<Self>() as u32 || header > length {
            return None;
        }
        Some(length - header)
    }
}

impl Transport for Udp {
    const PROTOCOL: u8 = PROTOCOL_UDP;

    #[inline(always)]
    fn source_port_be(&self) -> u16 {
        self.source_port_be
    }

    #[inline(always)]
    fn destination_port_be(&self) -> u16 {
        self.destination_port_be
    }

    /// A checksum of 0 says that there is none; one that is computed as 0 is sent as its other form.
    #[inline(always)]
    fn rewrite(&mut self, source_port_be: u16, destination_port_be: u16, addresses: Difference) {
        let difference = replace(&mut self.source_port_be, source_port_be, addresses);
        let difference = replace(
            &mut self.destination_port_be,
            destination_port_be,
            difference,
        );
        if self.checksum_be != 0 {
            let checksum_be = difference.apply(self.checksum_be);
            self.checksum_be = if checksum_be == 0 { !0 } else { checksum_be };
        }
    }

    #[inline(always)]
    fn has_checksum(&self) -> bool {
        self.checksum_be != 0
    }

    #[inline(always)]
    fn is_possible(&self) -> bool {
        true
    }

    /// Bytes behind the datagram belong to nobody (RFC 768 does not forbid them).
    #[inline(always)]
    fn payload(&self, length: u32, fragment: bool) -> Option<u32> {
        let announced = u16::from_be(self.length_be) as u32;
        if announced < size_of::<Self>() as u32 {
            return None;
        }
        if announced > length {
            // The others carry what is missing. Hidden from the optimizer, which would have every packet
            // compute this beforehand.
            return if black_box(fragment) {
                length.checked_sub(size_of::<Self>() as u32)
            } else {
                None
            };
        }
        Some(announced - size_of::<Self>() as u32)
    }
}

impl Transport for Rest {
    const PROTOCOL: u8 = 0;

    #[inline(always)]
    fn source_port_be(&self) -> u16 {
        0
    }

    #[inline(always)]
    fn destination_port_be(&self) -> u16 {
        0
    }

    /// The first fragment has the ports, and the checksum over all.
    #[inline(always)]
    fn rewrite(&mut self, _source_port_be: u16, _destination_port_be: u16, _: Difference) {}

    #[inline(always)]
    fn has_checksum(&self) -> bool {
        false
    }

    #[inline(always)]
    fn is_possible(&self) -> bool {
        true
    }

    #[inline(always)]
    fn payload(&self, length: u32, _fragment: bool) -> Option<u32> {
        Some(length)
    }
}
