//! Modes `ipip` and `gue`: the client's packet travels whole in another one, byte for byte as
//! expected, whichever of the two is IPv4 or IPv6.

use std::net::{IpAddr, SocketAddr};

use lb_common::{backend::Tunnel, reason::Reason, service::mode};
use lb_tests::{
    packet::{Extension, GUE_PORT, Gue, Mac, Packet, TcpOption, flag::*, oracle},
    rig::{Outcome, Rig, Table, key_hash},
};

use crate::scene::{BACK, FRONT, ROUTER, Scene, backend_mac};

/// Most bytes of an outer packet, unless a test says otherwise.
pub const MTU: u32 = 1_500;

/// A tunnel to backend 0.
#[derive(Clone, Copy, Debug)]
pub struct Pipe {
    /// IP in IP where there is none.
    pub gue: Option<Gue>,
    /// Of the outer header.
    pub v6: bool,
}

impl Pipe {
    fn all() -> impl Iterator<Item = Self> {
        let kinds = [None, Some(Gue::Variant0), Some(Gue::Variant1)];
        kinds
            .into_iter()
            .flat_map(|gue| [false, true].map(|v6| Self { gue, v6 }))
    }

    fn address(self, text4: &str, text6: &str) -> IpAddr {
        (if self.v6 { text6 } else { text4 })
            .parse()
            .expect("these are addresses")
    }

    /// The lowest of the sources.
    pub fn source(self) -> IpAddr {
        self.address("192.0.2.64", "2001:db8:7:4500::")
    }

    /// Bits that may differ from flow to flow.
    pub fn spread(self) -> IpAddr {
        self.address("0.0.0.63", "::ff:ffff:ffff:ffff:ffff")
    }

    /// Where it ends.
    fn end(self) -> IpAddr {
        self.address("10.9.0.77", "fd00:9::77")
    }

    /// Bytes that it adds to a packet.
    pub fn overhead(self) -> u32 {
        let ip = if self.v6 { 40 } else { 20 };
        ip + match self.gue {
            None => 0,
            Some(Gue::Variant0) => 8 + 4,
            Some(Gue::Variant1) => 8,
        }
    }

    /// Puts it between the balancer and backend 0.
    fn lay(self, scene: &mut Scene) {
        let mode = match self.gue {
            None => mode::IPIP,
            Some(_) => mode::GUE,
        };
        scene.rig.service_mode(0, mode);
        scene.add_backend(0);
        scene.rig.change_backend(0, |backend| {
            backend.address = Rig::address_words(self.end());
            (backend.mode, backend.version) = (mode, self.version());
        });
        scene.rig.tunnel(0, self.tunnel());
    }

    /// With one source for all.
    pub fn tunnel(self) -> Tunnel {
        self.tunnel_of(MTU)
    }

    /// The same for outer packets of so many bytes.
    pub fn tunnel_of(self, mtu: u32) -> Tunnel {
        Tunnel {
            source: Rig::address_words(self.source()),
            mtu,
            port_be: self.gue.map_or(0, |_| GUE_PORT.to_be()),
            version: self.version(),
            variant: u8::from(self.gue == Some(Gue::Variant1)),
            ..Tunnel::default()
        }
    }

    fn version(self) -> u8 {
        if self.v6 { 6 } else { 4 }
    }

    /// What the backend must get for the scene's client's packet, which has this traffic class.
    pub fn wrapped(self, scene: &Scene, packet: Packet, tos: u8) -> Packet {
        self.wrapped_for(scene, packet, tos, (BACK, backend_mac(0)))
    }

    fn wrapped_for(self, scene: &Scene, packet: Packet, tos: u8, macs: (Mac, Mac)) -> Packet {
        let key_hash = key_hash(scene.client, scene.vip);
        let outer = match self.gue {
            None => Packet::ip_in_ip(self.source(), self.end()),
            Some(variant) => {
                let source_port = 0xc000 | (key_hash >> 48) as u16;
                Packet::gue(
                    variant,
                    SocketAddr::new(self.source(), source_port),
                    SocketAddr::new(self.end(), GUE_PORT),
                )
            }
        };
        packet.one_hop_less().inside(
            outer
                .macs(macs.0, macs.1)
                .identification(0)
                .dont_fragment(true)
                .ttl(64)
                .tos(tos)
                .flow_label((key_hash >> 32) as u32 & 0xf_ffff),
        )
    }
}

/// Runs a test with every tunnel and every family of client, each time for a client of its own.
pub fn with_each(test: impl Fn(&mut Scene, Pipe)) {
    for mut scene in Scene::in_mode(mode::IPIP) {
        for (n, pipe) in (0..).zip(Pipe::all()) {
            eprintln!("{pipe:?} for {}", scene.client);
            scene.client = scene.other_client(n);
            pipe.lay(&mut scene);
            test(&mut scene, pipe);
        }
    }
}

