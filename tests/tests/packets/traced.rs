//! The traced form of the program: it does what the plain one does, and tells of what it samples.

use lb_common::{
    reason::Reason,
    trace::{RING_BYTES, Record},
};
use lb_tests::{
    packet::{Tag, ethertype},
    rig::{tracing, wearing},
};

use crate::{scene::Scene, vlan};

/// Every fixture of these compares the record of each packet with what was seen of it.
#[test]
fn whatever_becomes_of_a_packet_is_told() {
    tracing(1, vlan::all);
}

#[test]
fn tags_are_told_as_they_come_and_go() {
    let tags: [Tag; 2] = [(ethertype::SERVICE_VLAN, 100), (ethertype::VLAN, 7)];
    tracing(1, || wearing(&tags, vlan::all));
}

/// Of 20,000 packets one in ten, give or take a tenth of that: the gaps are even in distribution from 0 to
/// 18, so that the mean of 2,000 of them is within 0.4 in all but one of 1,000 runs.
#[test]
fn one_packet_of_so_many_is_told() {
    tracing(10, || {
        for mut scene in Scene::both() {
            let frame = scene.syn(scene.client).build();
            let mut told = 0;
            for _ in 0..20 {
                for _ in 0..1_000 {
                    scene.rig.fire(&frame);
                }
                told += scene.rig.take_records().len();
            }
            assert!((1_800..2_200).contains(&told), "{told} of 20,000 packets");
        }
    });
}

/// A reader that does not keep up loses records, is told how many, and the packets go on.
#[test]
fn what_a_slow_reader_misses_is_counted() {
    /// The kernel puts 8 bytes before each.
    const ROOM: usize = RING_BYTES as usize / (size_of::<Record>() + 8);
    const MORE: usize = 100;

    tracing(1, || {
        let [mut scene, _] = Scene::both();
        let syn = scene.syn(scene.client);
        let frame = syn.build();
        let alone = scene.rig.fire(&frame);
        let before = scene.rig.take_records();
        assert_eq!(before.len(), 1);
        for _ in 0..ROOM + MORE {
            assert_eq!(scene.rig.fire(&frame), alone);
        }
        let kept = scene.rig.take_records().len();
        assert!(
            (ROOM - 1..=ROOM).contains(&kept),
            "{kept} records in room for {ROOM}"
        );
        scene.rig.fire(&frame);
        let after = scene.rig.take_records();
        let lost = after[0].lost - before[0].lost;
        assert_eq!(lost as usize, ROOM + MORE - kept);
    });
}

#[test]
fn the_hosts_own_packets_are_not_told_of() {
    tracing(1, || {
        let [mut scene, _] = Scene::both();
        let frame = scene.syn(scene.client).to("192.0.2.99:22".parse().unwrap());
        scene.rig.send(&frame).passed_untouched(Reason::NotOurs);
        assert_eq!(scene.rig.take_records(), []);
    });
}
