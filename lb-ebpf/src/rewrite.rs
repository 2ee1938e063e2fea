//! Rewriting headers with incremental checksums (RFC 1624, equation 3): only the words that change
//! are summed. Words of 32 bits are added into 64, which ones'-complement sums allow (RFC 1071).

use lb_common::{V4, V6, flow::Flow};

use crate::{
    family::{Family, Inet, Inet6},
    packet::{Ipv4, Ipv6, Segment, Transport},
};

/// A difference of checksums: the ones'-complement sum of `!old + new` over the changed words.
#[derive(Clone, Copy)]
pub struct Difference(u64);

impl Difference {
    pub const NONE: Self = Self(0);

    #[inline(always)]
    pub fn word(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    #[inline(always)]
    pub fn half(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// A word that is there no more.
    #[inline(always)]
    pub fn gone(self, old: u32) -> Self {
        Self(self.0 + !old as u64)
    }

    /// A word that was not there.
    #[inline(always)]
    pub fn come(self, new: u32) -> Self {
        Self(self.0 + new as u64)
    }

    /// Both changes together.
    #[inline(always)]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum after the change.
    #[inline(always)]
    pub fn apply(self, checksum_be: u16) -> u16 {
        !fold(self.0 + !checksum_be as u64)
    }
}

/// Folds a sum of words into 16 bits, end-around carry included.
#[inline(always)]
pub fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// The checksum of an IPv4 header without options (RFC 791, section 3.1).
#[inline(always)]
pub fn checksum(ip: &Ipv4) -> u16 {
    !fold(
        ip.source[0] as u64
            + ip.destination[0] as u64
            + u16::from_ne_bytes([ip.version_ihl, ip.tos]) as u64
            + ip.total_length_be as u64
            + ip.id_be as u64
            + ip.fragment_be as u64
            + u16::from_ne_bytes([ip.ttl, ip.protocol]) as u64,
    )
}

/// Replacing the addresses of an IP header.
pub trait Readdress: Family {
    /// Writes both addresses and keeps the header's own checksum right. Returns what the change
    /// means for the checksum of the pseudo header.
    fn readdress(
        ip: &mut Self::Header,
        source: &Self::Address,
        destination: &Self::Address,
    ) -> Difference;
    /// One hop less, its checksum kept right.
    fn decrement_hops(ip: &mut Self::Header);
}

impl Readdress for Inet {
    #[inline(always)]
    fn readdress(ip: &mut Ipv4, source: &V4, destination: &V4) -> Difference {
        let difference = Difference::NONE
            .word(ip.source[0], source[0])
            .word(ip.destination[0], destination[0]);
        ip.source = *source;
        ip.destination = *destination;
        ip.checksum_be = difference.apply(ip.checksum_be);
        difference
    }

    #[inline(always)]
    fn decrement_hops(ip: &mut Ipv4) {
        let old = u16::from_be_bytes([ip.ttl, ip.protocol]);
        ip.ttl -= 1;
        let new = u16::from_be_bytes([ip.ttl, ip.protocol]);
        ip.checksum_be = Difference::NONE
            .half(old.to_be(), new.to_be())
            .apply(ip.checksum_be);
    }
}

impl Readdress for Inet6 {
    #[inline(always)]
    fn readdress(ip: &mut Ipv6, source: &V6, destination: &V6) -> Difference {
        let mut difference = Difference::NONE;
        // Word after word: eBPF's ten registers cannot hold the addresses.
        for (word, new) in ip.source.iter_mut().zip(source) {
            difference = difference.word(*word, *new);
            *word = *new;
        }
        for (word, new) in ip.destination.iter_mut().zip(destination) {
            difference = difference.word(*word, *new);
            *word = *new;
        }
        difference
    }

    #[inline(always)]
    fn decrement_hops(ip: &mut Ipv6) {
        ip.hop_limit -= 1;
    }
}

/// Gives a segment the addresses and ports of its flow.
#[inline(always)]
pub fn readdress<F: Readdress, T: Transport>(
    segment: &mut Segment<'_, F, T>,
    flow: &Flow<F::Address>,
) {
    let addresses = F::readdress(segment.ip, &flow.source, &flow.destination);
    segment
        .transport
        .rewrite(flow.source_port_be, flow.destination_port_be, addresses);
}
