//! ICMP errors about flows between the address families become those of the other family.

use std::net::{IpAddr, SocketAddr};

use lb_common::{
    PROTOCOL_TCP, PROTOCOL_UDP,
    backend::{flows, state as backend_state},
    reason::Reason,
};
use lb_tests::{
    packet::{ETHERNET_LEN, Packet, describe, flag::*, oracle},
    rig::{Outcome, Verdict},
};

use crate::{
    crossed::{Crossing, without_identification},
    scene::{BACK, FRONT, ROUTER, backend_mac},
};

/// Type, code, and the four bytes behind the checksum.
type News = (u8, u8, u32);

/// What errors of IPv4 become (RFC 7915, section 4.2), and those that become nothing.
const FROM_V4: [(News, Option<News>); 24] = [
    ((3, 0, 0), Some((1, 0, 0))),
    ((3, 1, 0), Some((1, 0, 0))),
    ((3, 2, 0), Some((4, 1, 6))),
    ((3, 3, 0), Some((1, 4, 0))),
    ((3, 4, 1_400), Some((2, 0, 1_420))),
    ((3, 4, 1_260), Some((2, 0, 1_280))),
    ((3, 4, 576), Some((2, 0, 1_280))),
    ((3, 4, 0), Some((2, 0, 1_280))),
    ((3, 4, 0x0007_2328), Some((2, 0, 9_020))),
    ((3, 5, 0), Some((1, 0, 0))),
    ((3, 6, 0), Some((1, 0, 0))),
    ((3, 7, 0), Some((1, 0, 0))),
    ((3, 8, 0), Some((1, 0, 0))),
    ((3, 9, 0), Some((1, 1, 0))),
    ((3, 10, 0), Some((1, 1, 0))),
    ((3, 11, 0), Some((1, 0, 0))),
    ((3, 12, 0), Some((1, 0, 0))),
    ((3, 13, 0), Some((1, 1, 0))),
    ((3, 14, 0), None),
    ((3, 15, 0), Some((1, 1, 0))),
    ((4, 0, 0), None),
    ((11, 0, 0), Some((3, 0, 0))),
    ((11, 1, 0), Some((3, 1, 0))),
    ((12, 0, 0x0800_0000), None),
];

/// The same of IPv6 (section 5.2).
const FROM_V6: [(News, Option<News>); 15] = [
    ((1, 0, 0), Some((3, 1, 0))),
    ((1, 1, 0), Some((3, 10, 0))),
    ((1, 2, 0), Some((3, 1, 0))),
    ((1, 3, 0), Some((3, 1, 0))),
    ((1, 4, 0), Some((3, 3, 0))),
    ((1, 5, 0), None),
    ((2, 0, 1_280), Some((3, 4, 1_260))),
    ((2, 0, 1_500), Some((3, 4, 1_480))),
    ((2, 0, 9_000), Some((3, 4, 8_980))),
    ((2, 0, 0), Some((3, 4, 1_260))),
    ((3, 0, 0), Some((11, 0, 0))),
    ((3, 1, 0), Some((11, 1, 0))),
    ((4, 0, 6), None),
    ((4, 1, 40), Some((3, 2, 0))),
    ((4, 2, 0), None),
];

/// A flow between the families.
struct Told {
    crossing: Crossing,
    local: SocketAddr,
    protocol: u8,
}

/// An error as it comes, and as it must go on.
type Pair = [Packet; 2];

impl Told {
    fn all() -> Vec<Self> {
        let make = |protocol| {
            Crossing::both(protocol).map(|mut crossing| {
                let local = match protocol {
                    PROTOCOL_UDP => ask(&mut crossing),
                    _ => crossing.establish(),
                };
                Self {
                    crossing,
                    local,
                    protocol,
                }
            })
        };
        [PROTOCOL_TCP, PROTOCOL_UDP]
            .into_iter()
            .flat_map(make)
            .collect()
    }

