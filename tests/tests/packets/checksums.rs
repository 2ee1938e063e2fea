//! Checksums, for a thousand random packets: what leaves the program is right by the oracle's full
//! recomputation, and is exactly what the builder would have built with the new addresses.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
};

use lb_tests::{
    packet::{Packet, TcpOption, flag::*, oracle},
    rig::{Rig, SIZES},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::scene::{BACK, FRONT, ROUTER};

/// Where the checksum of the packet as sent, or as it leaves, is steered to.
#[derive(Clone, Copy, Debug)]
enum Steer {
    No,
    /// The TCP checksum of the packet as sent.
    Sent(u16),
    /// The TCP checksum of the packet as it leaves.
    Left(u16),
}

#[derive(Clone, Debug)]
struct Case {
    client: SocketAddr,
    vip: SocketAddr,
    backend: SocketAddr,
    snat: IpAddr,
    seq: u32,
    ack: u32,
    window: u16,
    ttl: u8,
    options: bool,
    payload: Vec<u8>,
    steer: Steer,
}

fn cases() -> impl Strategy<Value = Case> {
    any::<bool>().prop_flat_map(|v6| {
        (
            (end(v6), end(v6), end(v6), address(v6)),
            (any::<u32>(), any::<u32>(), any::<u16>(), 2..=255_u8),
            any::<bool>(),
            prop::collection::vec(any::<u8>(), 0..200),
            prop_oneof![
                Just(Steer::No),
                extreme().prop_map(Steer::Sent),
                extreme().prop_map(Steer::Left),
            ],
        )
            .prop_map(
                |((client, vip, backend, snat), numbers, options, payload, steer)| {
                    let (seq, ack, window, ttl) = numbers;
                    Case {
                        client: SocketAddr::new(host(client.ip()), client.port()),
                        vip,
                        backend,
                        snat,
                        seq,
                        ack,
                        window,
                        ttl,
                        options,
                        payload,
                        steer,
                    }
                },
            )
            .prop_filter("all ends differ", |case| {
                let ends = [
                    case.client.ip(),
                    case.vip.ip(),
                    case.backend.ip(),
                    case.snat,
                ];
                (0..4).all(|a| (0..a).all(|b| ends[a] != ends[b]))
            })
    })
}

fn end(v6: bool) -> impl Strategy<Value = SocketAddr> {
    (address(v6), 1..=u16::MAX).prop_map(|(address, port)| SocketAddr::new(address, port))
}

/// Addresses of random bytes, or of bytes that make carries and ones' complement zeros likely.
fn address(v6: bool) -> BoxedStrategy<IpAddr> {
    let byte = prop_oneof![any::<u8>(), Just(0x00), Just(0xff)];
    if v6 {
        prop::array::uniform16(byte).prop_map(IpAddr::from).boxed()
    } else {
        prop::array::uniform4(byte).prop_map(IpAddr::from).boxed()
    }
}

/// The address, or one near it that a host may have.
fn host(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let [first, rest @ ..] = v4.octets();
            let first = if matches!(first, 0 | 127 | 224..) {
                1
            } else {
                first
            };
            let [a, b, c] = rest;
            IpAddr::from([first, a, b, c])
        }
        IpAddr::V6(v6) => {
            let mut octets = v6.octets();
            if matches!(octets[0], 0 | 0xff) {
                octets[0] = 0x20;
            }
            IpAddr::from(octets)
        }
    }
}

/// The edges of the ones' complement; 0xffff itself is no checksum of anything but zeros.
fn extreme() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0x0000), Just(0x0001), Just(0xfffe), Just(0x7fff)]
}

/// Chooses the packet's window so that its checksum becomes `wanted`.
fn steered(packet: &Packet, wanted: u16) -> Packet {
    let checksum = |packet: &Packet| {
        let frame = packet.build();
        let tcp = if frame[12..14] == [0x08, 0x00] {
            34
        } else {
            54
        };
        u16::from_be_bytes([frame[tcp + 16], frame[tcp + 17]])
    };
    // With the window 0 the sum lacks exactly what the window must add, modulo 65535.
    let bare = packet.clone().window(0);
    let missing = (u32::from(checksum(&bare)) + 0xffff - u32::from(wanted)) % 0xffff;
    packet.clone().window(missing as u16)
}

/// Two zeros exist; either is the wanted one.
fn is_checksum(frame: &[u8], wanted: u16) -> bool {
    let tcp = if frame[12..14] == [0x08, 0x00] {
        34
    } else {
        54
    };
    let found = u16::from_be_bytes([frame[tcp + 16], frame[tcp + 17]]);
    u32::from(found) % 0xffff == u32::from(wanted) % 0xffff
}

#[test]
fn a_thousand_random_packets_leave_with_right_checksums() {
    let mut rig = Rig::load(SIZES);
    rig.service(0, 1);
    rig.ring(0, |_| 0);
    let rig = RefCell::new(rig);
    let config = Config {
        cases: 500, // each sends one packet of either direction
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&cases(), |case| {
            run(&mut rig.borrow_mut(), &case);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn run(rig: &mut Rig, case: &Case) {
    rig.snat(0, case.snat);
    rig.vip(case.vip, 0);
    rig.backend(0, crate::scene::backend_at(case.backend, 0));

    // The flow is opened first, so that its source port is known to steer by.
    let syn = Packet::tcp(case.client, case.vip).macs(ROUTER, FRONT);
    let local = rig.send(&syn).transmitted().source;

    let shape = |packet: Packet| {
        let packet = packet
            .seq(case.seq)
            .ack(case.ack)
            .flags(PSH | ACK)
            .window(case.window)
            .ttl(case.ttl)
            .payload(&case.payload);
        if case.options {
            packet.options(&TcpOption::of_data())
        } else {
            packet
        }
    };
    let forth = shape(Packet::tcp(case.client, case.vip).macs(ROUTER, FRONT));
    let peer = crate::scene::backend_mac(0);
    travels(rig, case.steer, forth, |packet| {
        packet.from(local).to(case.backend).macs(BACK, peer)
    });
    let back = shape(Packet::tcp(case.backend, local).macs(peer, BACK));
    travels(rig, case.steer, back, |packet| {
        packet.from(case.vip).to(case.client).macs(FRONT, ROUTER)
    });
}

fn travels(rig: &mut Rig, steer: Steer, packet: Packet, rewrite: impl Fn(Packet) -> Packet) {
    let rewrite = |packet: Packet| rewrite(packet).one_hop_less();
    let packet = match steer {
        Steer::No => packet,
        Steer::Sent(wanted) => {
            let packet = steered(&packet, wanted);
            assert!(is_checksum(&packet.build(), wanted));
            packet
        }
        Steer::Left(wanted) => {
            // The rewrite changes no window, so that the packet which leaves can be steered.
            let left = steered(&rewrite(packet.clone()), wanted);
            let window = oracle::check(&left.build()).unwrap().window;
            packet.window(window)
        }
    };
    let outcome = rig.send(&packet);
    outcome.transmitted_as(&rewrite(packet)).transmitted();
    if let Steer::Left(wanted) = steer {
        assert!(
            is_checksum(&outcome.frame, wanted),
            "{wanted:#06x}\n{outcome}"
        );
    }
}
