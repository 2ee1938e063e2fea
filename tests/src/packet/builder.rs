//! The builder: every field has a plausible default and a setter, checksums are right unless a
//! setter makes them wrong. What is of TCP or UDP alone is in [`tcp`], [`udp`] and [`icmp`], what puts a
//! packet into another in [`outer`], what cuts one into fragments in [`fragments`], and how the fields
//! become bytes in [`wire`].

mod fragments;
mod icmp;
mod outer;
mod tcp;
mod udp;
mod wire;

use std::net::{IpAddr, SocketAddr};

use self::{icmp::Icmp, tcp::Tcp, udp::Udp};
use super::{Extension, Mac, Tag, ethertype, mac};

/// A packet to be. `build` makes a frame of it.
#[derive(Clone, Debug)]
pub struct Packet {
    source_mac: Mac,
    destination_mac: Mac,
    tags: Vec<Tag>,
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    tos: u8,
    flow_label: u32,
    identification: u16,
    dont_fragment: bool,
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
    Udp(Udp),
    Icmp(Icmp),
    /// Anything else: protocol and bytes, taken as they are.
    Raw(u8, Vec<u8>),
}

/// Starting a packet.
impl Packet {
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
            tos: 0,
            flow_label: 0,
            identification: 0x1234,
            dont_fragment: true,
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
    /// Sets the Ethernet addresses.
    #[must_use]
    pub fn macs(mut self, source: Mac, destination: Mac) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// Adds an 802.1Q tag, inside those already there.
    #[must_use]
    pub fn vlan(self, id: u16) -> Self {
        self.tagged(&[(ethertype::VLAN, id)])
    }

    /// Adds these tags, the outermost first, inside those already there.
    #[must_use]
    pub fn tagged(mut self, tags: &[Tag]) -> Self {
        self.tags.extend(tags);
        self
    }

    /// Sets the source address and, for TCP and UDP, port.
    #[must_use]
    pub fn from(mut self, source: SocketAddr) -> Self {
        self.source = source.ip();
        match &mut self.body {
            Body::Tcp(tcp) => tcp.source_port = source.port(),
            Body::Udp(udp) => udp.source_port = source.port(),
            Body::Icmp(_) | Body::Raw(..) => {}
        }
        self
    }

    /// Sets the destination address and, for TCP and UDP, port.
    #[must_use]
    pub fn to(mut self, destination: SocketAddr) -> Self {
        self.destination = destination.ip();
        match &mut self.body {
            Body::Tcp(tcp) => tcp.destination_port = destination.port(),
            Body::Udp(udp) => udp.destination_port = destination.port(),
            Body::Icmp(_) | Body::Raw(..) => {}
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

    /// The byte of DSCP and ECN (RFC 2474, RFC 3168): IPv4's type of service, IPv6's traffic class.
    #[must_use]
    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    /// IPv6 flow label, 20 bits (RFC 6437).
    #[must_use]
    pub fn flow_label(mut self, label: u32) -> Self {
        self.flow_label = label;
        self
    }

    /// IPv4 identification, or the lower half of that of an IPv6 fragment header.
    #[must_use]
    pub fn identification(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// IPv4's bit that forbids to fragment. It is set unless this is called; a packet that is itself
    /// a fragment does not have it.
    #[must_use]
    pub fn dont_fragment(mut self, forbidden: bool) -> Self {
        self.dont_fragment = forbidden;
        self
    }

    /// IPv4 options: this many words of NOP, at most 10.
    #[must_use]
    pub fn ip_options(mut self, words: usize) -> Self {
        self.ip_options = vec![1; words * 4];
        self
    }

    /// IPv4 options, byte by byte, padded to whole words by end-of-list bytes.
    #[must_use]
    pub fn ip_option_bytes(mut self, bytes: &[u8]) -> Self {
        self.ip_options = bytes.to_vec();
        let words = bytes.len().next_multiple_of(4);
        self.ip_options.resize(words, 0);
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

/// The payload, and the frame as a whole.
impl Packet {
    /// Sets what follows the header of TCP, UDP or ICMP.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Self {
        match &mut self.body {
            Body::Tcp(tcp) => tcp.payload = payload.to_vec(),
            Body::Udp(udp) => udp.payload = payload.to_vec(),
            Body::Icmp(icmp) => icmp.payload = payload.to_vec(),
            Body::Raw(..) => panic!("{} has no payload of its own", self.body.name()),
        }
        self
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
}

impl Body {
    /// For messages of a test that asks for a field which is not there.
    fn name(&self) -> String {
        match self {
            Self::Tcp(_) => "a TCP segment".to_owned(),
            Self::Udp(_) => "a UDP datagram".to_owned(),
            Self::Icmp(_) => "an ICMP message".to_owned(),
            Self::Raw(protocol, _) => format!("a packet of protocol {protocol}"),
        }
    }
}