    fn packet(&self, from: SocketAddr, to: SocketAddr, bytes: usize) -> Packet {
        let packet = match self.protocol {
            PROTOCOL_UDP => Packet::udp(from, to).udp_checksum(),
            _ => Packet::tcp(from, to).seq(77).ack(78).flags(ACK | PSH),
        };
        let packet = packet.ttl(50).tos(0x28).payload(&vec![0x5a; bytes]);
        let length = packet.build().len() - ETHERNET_LEN;
        packet.dont_fragment(length > 1_260)
    }

    /// An error about a packet with so many bytes of data: of the client's side, and of the backend's.
    fn errors(
        &self,
        sender: Option<[IpAddr; 2]>,
        news: News,
        then: News,
        data: usize,
    ) -> [Pair; 2] {
        let (client, vip) = (self.crossing.scene.client, self.crossing.scene.vip);
        let (local, backend) = (self.local, self.crossing.backend);
        let [far, near] = sender.unwrap_or([client.ip(), backend.ip()]);
        let error = |from: IpAddr, to: IpAddr, (kind, code, rest): News, quoted: Packet, bytes| {
            Packet::icmp(from, to, kind, code)
                .rest(rest)
                .quoting(&quoted, bytes)
        };
        let least = |end: SocketAddr| if end.is_ipv4() { 28 } else { 48 };
        let to_client = self.packet(vip, client, data);
        let by_backend = self.packet(backend, local, data);
        let to_backend = self.packet(local, backend, data);
        let by_client = self.packet(client, vip, data);
        [
            [
                error(far, vip.ip(), news, to_client, usize::MAX).macs(ROUTER, FRONT),
                error(local.ip(), backend.ip(), then, by_backend, least(backend))
                    .macs(BACK, backend_mac(0)),
            ],
            [
                error(near, local.ip(), news, to_backend, usize::MAX).macs(backend_mac(0), BACK),
                error(vip.ip(), client.ip(), then, by_client, least(client)).macs(FRONT, ROUTER),
            ],
        ]
        .map(|[comes, goes]| [comes, goes.dont_fragment(false).one_hop_less()])
    }

    /// The errors that this family sends on the one side or the other.
    fn of_family(&self, pairs: [Pair; 2], v4: bool) -> Pair {
        let [clients, backends] = pairs;
        if self.crossing.scene.client.is_ipv4() == v4 {
            clients
        } else {
            backends
        }
    }
}

fn ask(crossing: &mut Crossing) -> SocketAddr {
    let question = Packet::udp(crossing.scene.client, crossing.scene.vip)
        .macs(ROUTER, FRONT)
        .udp_checksum();
    crossing.forth(&question).0
}

/// The frame without what IPv4 headers have by chance, outside and in the quote.
fn masked(frame: &[u8]) -> Vec<u8> {
    let quote = ETHERNET_LEN + if frame[12..14] == [8, 0] { 28 } else { 48 };
    let (outside, quoted) = without_identification(frame.to_vec())
        .split_at_checked(quote)
        .map(|(a, b)| (a.to_vec(), b.to_vec()))
        .expect("an error quotes something");
    let inner = [&outside[..ETHERNET_LEN], &quoted].concat();
    let inner = without_identification(inner);
    [&outside[..], &inner[ETHERNET_LEN..]].concat()
}

#[track_caller]
fn becomes(outcome: &Outcome, expected: &Packet, reasons: &[Reason]) {
    outcome.counts(reasons);
    oracle::check_icmp(&outcome.frame).unwrap_or_else(|defect| panic!("{defect}\n{outcome}"));
    let expected = expected.build();
    assert!(
        masked(&outcome.frame) == masked(&expected),
        "\n{outcome}\nshould be {}",
        describe(&expected)
    );
}

#[track_caller]
fn goes_on(told: &mut Told, [comes, goes]: &Pair) {
    let outcome = told.crossing.scene.rig.send(comes);
    outcome.verdict(Verdict::Tx);
    becomes(&outcome, goes, &[Reason::IcmpError]);
}

