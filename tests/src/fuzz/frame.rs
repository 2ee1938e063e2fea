//! Frames in the making: bytes in a place of fixed size, written header by header without any
//! allocation, and where the headers are.

use super::{
    end::{End, Ways},
    sum::Sum,
};
use crate::packet::{ETHERNET_LEN, Mac, ethertype, protocol};

/// The longest frame that a test run takes without fragments of its buffer: a page, less headroom (256)
/// and the kernel's bookkeeping (320).
pub const ROOM: usize = 3_520;

/// A frame.
#[derive(Clone)]
pub struct Frame {
    bytes: [u8; ROOM],
    len: usize,
    /// Where the headers are that [`super::make`] may change by name.
    pub parts: Parts,
}

/// Where a frame's headers begin.
#[derive(Clone, Copy, Default)]
pub struct Parts {
    pub ip: Option<(usize, bool)>,
    /// With the protocol.
    pub transport: Option<(usize, u8)>,
    /// Where the packet ends.
    pub end: usize,
    /// The same of the packet that an error quotes.
    pub quoted: Option<(usize, bool)>,
    pub quoted_transport: Option<usize>,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            bytes: [0; ROOM],
            len: 0,
            parts: Parts::default(),
        }
    }
}

impl Frame {
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    pub const fn clear(&mut self) {
        self.len = 0;
        self.parts = Parts {
            ip: None,
            transport: None,
            end: 0,
            quoted: None,
            quoted_transport: None,
        };
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Cuts it, or fills it up with zeros.
    pub fn resize(&mut self, len: usize) {
        let len = len.min(ROOM);
        if len > self.len {
            self.bytes[self.len..len].fill(0);
        }
        self.len = len;
    }

    /// Takes over bytes as they are.
    pub fn take(&mut self, bytes: &[u8]) {
        self.clear();
        self.push(bytes);
        self.parts.end = self.len;
    }

    /// Appends; what has no room is left out.
    pub fn push(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(ROOM - self.len);
        self.bytes[self.len..][..len].copy_from_slice(&bytes[..len]);
        self.len += len;
    }

    pub fn push16(&mut self, word: u16) {
        self.push(&word.to_be_bytes());
    }

    pub fn push32(&mut self, word: u32) {
        self.push(&word.to_be_bytes());
    }

    /// Appends so many bytes that differ from one another.
    pub fn push_text(&mut self, len: usize) {
        let len = len.min(ROOM - self.len);
        for (byte, at) in self.bytes[self.len..][..len].iter_mut().zip(len..) {
            *byte = (at as u8).wrapping_mul(7);
        }
        self.len += len;
    }

    pub fn set16(&mut self, at: usize, word: u16) {
        self.bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
    }

    /// Inserts zeros.
    pub fn insert(&mut self, at: usize, len: usize) {
        let len = len.min(ROOM - self.len);
        self.bytes.copy_within(at..self.len, at + len);
        self.bytes[at..at + len].fill(0);
        self.len += len;
    }

    /// The Ethernet header, with any tags.
    pub fn ethernet(&mut self, source: &Mac, destination: &Mac, tags: &[(u16, u16)], v6: bool) {
        self.push(destination);
        self.push(source);
        for (kind, tag) in tags {
            self.push16(*kind);
            self.push16(*tag);
        }
        self.push16(if v6 { ethertype::IPV6 } else { ethertype::IPV4 });
        debug_assert!(self.len >= ETHERNET_LEN);
    }

    /// Sets the IPv4 header's checksum right, if there is such a header.
    pub fn sum_ip(&mut self, start: usize) {
        let length = usize::from(self.bytes[start] & 15) * 4;
        if length < 20 || start + length > self.len {
            return;
        }
        self.set16(start + 10, 0);
        let sum = Sum::of(&self.bytes[start..start + length]).checksum();
        self.set16(start + 10, sum);
    }

    /// Sets the checksum right of what begins there and reaches to `end`.
    pub fn sum_transport(&mut self, start: usize, end: usize, protocol: u8, ways: &Ways) {
        let end = end.min(self.len);
        let place = match protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            _ => 2,
        };
        if start + place + 2 > end {
            return;
        }
        self.set16(start + place, 0);
        let mut sum = Sum::of(&self.bytes[start..end]);
        if protocol != protocol::ICMP {
            sum = sum.and_pseudo_header(ways, protocol, end - start);
        }
        let sum = match (sum.checksum(), protocol) {
            (0, protocol::UDP) => 0xffff,
            (sum, _) => sum,
        };
        self.set16(start + place, sum);
    }

    /// The ends by the IP header that begins there.
    #[must_use]
    pub fn ends(&self, start: usize, v6: bool) -> Ways {
        let (source, length) = if v6 { (8, 16) } else { (12, 4) };
        let at = |from: usize| End::read(&self.bytes[from..from + length], 0);
        Ways {
            source: at(start + source),
            destination: at(start + source + length),
        }
    }
}
