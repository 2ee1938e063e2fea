//! The builder: every field has a plausible default and a setter, checksums are right unless a
//! setter makes them wrong. How the fields become bytes is in [`wire`].

mod wire;

use std::net::{IpAddr, SocketAddr};

use super::{Extension, Mac, TcpOption, flag, mac, protocol};

/// A packet to be. `build` makes a frame of it.
#[derive(Clone, Debug)]
pub struct Packet {
    source_mac: Mac,
    destination_mac: Mac,
    tags: Vec<u16>,
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    identification: u16,
    ip_options: Vec<u8>,
    extensions: Vec<Extension>,
    fragment: Option<(u16, bool)>,
    ip_checksum_error: u16,
    body: Body,
    cut: Option<usize>,
    padding: usize,
}

#[derive(Clone, Debug)]
enum Body {
    Tcp(Tcp),
    /// Anything else: protocol and bytes, taken as they are.
    Raw(u8, Vec<u8>),
}

#[derive(Clone, Debug)]
struct Tcp {
    source_port: u16,
    destination_port: u16,
    seq: u32,
    ack: u32,
    flags: u8,
    window: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
    /// Header length in words, if it shall not be the true one.
    header_words: Option<u8>,
    checksum_error: u16,
}

/// Starting a packet.
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

    /// A UDP datagram with a small payload and no checksum.
    #[must_use]
    pub fn udp(source: SocketAddr, destination: SocketAddr) -> Self {
        let payload = b"ping";
        let mut bytes = Vec::new();
        bytes.extend(source.port().to_be_bytes());
        bytes.extend(destination.port().to_be_bytes());
        bytes.extend((8 + payload.len() as u16).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(payload);
        Self::raw(source.ip(), destination.ip(), protocol::UDP, bytes)
    }

    /// An echo request of the family's ICMP; long enough that a parser which takes it for TCP
    /// finds a whole header.
    #[must_use]
    pub fn ping(source: IpAddr, destination: IpAddr) -> Self {
        let (protocol, kind) = match source {
            IpAddr::V4(_) => (protocol::ICMP, 8),
            IpAddr::V6(_) => (protocol::ICMPV6, 128),
        };
        let mut bytes = vec![kind, 0, 0, 0, 0, 1, 0, 1];
        bytes.resize(64, b'x');
        Self::raw(source, destination, protocol, bytes)
    }

    /// Any protocol, its header and payload given.
    #[must_use]
    pub fn raw(source: IpAddr, destination: IpAddr, protocol: u8, bytes: Vec<u8>) -> Self {
        Self::new(source, destination, Body::Raw(protocol, bytes))
    }

    fn new(source: IpAddr, destination: IpAddr, body: Body) -> Self {
        assert_eq!(
            source.is_ipv4(),
            destination.is_ipv4(),
            "source and destination are of one family"
        );
        Self {
            source_mac: mac(1),
            destination_mac: mac(2),
            tags: Vec::new(),
            source,
            destination,
            ttl: 64,
            identification: 0x1234,
            ip_options: Vec::new(),
            extensions: Vec::new(),
            fragment: None,
            ip_checksum_error: 0,
            body,
            cut: None,
            padding: 0,
        }
    }
}

/// Ethernet and IP.
impl Packet {
    #[must_use]
    pub fn macs(mut self, source: Mac, destination: Mac) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// Adds an 802.1Q tag, inside those already there.
    #[must_use]
    pub fn vlan(mut self, id: u16) -> Self {
        self.tags.push(id);
        self
    }

    /// Sets the source address and, for TCP, port.
    #[must_use]
    pub fn from(mut self, source: SocketAddr) -> Self {
        self.source = source.ip();
        if let Body::Tcp(tcp) = &mut self.body {
            tcp.source_port = source.port();
        }
        self
    }

    /// Sets the destination address and, for TCP, port.
    #[must_use]
    pub fn to(mut self, destination: SocketAddr) -> Self {
        self.destination = destination.ip();
        if let Body::Tcp(tcp) = &mut self.body {
            tcp.destination_port = destination.port();
        }
        self
    }

    /// TTL or hop limit.
    #[must_use]
    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    /// One less than it was.
    #[must_use]
    pub fn one_hop_less(mut self) -> Self {
        self.ttl -= 1;
        self
    }

    /// IPv4 identification.
    #[must_use]
    pub fn identification(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// IPv4 options: this many words of NOP, at most 10.
    #[must_use]
    pub fn ip_options(mut self, words: usize) -> Self {
        self.ip_options = vec![1; words * 4];
        self
    }

    /// Adds an IPv6 extension header behind those already there.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// Makes it a fragment in either family: offset in bytes, a multiple of 8, and whether more
    /// follow.
    #[must_use]
    pub fn fragment(mut self, offset: u16, more: bool) -> Self {
        if self.source.is_ipv4() {
            self.fragment = Some((offset, more));
            self
        } else {
            self.extension(Extension::Fragment { offset, more })
        }
    }

    /// Adds this to the right IPv4 header checksum, so that it is wrong.
    #[must_use]
    pub fn ip_checksum_off_by(mut self, error: u16) -> Self {
        self.ip_checksum_error = error;
        self
    }
}

/// TCP, and the frame as a whole.
impl Packet {
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

    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Self {
        self.with_tcp(|tcp| tcp.payload = payload.to_vec())
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

    /// Cuts the frame to its first `len` bytes; headers keep announcing the whole.
    #[must_use]
    pub fn cut_at(mut self, len: usize) -> Self {
        self.cut = Some(len);
        self
    }

    /// Appends bytes beyond the IP packet, as Ethernet's minimum frame does.
    #[must_use]
    pub fn padded_by(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    fn with_tcp(mut self, change: impl FnOnce(&mut Tcp)) -> Self {
        match &mut self.body {
            Body::Tcp(tcp) => change(tcp),
            Body::Raw(protocol, _) => panic!("a packet of protocol {protocol} has no TCP fields"),
        }
        self
    }
}
