//! What of this host's network goes into the file. Pure.

use std::net::{IpAddr, Ipv4Addr};

use crate::net::{
    SeenAddress,
    survey::{Candidate, Peer, Survey, candidates},
};

/// How many addresses neighbours are asked for.
const ASKED: usize = 4;
/// Stands for one where this host has no address at all: of documentation (RFC 5737).
const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// In the order in which they are written.
    pub(super) interfaces: Vec<Candidate>,
    pub(super) vip: Vip,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Vip {
    /// In the host's network; nobody answered for it, or nobody was asked.
    Free {
        address: IpAddr,
        network: String,
        asked: bool,
        /// The host's own.
        own: IpAddr,
    },
    /// The host's own.
    Own(IpAddr),
    /// The host has none.
    Unknown(IpAddr),
}

pub(super) fn choice(survey: &Survey) -> Choice {
    Choice {
        interfaces: candidates(survey),
        vip: vip(survey),
    }
}

fn vip(survey: &Survey) -> Vip {
    let Some(own) = own(survey) else {
        return Vip::Unknown(NO_ADDRESS);
    };
    let peers: Vec<(Ipv4Addr, Option<Peer>)> = (perhaps_free(survey).into_iter())
        .map(|address| {
            let way = survey.ways.get(&IpAddr::V4(address));
            (address, way.and_then(|way| Some(way.as_ref().ok()?.peer)))
        })
        .collect();
    let with = |wanted: Option<Peer>| peers.iter().find(|(_, peer)| *peer == wanted);
    let found = (with(Some(Peer::Silent)).map(|(address, _)| (*address, true)))
        .or_else(|| with(Some(Peer::Unknown)).map(|(address, _)| (*address, false)));
    match found {
        Some((address, asked)) => Vip::Free {
            address: address.into(),
            network: format!("{}/{}", own.network(), own.length),
            asked,
            own: own.address,
        },
        None => Vip::Own(own.address),
    }
}

/// The address by which the host is known best: of the interface that comes first, IPv4 if there is one.
fn own(survey: &Survey) -> Option<SeenAddress> {
    let usable = (candidates(survey).into_iter()).filter(|one| one.left_out.is_none());
    let order: Vec<u32> = usable
        .filter_map(|one| Some(survey.link(&one.name)?.link.ifindex))
        .collect();
    let mut known: Vec<SeenAddress> = (survey.addresses.iter())
        .filter(|own| !own.announced && order.contains(&own.ifindex) && is_global(own.address))
        .copied()
        .collect();
    let rank = |own: &SeenAddress| {
        let place = order.iter().position(|index| *index == own.ifindex);
        (own.address.is_ipv6(), place)
    };
    known.sort_by_key(rank);
    known.into_iter().next()
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}

/// Addresses of the host's network that it does not have itself, from the end of the network down, where
/// servers and pools of DHCP rarely are. None in networks that are too small to have any to spare.
pub(super) fn perhaps_free(survey: &Survey) -> Vec<Ipv4Addr> {
    let Some(own) = own(survey) else {
        return Vec::new();
    };
    let (IpAddr::V4(first), 8..=29) = (own.network(), own.length) else {
        return Vec::new();
    };
    let size = 1_u32 << (32 - u32::from(own.length));
    // The last one is the broadcast address, and the one before it a router now and then.
    let from_end = (3..size.min(64)).map(|back| Ipv4Addr::from_bits(first.to_bits() + size - back));
    from_end
        .filter(|address| *address != first && !survey.holds(IpAddr::V4(*address)))
        .take(ASKED)
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::net::survey::{SeenLink, Way};

    /// A host with this one address, whose neighbours were asked with this result.
    pub(in crate::cli::init) fn host(
        address: &str,
        length: u8,
        peer: impl Fn(u8) -> Peer,
    ) -> Survey {
        let own = |address: &str, length, ifindex| SeenAddress {
            address: address.parse().expect("an address"),
            length,
            ifindex,
            announced: false,
        };
        let mut survey = Survey {
            links: vec![
                SeenLink::plain(1, "lo"),
                SeenLink::plain(2, "eth0"),
                SeenLink::plain(3, "docker0"),
            ],
            addresses: vec![
                own("127.0.0.1", 8, 1),
                own("172.17.0.1", 16, 3),
                own("fe80::1", 64, 2),
                own(address, length, 2),
            ],
            defaults: vec![2],
            ways: Default::default(),
        };
        for free in perhaps_free(&survey) {
            let way = Way {
                ifindex: 2,
                source: free.into(),
                gateway: None,
                mtu: None,
                peer: peer(free.octets()[3]),
            };
            survey.ways.insert(free.into(), Ok(way));
        }
        survey
    }

    fn vip_of(address: &str, length: u8, peer: impl Fn(u8) -> Peer) -> Vip {
        choice(&host(address, length, peer)).vip
    }

    #[test]
    fn an_address_is_free_if_nobody_answers_for_it() {
        let free = |address: &str, asked| Vip::Free {
            address: address.parse().expect("an address"),
            network: "10.0.0.0/24".to_owned(),
            asked,
            own: "10.0.0.5".parse().expect("an address"),
        };
        let silent = |_| Peer::Silent;
        assert_eq!(vip_of("10.0.0.5", 24, silent), free("10.0.0.253", true));
        let one_answers = |last| {
            if last == 253 {
                Peer::Known
            } else {
                Peer::Silent
            }
        };
        assert_eq!(
            vip_of("10.0.0.5", 24, one_answers),
            free("10.0.0.252", true)
        );
        // Without the right to ask.
        let unknown = |_| Peer::Unknown;
        assert_eq!(vip_of("10.0.0.5", 24, unknown), free("10.0.0.253", false));
    }

    #[test]
    fn a_host_without_neighbours_to_spare_has_its_own() {
        let silent = |_| Peer::Silent;
        for (address, length) in [
            ("192.0.2.7", 32),
            ("192.0.2.7", 31),
            ("192.0.2.7", 30),
            ("2001:db8::7", 64),
        ] {
            let own = address.parse().expect("an address");
            assert_eq!(
                vip_of(address, length, silent),
                Vip::Own(own),
                "{address}/{length}"
            );
        }
        // All of them are somebody's.
        let own = "10.0.0.5".parse().expect("an address");
        assert_eq!(vip_of("10.0.0.5", 24, |_| Peer::Known), Vip::Own(own));
    }

    #[test]
    fn and_one_without_an_address_is_told_to_choose() {
        let mut survey = host("10.0.0.5", 24, |_| Peer::Silent);
        survey.addresses.clear();
        assert_eq!(choice(&survey).vip, Vip::Unknown(NO_ADDRESS));
    }
}
