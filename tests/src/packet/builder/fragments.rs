//! Cutting a packet into fragments (RFC 791, section 3.2; RFC 8200, section 4.5). Each is a [`Packet`] as
//! well, so that the setters of Ethernet and IP work for it.

use std::ops::Range;

use super::{Body, Packet};

impl Packet {
    /// The packet in fragments, cut at these bytes of what follows its IP header.
    #[must_use]
    pub fn fragments(&self, cuts: &[usize]) -> Vec<Self> {
        let length = self.content().1.len();
        let bounds: Vec<usize> = [0].iter().chain(cuts).chain([&length]).copied().collect();
        let ranges = bounds.windows(2).map(|pair| pair[0]..pair[1]);
        ranges.map(|range| self.piece(range)).collect()
    }

    /// One fragment of it, with these bytes of what follows its IP header.
    ///
    /// # Panics
    /// When it has fewer bytes, or no fragment can begin there.
    #[must_use]
    pub fn piece(&self, bytes: Range<usize>) -> Self {
        let (protocol, content) = self.content();
        assert_eq!(bytes.start % 8, 0, "offsets count in units of 8 bytes");
        let offset = u16::try_from(bytes.start).expect("an IP packet is not longer");
        let more = bytes.end < content.len();
        let body = Body::Raw(protocol, content[bytes].to_vec());
        let piece = Self {
            body,
            ..self.clone()
        };
        piece.fragment(offset, more)
    }
}
