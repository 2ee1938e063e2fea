//! The checksums of ICMP errors that are translated, and of what they quote.

use lb_common::{PROTOCOL_TCP, PROTOCOL_UDP, service::mode};
use lb_tests::packet::{Packet, oracle};

use crate::{
    icmp_errors::{Told, WHOLE},
    scene::Connection,
};

/// The quoted segments' sums take every value, and with them those of the messages.
#[test]
fn checksums_of_all_values_are_right() {
    for told in Told::all(PROTOCOL_TCP, mode::NAT) {
        for number in (0..=u32::from(u16::MAX)).step_by(13) {
            for [comes, goes] in told.both_ways(|packet| packet.seq(number), WHOLE) {
                let frame = told.scene.rig.forwarded(&comes.build());
                assert_eq!(frame, Some(goes.build()), "sequence number {number}");
            }
        }
    }
}

/// A datagram's checksum that comes out as 0 is sent as 0xffff; one that is 0 stays 0.
#[test]
fn quoted_datagrams_keep_what_0_means() {
    for told in Told::all(PROTOCOL_UDP, mode::NAT) {
        let mut zeros = 0;
        for number in 0..=u16::MAX {
            let payload = number.to_be_bytes();
            let make = |packet: Packet| packet.payload(&payload);
            for [comes, goes] in told.both_ways(make, WHOLE) {
                let goes = goes.build();
                // Building is what takes the time.
                let at = goes.len() - payload.len() - 2;
                if goes[at..at + 2] == [0xff; 2] {
                    zeros += 1;
                } else if number % 997 != 0 {
                    continue;
                }
                let frame = told.scene.rig.forwarded(&comes.build());
                assert_eq!(frame, Some(goes), "payload {number}");
            }
        }
        assert!(zeros >= 2, "{zeros} checksums came out as 0");
    }
    // Over IPv6 there is none without.
    let [mut told, _] = Told::all(PROTOCOL_UDP, mode::NAT);
    let Connection {
        client,
        local,
        backend,
        ..
    } = told.connection;
    let quoted =
        [(told.scene.vip, client), (backend, local)].map(|(from, to)| Packet::udp(from, to));
    let pair = told.on_the_clients_side(client.ip(), &quoted, WHOLE);
    told.goes_on(&pair);
}

#[test]
fn wrong_checksums_stay_wrong() {
    type Damage = fn(Packet) -> Packet;
    let quoted: [Damage; 2] = [
        |packet| packet.tcp_checksum_off_by(1),
        |packet| packet.tcp_checksum_off_by(0x8000),
    ];
    let outer: [Damage; 2] = [
        |packet| packet.icmp_checksum_off_by(1),
        |packet| packet.ip_checksum_off_by(1),
    ];
    for told in Told::all(PROTOCOL_TCP, mode::NAT) {
        let outer = if told.v4() { &outer[..] } else { &outer[..1] };
        for damage in quoted {
            for [comes, _] in told.both_ways(damage, WHOLE) {
                let frame = told.scene.rig.forwarded(&comes.build());
                assert!(oracle::check_icmp(&frame.expect("it goes on")).is_err());
            }
        }
        for damage in outer {
            for [comes, _] in told.both_ways(|packet| packet, WHOLE) {
                let frame = told.scene.rig.forwarded(&damage(comes).build());
                assert!(oracle::check_icmp(&frame.expect("it goes on")).is_err());
            }
        }
    }
}
