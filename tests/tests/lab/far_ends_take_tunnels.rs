//! Backends are far ends of tunnels and hold the vips, without a balancer: what comes out of a
//! tunnel is answered by the host's own kernel, straight to the client and from the vip.

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use lb_tests::{
    lab::{Backend, Host, Ip, Lab, Tunnel, URL4, URL6, VIP4, VIP6, wait_until},
    packet::{flag, protocol},
};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::tunnel::{GUE_PORT, gue, ip_packet, number, syn};

const SOON: Duration = Duration::from_secs(5);

/// A host's sockets to play the balancer with, and to see what the vips answer.
struct Sender<'a> {
    host: &'a Host,
    to: &'a Backend,
    gue: [UdpSocket; 2],
    answers: [Socket; 2],
}

impl<'a> Sender<'a> {
    fn new(host: &'a Host, to: &'a Backend) -> Self {
        host.inside(|| Self {
            host,
            to,
            gue: ["0.0.0.0:0", "[::]:0"].map(|any| UdpSocket::bind(any).expect("a port is free")),
            answers: [IpAddr::from(VIP4), IpAddr::from(VIP6)].map(|vip| {
                let socket = raw(vip, protocol::TCP);
                // A connected raw socket receives from that address alone (raw(7)).
                let connected = socket.connect(&SockAddr::from(SocketAddr::new(vip, 0)));
                connected.expect("the client has a route to the vips");
                let limited = socket.set_read_timeout(Some(SOON));
                limited.expect("a socket takes a time limit");
                socket
            }),
        })
    }

    fn address(&self, ip: Ip) -> IpAddr {
        match ip {
            Ip::V4 => self.host.v4().into(),
            Ip::V6 => self.host.v6().into(),
        }
    }

    fn far_end(&self, ip: Ip) -> IpAddr {
        match ip {
            Ip::V4 => self.to.host().v4().into(),
            Ip::V6 => self.to.host().v6().into(),
        }
    }

    /// Sends `packet` by the tunnel; returns where that came from.
    fn send(&self, tunnel: Tunnel, outer: Ip, inner: Ip, packet: &[u8]) -> SocketAddr {
        if tunnel == Tunnel::Ipip {
            let to = SockAddr::from(SocketAddr::new(self.far_end(outer), 0));
            let socket = self.host.inside(|| raw(self.far_end(outer), number(inner)));
            socket.send_to(packet, &to).expect("the far end is routed");
            SocketAddr::new(self.address(outer), 0)
        } else {
            self.send_gue(GUE_PORT, outer, &gue(tunnel, inner, packet))
        }
    }

    fn send_gue(&self, port: u16, outer: Ip, payload: &[u8]) -> SocketAddr {
        let socket = &self.gue[outer as usize];
        let to = (self.far_end(outer), port);
        socket.send_to(payload, to).expect("the far end is routed");
        let own = socket.local_addr().expect("the socket is bound");
        SocketAddr::new(self.address(outer), own.port())
    }

    /// Waits for the vip's SYN-ACK to this port; returns the number that it acknowledges.
    fn syn_ack(&self, ip: Ip, port: u16) -> u32 {
        let mut bytes = [0; 2048];
        loop {
            let length = (&self.answers[ip as usize])
                .read(&mut bytes)
                .expect("the vip answers");
            // A raw socket shows the header of IPv4, but not that of IPv6 (raw(7)).
            let header = match ip {
                Ip::V4 => usize::from(bytes[0] & 0x0f) * 4,
                Ip::V6 => 0,
            };
            let tcp = &bytes[header..length];
            if tcp[2..4] == port.to_be_bytes() && tcp[13] == flag::SYN | flag::ACK {
                return u32::from_be_bytes(tcp[8..12].try_into().expect("four bytes"));
            }
        }
    }
}

fn raw(peer: IpAddr, protocol: u8) -> Socket {
    let domain = Domain::for_address(SocketAddr::new(peer, 0));
    Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(protocol))))
        .unwrap_or_else(|error| panic!("cannot open a raw socket: {error}"))
}

fn the_kernel_answers(lab: &Lab) {
    let backend = lab.backend("web-1");
    backend.hold_vips();
    let decap = backend.decapsulate(GUE_PORT);
    let sender = Sender::new(lab.client(), backend);
    let mut sources = BTreeSet::new();
    for (port, (tunnel, outer, inner)) in (40_000..).zip(Tunnel::kinds()) {
        let packet = syn(sender.address(inner), port).seq(7_000 + u32::from(port));
        sources.insert(sender.send(tunnel, outer, inner, &ip_packet(&packet)));
        assert_eq!(
            sender.syn_ack(inner, port),
            7_001 + u32::from(port),
            "{tunnel:?} {outer:?} {inner:?}"
        );
    }
    assert_eq!(
        decap.carried(),
        Tunnel::kinds().map(|kind| (kind, 1)).collect()
    );
    assert_eq!(decap.sources(), sources);
    assert_eq!(decap.malformed(), 0);
}

