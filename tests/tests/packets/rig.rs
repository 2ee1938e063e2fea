//! The rig itself: what one test leaves in a program's maps does not reach the next.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd as _, AsRawFd as _},
};

use lb_common::{
    Budgeted, backend::BackendStats, reason::Reason, service::scheduler, sources::access::DENY,
};
use lb_tests::rig::{Capacity, INGRESS, Rig};
use lb_userspace::config::{PortRange, Vip};

use crate::scene::Scene;

/// A size of tables that no other test has, so that this one gets its own programs again.
const SIZES: Capacity = Capacity::of_buckets(61);

/// Its descriptor stays open from one rig to the next.
fn program(rig: &Rig) -> i32 {
    rig.program_fd().as_fd().as_raw_fd()
}

/// Leaves something in every map that packets depend on.
fn use_up(scene: &mut Scene) {
    scene.rig.change_service(0, |service| {
        service.scheduler = scheduler::ROUND_ROBIN;
    });
    scene.rig.affinity(0, 24, 48, 60);
    for n in 0..20 {
        scene.establish(scene.other_client(n));
    }
    let pieces = scene
        .syn(scene.client)
        .payload(&[0x5a; 64])
        .fragments(&[32]);
    scene.rig.send(&pieces[0]);
    assert_eq!(scene.rig.fragmented(scene.vip.ip()), 1);
    scene.rig.set_live(0, 1_000);
    scene.rig.set_turn(0, 7);
    scene.rig.budget(Budgeted::Reset, 0);
    scene.rig.interface(INGRESS, 576, &[scene.vip.ip()]);
    let (address, ports) = (scene.stranger(), PortRange { first: 1, last: 9 });
    scene.rig.vip_range(Vip { address, ports }, 0);
    for net in ["0.0.0.0/0", "::/0"] {
        scene.rig.source(0, net, DENY);
    }
    scene.rig.obey_lists(0);
}

#[test]
fn a_program_that_is_used_again_is_as_new() {
    let mut scenes = Scene::sized(SIZES);
    let mut programs = BTreeSet::new();
    for scene in &mut scenes {
        use_up(scene);
        programs.insert(program(&scene.rig));
    }
    let mut packets = Vec::new();
    for scene in &scenes {
        packets.extend([scene.vip, (scene.stranger(), 5).into()].map(|to| {
            let client = scene.client;
            scene.syn(client).to(to)
        }));
    }
    let [client4, client6] = scenes.each_ref().map(|scene| scene.other_client(1).ip());
    drop(scenes);

    let mut rigs = [Rig::load(SIZES), Rig::load(SIZES)];
    let again: BTreeSet<_> = rigs.iter().map(program).collect();
    assert_eq!(again, programs);
    for rig in &mut rigs {
        for packet in &packets {
            rig.send(packet).passed_untouched(Reason::NotOurs);
        }
        assert!(rig.placed(false).is_empty() && rig.placed(true).is_empty());
        assert_eq!((rig.live(0), rig.stats(0)), (0, BackendStats::default()));
        assert_eq!(rig.remembered(0, client4, 24), None);
        assert_eq!(rig.remembered(0, client6, 48), None);
        assert_eq!((rig.fragmented(client4), rig.fragmented(client6)), (0, 0));
    }
    drop(rigs);
    for mut scene in Scene::sized(SIZES) {
        scene.rig.obey_lists(0);
        scene.open(scene.client);
        let stray = scene.ack(scene.stranger_at(1)).payload(&[0; 1_400]);
        scene.rig.send(&stray).counts(&[Reason::NoFlow]).sound();
    }
}
