//! Telling the neighbours on a link who has an address now, unasked: gratuitous ARP (RFC 5227,
//! section 2.3) and unsolicited neighbour advertisements (RFC 4861, section 7.2.6).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Ethernet2Header, Icmpv6Header, Icmpv6Type,
    IpNumber, Ipv6Header,
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use super::Mac;

/// How often it is said, and at what intervals: RFC 5227's ANNOUNCE_NUM and ANNOUNCE_INTERVAL, RFC
/// 4861's MAX_NEIGHBOR_ADVERTISEMENT and RETRANS_TIMER.
const TIMES4: usize = 2;
const INTERVAL4: Duration = Duration::from_secs(2);
const TIMES6: usize = 3;
const INTERVAL6: Duration = Duration::from_secs(1);

const BROADCAST: Mac = [0xff; 6];
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// It is a router; what the neighbours knew before is to be forgotten.
const ROUTER: u8 = 0x80;
const OVERRIDE: u8 = 0x20;
/// The option that holds the MAC address, and its length in units of 8 bytes.
const TARGET_MAC: u8 = 2;
const TARGET_MAC_LENGTH: u8 = 1;
/// Others are dropped (RFC 4861, section 7.1.2).
const HOP_LIMIT: u8 = 255;

/// Says who has an address.
#[derive(Clone, Debug)]
pub struct Teller {
    socket: Arc<Socket>,
}

/// It is being said; dropping it makes an end of that.
#[derive(Debug)]
#[must_use]
pub struct Telling {
    _task: JoinSet<()>,
}

/// Where and what to tell.
#[derive(Clone, Debug)]
pub struct News {
    pub address: IpAddr,
    /// The interface, as an address of family AF_PACKET.
    pub link: SockAddr,
    /// Of the interface.
    pub mac: Mac,
    /// This host forwards packets of the address's family.
    pub router: bool,
}

impl Teller {
    /// # Errors
    /// `PermissionDenied` without CAP_NET_RAW.
    pub fn open() -> io::Result<Self> {
        // Protocol 0: it receives nothing.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        let socket = Arc::new(socket);
        Ok(Self { socket })
    }

    /// Begins to say it, a few times within some seconds, because frames may be lost.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn tell(&self, news: News) -> Telling {
        let socket = Arc::clone(&self.socket);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let frame = match frame(&news) {
                Ok(frame) => frame,
                Err(error) => return debug!("no frame tells of {}: {error}", news.address),
            };
            let (times, interval) = match news.address {
                IpAddr::V4(_) => (TIMES4, INTERVAL4),
                IpAddr::V6(_) => (TIMES6, INTERVAL6),
            };
            for time in 0..times {
                if time > 0 {
                    sleep(interval).await;
                }
                if let Err(error) = socket.send_to(&frame, &news.link) {
                    debug!("neighbours were not told of {}: {error}", news.address);
                }
            }
        });
        Telling { _task: task }
    }
}

fn frame(news: &News) -> io::Result<Vec<u8>> {
    match news.address {
        IpAddr::V4(address) => arp(address, news.mac),
        IpAddr::V6(address) => advertisement(address, news.mac, news.router),
    }
}

fn ethernet(source: Mac, destination: Mac, ether_type: EtherType) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(Ethernet2Header::LEN + 72);
    let header = Ethernet2Header {
        source,
        destination,
        ether_type,
    };
    header.write(&mut frame)?;
    Ok(frame)
}

/// A request for the address by its owner: neighbours that know the address take the MAC address from
/// it, whether they take replies unasked or not.
fn arp(address: Ipv4Addr, mac: Mac) -> io::Result<Vec<u8>> {
    let mut frame = ethernet(mac, BROADCAST, EtherType::ARP)?;
    let packet = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &mac,
        &address.octets(),
        &[0; 6],
        &address.octets(),
    );
    packet.map_err(io::Error::other)?.write(&mut frame)?;
    Ok(frame)
}

fn advertisement(address: Ipv6Addr, mac: Mac, router: bool) -> io::Result<Vec<u8>> {
    let mut target = address.octets().to_vec();
    target.extend_from_slice(&[TARGET_MAC, TARGET_MAC_LENGTH]);
    target.extend_from_slice(&mac);
    let flags = if router { ROUTER | OVERRIDE } else { OVERRIDE };
    let kind = Icmpv6Type::Unknown {
        type_u8: NEIGHBOUR_ADVERTISEMENT,
        code_u8: 0,
        bytes5to8: [flags, 0, 0, 0],
    };
    let icmp = Icmpv6Header::with_checksum(kind, address.octets(), ALL_NODES.octets(), &target)
        .map_err(io::Error::other)?;
    let ip = Ipv6Header {
        payload_length: (icmp.header_len() + target.len())
            .try_into()
            .map_err(io::Error::other)?,
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: HOP_LIMIT,
        source: address.octets(),
        destination: ALL_NODES.octets(),
        ..Ipv6Header::default()
    };
    let mut frame = ethernet(mac, ALL_NODES_MAC, EtherType::IPV6)?;
    ip.write(&mut frame)?;
    icmp.write(&mut frame)?;
    frame.extend_from_slice(&target);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    #[test]
    fn an_arp_request_for_itself() {
        let frame = arp("203.0.113.10".parse().unwrap(), MAC).unwrap();
        let expected = [
            &[0xff; 6][..],
            &MAC,
            &[8, 6],
            // Ethernet, IPv4, their lengths, a request.
            &[0, 1, 8, 0, 6, 4, 0, 1],
            &MAC,
            &[203, 0, 113, 10],
            &[0; 6],
            &[203, 0, 113, 10],
        ];
        assert_eq!(frame, expected.concat());
    }

    #[test]
    fn an_advertisement_to_all_nodes() {
        let address: Ipv6Addr = "2001:db8::10".parse().unwrap();
        for (router, flags) in [(true, 0xa0), (false, 0x20)] {
            let frame = advertisement(address, MAC, router).unwrap();
            let head = [
                &[0x33, 0x33, 0, 0, 0, 1][..],
                &MAC,
                &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255],
                &address.octets(),
                &ALL_NODES.octets(),
                &[136, 0],
            ]
            .concat();
            let tail = [&[flags, 0, 0, 0][..], &address.octets(), &[2, 1], &MAC].concat();
            assert!(frame.starts_with(&head), "{frame:02x?}");
            assert!(frame.ends_with(&tail), "{frame:02x?}");
            assert_eq!(frame.len(), head.len() + 2 + tail.len());
            // The sum over the pseudo header and the message is all ones (RFC 4443, section 2.3).
            let pseudo = [&frame[22..54], &[0, 0, 0, 32, 0, 0, 0, 58]].concat();
            let mut sum: u32 = (pseudo.chunks(2).chain(frame[54..].chunks(2)))
                .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
                .sum();
            while sum > 0xffff {
                sum = (sum >> 16) + (sum & 0xffff);
            }
            assert_eq!(sum, 0xffff);
        }
    }
}