#[test]
fn errors_become_those_of_the_other_family() {
    for mut told in Told::all() {
        for (v4, table) in [(true, &FROM_V4[..]), (false, &FROM_V6[..])] {
            for (news, then) in table {
                eprintln!("{news:?} of {}", if v4 { "IPv4" } else { "IPv6" });
                for data in [0, 3, 1_400] {
                    let pairs = told.errors(None, *news, then.unwrap_or_default(), data);
                    let pair = told.of_family(pairs, v4);
                    if then.is_some() {
                        goes_on(&mut told, &pair);
                    } else {
                        let outcome = told.crossing.scene.rig.send(&pair[0]);
                        outcome.dropped(Reason::IcmpCrossed);
                    }
                }
            }
        }
    }
}

/// Of one family each, which the two sides have in turns.
const UNREACHABLE: [(News, News); 2] = [((3, 1, 0), (1, 0, 0)), ((1, 0, 0), (3, 1, 0))];

fn unreachable(told: &Told, sender: Option<[IpAddr; 2]>) -> [Pair; 2] {
    let pairs = UNREACHABLE.map(|(news, then)| told.errors(sender, news, then, 100));
    let [of_v4, of_v6] = pairs;
    [told.of_family(of_v4, true), told.of_family(of_v6, false)]
}

/// Whoever sends it, the receiver hears of it from the end that it knows.
#[test]
fn routers_errors_come_from_the_end_that_is_known() {
    for mut told in Told::all() {
        let [v4, v6]: [IpAddr; 2] =
            ["192.0.2.99", "2001:db8:9::9"].map(|text| text.parse().expect("an address"));
        let routers = if told.crossing.scene.client.is_ipv4() {
            [v4, v6]
        } else {
            [v6, v4]
        };
        for pair in unreachable(&told, Some(routers)) {
            goes_on(&mut told, &pair);
        }
    }
}

#[test]
fn little_may_be_quoted_and_options_stand_between() {
    for mut told in Told::all() {
        let pairs = unreachable(&told, None);
        for ([comes, goes], v4) in pairs.into_iter().zip([true, false]) {
            let (message, _) = oracle::read_icmp(&comes.build()).expect("a message");
            let least = if v4 { 28 } else { 48 };
            let short = comes.clone().payload(&message.payload[..least]);
            let options = match v4 {
                true => comes.ip_options(3),
                false => short.clone().padded_by(30),
            };
            for comes in [short, options] {
                goes_on(&mut told, &[comes, goes.clone()]);
            }
        }
    }
}

#[test]
fn errors_about_no_flow_and_dead_backends_go_nowhere() {
    for mut told in Told::all() {
        let pairs = unreachable(&told, None);
        told.crossing.scene.rig.change_backend(0, |backend| {
            (backend.state, backend.flows) = (backend_state::DOWN, flows::RESET);
        });
        for [comes, _] in &pairs {
            let outcome = told.crossing.scene.rig.send(comes);
            outcome.dropped(Reason::IcmpBackendDown);
        }
        told.crossing.scene.rig.forget_everything();
        for [comes, _] in &pairs {
            let outcome = told.crossing.scene.rig.send(comes);
            assert_ne!(outcome.verdict, Verdict::Tx, "\n{outcome}");
        }
    }
}

#[test]
fn one_with_no_hop_left_is_dropped() {
    for mut told in Told::all() {
        for [comes, _] in unreachable(&told, None) {
            let outcome = told.crossing.scene.rig.send(&comes.ttl(1));
            outcome.dropped(Reason::IcmpUndeliverable);
        }
    }
}

/// The kernel resolves the backend's MAC address, and takes the hop off.
#[test]
fn with_the_next_hop_unknown_the_kernel_gets_it() {
    for mut told in Told::all() {
        let client_v4 = told.crossing.scene.client.is_ipv4();
        let [v4, v6] = unreachable(&told, None);
        let [comes, goes] = if client_v4 { v4 } else { v6 };
        let rig = &mut told.crossing.scene.rig;
        rig.change_backend(0, |backend| backend.ifindex = 0);
        let outcome = rig.send(&comes);
        outcome.verdict(Verdict::Pass);
        let goes = goes.macs(ROUTER, FRONT).ttl(64);
        becomes(
            &outcome,
            &goes,
            &[Reason::NextHopUnknown, Reason::IcmpError],
        );
    }
}
