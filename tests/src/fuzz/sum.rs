//! Sums of the Internet checksum by arithmetic: bytes are digits of one large number, taken modulo
//! 65535 (RFC 1071, section 2, property 1).

use super::end::{End, Ways};

/// A sum, and whether anything but zeros was in it.
#[derive(Clone, Copy, Default)]
pub struct Sum {
    value: u64,
    any: u64,
}

impl Sum {
    /// Of these bytes, the first of which stand at an even place.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::default().and(bytes)
    }

    #[must_use]
    pub fn and(mut self, bytes: &[u8]) -> Self {
        // 2^32 is 1 modulo 65535, so that words of 32 bits may be added as they are.
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            self = self.and_word(u32::from_be_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        self.and_word(u32::from_be_bytes(last))
    }

    fn and_word(mut self, word: u32) -> Self {
        self.value += u64::from(word);
        self.any |= u64::from(word);
        self
    }

    fn and_end(self, end: &End) -> Self {
        self.and(end.octets())
    }

    /// With the pseudo header of a transport (RFC 9293, section 3.1; RFC 8200, section 8.1).
    #[must_use]
    pub fn and_pseudo_header(self, ways: &Ways, protocol: u8, length: usize) -> Self {
        self.and_end(&ways.source)
            .and_end(&ways.destination)
            .and_word(u32::from(protocol))
            .and_word(length as u32)
    }

    /// What it is modulo 65535. Data with its right checksum has 0.
    #[must_use]
    pub const fn remainder(self) -> u16 {
        (self.value % 0xffff) as u16
    }

    /// The checksum of data in which the checksum's field was 0.
    #[must_use]
    pub const fn checksum(self) -> u16 {
        match self.remainder() {
            0 if self.any != 0 => 0,
            other => !other,
        }
    }
}