/// The oracle finds nothing wrong, outside and inside.
#[track_caller]
pub fn judged(outcome: &Outcome) -> oracle::Outer {
    match oracle::check_outer(&outcome.frame) {
        Ok((outer, _)) => outer,
        Err(defect) => panic!("{defect}\n{outcome}"),
    }
}

/// The scene's client's packet comes out wrapped, and exactly these are counted.
#[track_caller]
pub fn wraps(scene: &mut Scene, pipe: Pipe, packet: Packet, reasons: &[Reason]) {
    let outcome = scene.rig.send(&packet);
    let expected = pipe.wrapped(scene, packet, 0);
    outcome.transmitted_as(&expected).counts(reasons);
    judged(&outcome);
}

pub fn establish(scene: &mut Scene, pipe: Pipe) {
    wraps(scene, pipe, scene.syn(scene.client), &[Reason::FlowNew]);
    let confirmed = [Reason::FlowConfirmed];
    wraps(scene, pipe, scene.ack(scene.client), &confirmed);
}

#[test]
pub fn packets_come_out_wrapped() {
    type Kind = (&'static str, fn(Packet) -> Packet);
    let kinds: [Kind; 8] = [
        ("bare ack", |p| p),
        ("data", |p| p.payload(b"some data")),
        ("odd length", |p| p.payload(b"odd")),
        ("nearly full frame", |p| p.payload(&[0x5a; 1_380])),
        ("options", |p| {
            p.options(&TcpOption::of_data()).payload(b"t")
        }),
        ("flow label", |p| p.flow_label(0x5_5555)),
        ("may be fragmented", |p| {
            p.dont_fragment(false).identification(9)
        }),
        ("last hop but one", |p| p.ttl(2)),
    ];
    with_each(|scene, pipe| {
        let syn = scene.syn(scene.client).options(&TcpOption::of_a_syn());
        wraps(scene, pipe, syn, &[Reason::FlowNew]);
        let ack = scene.ack(scene.client);
        wraps(scene, pipe, ack.clone(), &[Reason::FlowConfirmed]);
        for (name, make) in kinds {
            eprintln!("{name}");
            wraps(scene, pipe, make(ack.clone()), &[]);
        }
        let extended = if scene.client.is_ipv4() {
            ack.ip_options(10)
        } else {
            ack.extension(Extension::HopByHop { units: 2 })
        };
        wraps(scene, pipe, extended.payload(b"x"), &[]);
        let state = scene.one_way_state(scene.client);
        assert_eq!(state, Some((Table::Confirmed, "established")));
    });
}

#[test]
fn the_traffic_class_shows_outside() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        for tos in [0x01, 0x02, 0x03, 0xb8, 0xff] {
            let packet = scene.ack(scene.client).tos(tos);
            let outcome = scene.rig.send(&packet);
            let expected = pipe.wrapped(scene, packet, tos);
            outcome.transmitted_as(&expected);
            assert_eq!(judged(&outcome).tos, tos);
        }
    });
}

/// Ethernet pads short frames; what is behind the packet's end stays behind the outer one's.
#[test]
fn padding_is_not_wrapped() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let packet = scene.ack(scene.client);
        let outcome = scene.rig.send(&packet.clone().padded_by(6));
        let expected = pipe.wrapped(scene, packet, 0).padded_by(6);
        outcome.transmitted_as(&expected);
        assert_eq!(judged(&outcome).padding, 6);
    });
}

/// A checksum that was wrong stays wrong inside.
#[test]
fn damage_is_not_mended() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let packet = scene.ack(scene.client).tcp_checksum_off_by(1);
        let outcome = scene.rig.send(&packet);
        outcome.transmitted_as(&pipe.wrapped(scene, packet, 0));
        assert!(oracle::check_outer(&outcome.frame).is_err(), "\n{outcome}");
    });
}

#[test]
fn the_hop_limit_ends_a_packet_before_it_reaches_zero() {
    with_each(|scene, pipe| {
        for packet in [scene.syn(scene.client), scene.ack(scene.client)] {
            scene.rig.send(&packet.ttl(1)).dropped(Reason::TtlExpired);
        }
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None, "no flow");
        establish(scene, pipe);
        let packet = scene.ack(scene.client).ttl(1);
        scene.rig.send(&packet).dropped(Reason::TtlExpired);
    });
}

#[test]
pub fn a_packet_may_fill_the_mtu_and_no_more() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let headers = if scene.client.is_ipv4() { 40 } else { 60 };
        let room = (MTU - pipe.overhead() - headers) as usize;
        let of = |scene: &Scene, bytes| scene.ack(scene.client).payload(&vec![7; bytes]);
        let exact = of(scene, room);
        assert_eq!(
            pipe.wrapped(scene, exact.clone(), 0).build().len(),
            14 + MTU as usize
        );
        wraps(scene, pipe, exact, &[]);
        for bytes in [room + 1, room + 1_000] {
            let packet = of(scene, bytes);
            scene.rig.send(&packet).counts(&[Reason::PacketTooBig]);
        }
    });
}

