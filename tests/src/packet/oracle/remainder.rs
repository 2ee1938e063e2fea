//! The oracle's checksum arithmetic.

use std::net::IpAddr;

use super::Defect;

/// The Internet checksum by its arithmetic definition: the bytes as base-65536 digits of one
/// large number, which is taken modulo 65535 (RFC 1071, section 2, property 1).
#[derive(Default)]
pub(super) struct Remainder {
    value: u64,
    any: bool,
}

impl Remainder {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            let weight = if at % 2 == 0 { 256 } else { 1 };
            self.value = (self.value + weight * u64::from(*byte)) % 0xffff;
            self.any |= *byte != 0;
        }
    }

    pub(super) fn add_word(&mut self, word: u16) {
        self.add(&word.to_be_bytes());
    }

    pub(super) fn add_address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }

    /// A defect if `found` is not the checksum of what was added.
    pub(super) fn verdict(&self, what: &'static str, found: u16) -> Option<Defect> {
        let right = self.checksum();
        (found != right).then_some(Defect::Checksum { what, found, right })
    }

    /// As [`Self::verdict`], for UDP: where the checksum is 0, its other form stands, since 0 says
    /// that there is none (RFC 768).
    pub(super) fn verdict_of_udp(&self, found: u16) -> Option<Defect> {
        let right = match self.checksum() {
            0 => 0xffff,
            other => other,
        };
        let what = "udp";
        (found != right).then_some(Defect::Checksum { what, found, right })
    }

    fn checksum(&self) -> u16 {
        // Ones' complement has two zeros; a sum of anything but zeros yields the one of all bits.
        let sum = if self.value == 0 && self.any {
            0xffff
        } else {
            self.value as u16
        };
        !sum
    }
}