#[test]
fn the_kernel_answers_what_came_out() {
    the_kernel_answers(&Lab::routed("far_end").backends(1).start());
}

#[test]
fn the_kernel_answers_what_came_out_with_one_arm() {
    the_kernel_answers(&Lab::one_arm("far_end_arm").backends(1).start());
}

#[test]
fn only_tunnels_are_touched_and_only_while_asked_for() {
    let lab = Lab::routed("far_end_only").backends(1).start();
    let backend = lab.backend("web-1");
    backend.hold_vips();
    let decap = backend.decapsulate(GUE_PORT);
    let sender = Sender::new(lab.client(), backend);
    let [at_gue, beside] = backend.host().inside(|| {
        [GUE_PORT, GUE_PORT + 1].map(|port| {
            let socket = UdpSocket::bind(("0.0.0.0", port)).expect("the port is free");
            let limited = socket.set_read_timeout(Some(SOON));
            limited.expect("a socket takes a time limit");
            socket
        })
    });
    let receive = |socket: &UdpSocket| {
        let mut bytes = [0; 2048];
        let length = socket.recv(&mut bytes).expect("the datagram comes");
        bytes[..length].to_vec()
    };

    let packet = ip_packet(&syn(sender.address(Ip::V4), 40_000));
    sender.send(Tunnel::Ipip, Ip::V4, Ip::V4, &packet[..30]);
    sender.send(Tunnel::Ipip, Ip::V6, Ip::V4, &packet[..30]);
    sender.send_gue(GUE_PORT, Ip::V4, &[&[0x20, 4, 0, 0], &*packet].concat());
    sender.send_gue(GUE_PORT, Ip::V6, &packet[1..]);
    wait_until("four are dropped", SOON, || decap.malformed() == 4);
    sender.send_gue(GUE_PORT + 1, Ip::V4, &packet);
    assert_eq!(receive(&beside), packet);
    assert_eq!((decap.malformed(), decap.carried()), (4, [].into()));

    // The first datagram that this port ever gets: none was let through before.
    drop(decap);
    sender.send_gue(GUE_PORT, Ip::V4, b"now a datagram");
    assert_eq!(receive(&at_gue), b"now a datagram");
}

/// The balancer's kernel forwards to the backend, as the mode `dsr` will.
fn vips_are_served(lab: &Lab) {
    let backend = lab.backend("web-1");
    backend.hold_vips();
    let host = backend.host();
    for (vip, by) in [
        (IpAddr::from(VIP4), IpAddr::from(host.v4())),
        (VIP6.into(), host.v6().into()),
    ] {
        let words = [
            "ip",
            "route",
            "add",
            &vip.to_string(),
            "via",
            &by.to_string(),
        ];
        lab.balancer().must_run(&words);
    }
    for url in [URL4, URL6] {
        let response = lab.client().get(url).expect("the vip answers");
        assert_eq!(response.backend, "web-1");
    }
}

#[test]
fn vips_are_served_from_behind() {
    vips_are_served(&Lab::routed("far_end_vips").backends(1).start());
}

#[test]
fn vips_are_served_from_beside_and_no_neighbour_learns_of_it() {
    let lab = Lab::one_arm("far_end_quiet").backends(2).start();
    vips_are_served(&lab);

    let client = lab.client();
    for (family, own, vip) in [
        (
            "ipv4",
            IpAddr::from(lab.backend("web-1").host().v4()),
            VIP4.into(),
        ),
        (
            "ipv6",
            lab.backend("web-1").host().v6().into(),
            IpAddr::from(VIP6),
        ),
    ] {
        client.set(&format!("{family}/neigh/eth0/retrans_time_ms"), "20");
        let vip_text = vip.to_string();
        client.must_run(&["ip", "route", "add", &vip_text, "dev", "eth0"]);
        client.flush_neighbours();
        let asked = |address: IpAddr, state: &str| {
            let probe = client.inside(|| {
                let any = if address.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                UdpSocket::bind(any).and_then(|socket| socket.send_to(b"?", (address, 9)))
            });
            // The second and later ones fail once the neighbour is known not to answer.
            let _ = probe;
            let words = ["ip", "neigh", "show", "to", &address.to_string()];
            wait_until(&format!("{address} is {state}"), SOON, || {
                client.must_run(&words).contains(state)
            });
        };
        asked(own, "REACHABLE");
        asked(vip, "FAILED");
    }
}