/// A frame of several buffers, on a way of jumbo frames.
#[test]
fn a_large_packet_is_wrapped_where_the_way_is_wide() {
    with_each(|scene, pipe| {
        establish(scene, pipe);
        let mtu = 9_000;
        scene.rig.tunnel(
            0,
            Tunnel {
                mtu,
                ..pipe.tunnel()
            },
        );
        let headers = if scene.client.is_ipv4() { 40 } else { 60 };
        let room = (mtu - pipe.overhead() - headers) as usize;
        for bytes in [3_400, 3_500, 4_096, room] {
            let packet = scene.ack(scene.client).payload(&vec![7; bytes]);
            wraps(scene, pipe, packet, &[]);
        }
        let packet = scene.ack(scene.client).payload(&vec![7; room + 1]);
        scene.rig.send(&packet).counts(&[Reason::PacketTooBig]);
    });
}

#[test]
fn a_packet_that_does_not_fit_opens_no_flow() {
    with_each(|scene, pipe| {
        let packet = scene.ack(scene.client).payload(&[7; MTU as usize]);
        let flows = scene.rig.stats(0).flows;
        for _ in 0..2 {
            let outcome = scene.rig.send(&packet);
            outcome.counts(&[Reason::PacketTooBig]);
        }
        assert_eq!(scene.rig.stats(0).flows, flows);
        // What fits does open one.
        let small = scene.ack(scene.client);
        wraps(scene, pipe, small, &[Reason::FlowNew]);
    });
}

/// It is the kernel's, with our headers around it: to find the way is all that is left to do.
#[test]
pub fn with_the_next_hop_unknown_the_wrapped_packet_goes_to_the_kernel() {
    with_each(|scene, pipe| {
        scene.rig.change_backend(0, |backend| backend.ifindex = 0);
        for (packet, event) in [
            (scene.syn(scene.client), Some(Reason::FlowNew)),
            (scene.ack(scene.client), Some(Reason::FlowConfirmed)),
            (scene.ack(scene.client).payload(b"data"), None),
        ] {
            let outcome = scene.rig.send(&packet);
            let expected = pipe.wrapped_for(scene, packet, 0, (ROUTER, FRONT));
            let counted: Vec<_> = event.into_iter().chain([Reason::NextHopUnknown]).collect();
            outcome.passed_as(&expected).counts(&counted);
            judged(&outcome);
        }
    });
}

#[test]
pub fn a_backend_behind_another_interface_gets_its_packets_redirected() {
    with_each(|scene, pipe| {
        scene.rig.change_backend(0, |backend| backend.ifindex = 7);
        for packet in [scene.syn(scene.client), scene.ack(scene.client)] {
            let outcome = scene.rig.send(&packet);
            outcome.redirected_as(&pipe.wrapped(scene, packet, 0));
        }
    });
}

/// A reset opens no flow, and travels as any other packet.
#[test]
fn a_reset_without_flow_is_wrapped_too() {
    with_each(|scene, pipe| {
        wraps(scene, pipe, scene.ack(scene.client).flags(RST), &[]);
        assert_eq!(scene.rig.entry(scene.client, scene.vip), None);
    });
}

/// An error of the client's side goes whole, and the way of the client's packets.
#[test]
fn icmp_errors_are_wrapped_too() {
    with_each(|scene, pipe| {
        let (kind, bytes) = if scene.client.is_ipv4() {
            (3, 28)
        } else {
            (2, 48)
        };
        let quoted = Packet::tcp(scene.vip, scene.client)
            .flags(ACK)
            .payload(b"data");
        let error = |sender| {
            Packet::icmp(sender, scene.vip.ip(), kind, 4)
                .rest(1_400)
                .quoting(&quoted, bytes)
                .macs(ROUTER, FRONT)
        };
        let errors = [error(scene.client.ip()), error(scene.stranger())];
        for error in &errors {
            wraps(scene, pipe, error.clone(), &[Reason::IcmpError]);
        }
        establish(scene, pipe);
        for error in &errors {
            wraps(scene, pipe, error.clone(), &[Reason::IcmpError]);
        }
        let [error, _] = errors;
        let dying = error.clone().ttl(1);
        scene.rig.send(&dying).dropped(Reason::IcmpUndeliverable);
        let large = quoted.payload(&[7; MTU as usize]);
        let large = error.clone().quoting(&large, MTU as usize);
        scene.rig.send(&large).dropped(Reason::IcmpUndeliverable);
        scene.rig.change_backend(0, |backend| backend.ifindex = 0);
        let outcome = scene.rig.send(&error);
        let expected = pipe.wrapped_for(scene, error, 0, (ROUTER, FRONT));
        let counted = [Reason::IcmpError, Reason::NextHopUnknown];
        outcome.passed_as(&expected).counts(&counted);
    });
}
