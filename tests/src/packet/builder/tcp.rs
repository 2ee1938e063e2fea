//! TCP (RFC 9293): what a segment has that nothing else has.

use std::net::{IpAddr, SocketAddr};

use super::{Body, Packet, wire};
use crate::packet::{TcpOption, flag, protocol};

#[derive(Clone, Debug)]
pub(super) struct Tcp {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
    pub(super) payload: Vec<u8>,
    /// Header length in words, if it shall not be the true one.
    header_words: Option<u8>,
    checksum_error: u16,
}

impl Packet {
    /// A TCP SYN from `source` to `destination`.
    ///
    /// # Panics
    /// When the two are not of one address family.
    #[must_use]
    pub fn tcp(source: SocketAddr, destination: SocketAddr) -> Self {
        let tcp = Tcp {
            source_port: source.port(),
            destination_port: destination.port(),
            seq: 1_000,
            ack: 0,
            flags: flag::SYN,
            window: 64_240,
            options: Vec::new(),
            payload: Vec::new(),
            header_words: None,
            checksum_error: 0,
        };
        Self::new(source.ip(), destination.ip(), Body::Tcp(tcp))
    }

    /// Sets the sequence number.
    #[must_use]
    pub fn seq(self, seq: u32) -> Self {
        self.with_tcp(|tcp| tcp.seq = seq)
    }

    /// Sets the acknowledgement number; the flag is set by [`Self::flags`].
    #[must_use]
    pub fn ack(self, ack: u32) -> Self {
        self.with_tcp(|tcp| tcp.ack = ack)
    }

    /// Sets all flags: bits of [`flag`].
    #[must_use]
    pub fn flags(self, flags: u8) -> Self {
        self.with_tcp(|tcp| tcp.flags = flags)
    }

    /// Sets the window field, as it stands before any scaling.
    #[must_use]
    pub fn window(self, window: u16) -> Self {
        self.with_tcp(|tcp| tcp.window = window)
    }

    /// Sets the TCP options, padded to whole words by end-of-list bytes.
    #[must_use]
    pub fn options(self, options: &[TcpOption]) -> Self {
        self.with_tcp(|tcp| {
            tcp.options.clear();
            for option in options {
                option.write(&mut tcp.options);
            }
            tcp.options.resize(tcp.options.len().next_multiple_of(4), 0);
        })
    }

    /// Lets the TCP header announce this length, in words, whatever it is.
    #[must_use]
    pub fn tcp_header_words(self, words: u8) -> Self {
        self.with_tcp(|tcp| tcp.header_words = Some(words))
    }

    /// Adds this to the right TCP checksum, so that it is wrong.
    #[must_use]
    pub fn tcp_checksum_off_by(self, error: u16) -> Self {
        self.with_tcp(|tcp| tcp.checksum_error = error)
    }

    fn with_tcp(mut self, change: impl FnOnce(&mut Tcp)) -> Self {
        match &mut self.body {
            Body::Tcp(tcp) => change(tcp),
            other => panic!("{} has no TCP fields", other.name()),
        }
        self
    }
}

impl Tcp {
    pub(super) fn build(&self, source: IpAddr, destination: IpAddr) -> Vec<u8> {
        let true_words = (20 + self.options.len()) / 4;
        let words = self.header_words.unwrap_or(true_words as u8);
        let mut segment = Vec::new();
        segment.extend(self.source_port.to_be_bytes());
        segment.extend(self.destination_port.to_be_bytes());
        segment.extend(self.seq.to_be_bytes());
        segment.extend(self.ack.to_be_bytes());
        segment.extend([words << 4, self.flags]);
        segment.extend(self.window.to_be_bytes());
        segment.extend([0; 4]); // checksum, urgent pointer
        segment.extend(&self.options);
        segment.extend(&self.payload);

        let right = wire::transport_checksum(source, destination, protocol::TCP, &segment);
        let checksum = right.wrapping_add(self.checksum_error);
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
        segment
    }
}
