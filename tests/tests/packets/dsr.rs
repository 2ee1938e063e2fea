//! Mode `dsr`: a frame goes to the backend as it came, but for its MAC addresses, and what the
//! backend answers is none of ours.

use lb_common::{
    reason::Reason,
    service::{mode, setting},
};
use lb_tests::packet::{Extension, Packet, TcpOption, flag::*};

use crate::scene::{BACK, Scene, backend_mac};

fn scenes() -> [Scene; 2] {
    Scene::in_mode(mode::DSR)
}

#[test]
pub fn the_mac_addresses_alone_change() {
    type Kind = (&'static str, fn(Packet) -> Packet);
    let kinds: [Kind; 9] = [
        ("bare ack", |p| p),
        ("data of odd length", |p| p.payload(b"odd")),
        ("full frame", |p| p.payload(&[0x5a; 1_400])),
        ("jumbo frame", |p| p.payload(&[0xa5; 3_000])),
        ("options", |p| p.options(&TcpOption::of_data())),
        ("traffic class and label", |p| p.tos(0xb9).flow_label(7)),
        ("may be fragmented", |p| p.dont_fragment(false)),
        ("padded to the least frame", |p| p.padded_by(6)),
        ("damaged", |p| p.payload(b"x").tcp_checksum_off_by(1)),
    ];
    for mut scene in scenes() {
        let syn = scene.syn(scene.client).options(&TcpOption::of_a_syn());
        scene.passes_on(&syn, 0, &[Reason::FlowNew]);
        let ack = scene.ack(scene.client);
        scene.passes_on(&ack, 0, &[Reason::FlowConfirmed]);
        for (name, make) in kinds {
            eprintln!("{name}");
            scene.passes_on(&make(ack.clone()), 0, &[]);
        }
        let extended = if scene.client.is_ipv4() {
            ack.ip_options(10)
        } else {
            ack.extension(Extension::HopByHop { units: 2 })
        };
        scene.passes_on(&extended.payload(b"x"), 0, &[]);
    }
}

#[test]
fn no_hop_is_taken_off() {
    for mut scene in scenes() {
        for (n, ttl) in (0..).zip([1, 2, 64, 255]) {
            let client = scene.other_client(n);
            let syn = scene.syn(client).ttl(ttl);
            scene.passes_on(&syn, 0, &[Reason::FlowNew]);
            let ack = scene.ack(client).ttl(ttl);
            scene.passes_on(&ack, 0, &[Reason::FlowConfirmed]);
            scene.passes_on(&ack, 0, &[]);
        }
    }
}

#[test]
fn a_backend_behind_another_interface_gets_its_packets_redirected() {
    for mut scene in scenes() {
        scene.rig.change_backend(0, |backend| backend.ifindex = 7);
        for packet in [scene.syn(scene.client), scene.ack(scene.client)] {
            let expected = packet.clone().macs(BACK, backend_mac(0));
            scene.rig.send(&packet).redirected_as(&expected);
        }
    }
}

/// The kernel would route the packet to the vip, which is here and nowhere else.
#[test]
fn with_the_next_hop_unknown_packets_are_dropped() {
    for mut scene in scenes() {
        let (early, client) = (scene.other_client(0), scene.client);
        scene.passes_on(&scene.syn(early), 0, &[Reason::FlowNew]);
        scene.passes_on(&scene.ack(early), 0, &[Reason::FlowConfirmed]);
        let before = scene.rig.stats(0);
        scene.rig.change_backend(0, |backend| backend.ifindex = 0);
        for packet in [
            scene.syn(client),
            scene.ack(client),
            scene.ack(client).flags(RST),
            scene.ack(early).payload(b"data"),
        ] {
            scene.rig.send(&packet).dropped(Reason::BackendUnresolved);
        }
        assert_eq!(scene.rig.entry(client, scene.vip), None, "no flow");
        assert_eq!(scene.rig.stats(0), before, "nothing was sent to it");

        scene.add_backend(0);
        scene.passes_on(&scene.ack(early), 0, &[]);
        scene.passes_on(&scene.syn(client), 0, &[Reason::FlowNew]);
    }
}

/// They come from the vip, as the client wants them.
#[test]
fn what_the_backend_answers_passes_untouched() {
    for mut scene in scenes() {
        scene.passes_on(&scene.syn(scene.client), 0, &[Reason::FlowNew]);
        let answers = |scene: &Scene| {
            let answer = Packet::tcp(scene.vip, scene.client).macs(backend_mac(0), BACK);
            [
                answer.clone().flags(SYN | ACK),
                answer.clone().flags(ACK).payload(b"data"),
                answer.clone().flags(FIN | ACK).ttl(1),
                answer.flags(RST),
            ]
        };
        for answer in answers(&scene) {
            scene.rig.send(&answer).passed_untouched(Reason::NotOurs);
        }
        // Where a lookup is called for, it finds nothing.
        scene.rig.admit_everything();
        scene
            .rig
            .change_settings(|settings| settings.flags |= setting::ROUTE);
        for answer in answers(&scene) {
            scene.rig.send(&answer).passed_untouched(Reason::NotOurs);
        }
        scene.passes_on(&scene.ack(scene.client), 0, &[Reason::FlowConfirmed]);
    }
}

#[test]
fn each_packet_counts_for_its_backend() {
    for mut scene in scenes() {
        scene.passes_on(&scene.syn(scene.client), 0, &[Reason::FlowNew]);
        let data = scene.ack(scene.client).payload(&[0; 100]);
        scene.passes_on(&data, 0, &[Reason::FlowConfirmed]);
        let stats = scene.rig.stats(0);
        let bytes = scene.syn(scene.client).build().len() + data.build().len();
        assert_eq!((stats.flows, stats.packets_in), (1, 2));
        assert_eq!(stats.bytes_in, bytes as u64);
        assert_eq!((stats.packets_out, stats.bytes_out), (0, 0));
    }
}
