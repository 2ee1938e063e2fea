//! Cables: veth pairs, addresses and routes of either shape.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use super::{
    cleanup::Trace,
    host::Host,
    namespace::Namespace,
    plan::{FLOOD4, FLOOD6, Link, Shape},
    process,
};

/// Name of the one interface of a client or backend, and of a balancer with one arm.
const OWN: &str = "eth0";

/// All hosts of a lab, wired.
#[derive(Debug)]
pub(super) struct Wiring {
    shape: Shape,
    names: String,
    client: Host,
    balancer: Host,
    /// The bridge of a lab with one arm.
    switch: Option<Namespace>,
    balancer_interfaces: Vec<String>,
}

impl Wiring {
    /// Makes client and balancer (and bridge) and joins them.
    pub(super) fn new(shape: Shape, trace: &Trace) -> Self {
        let link = shape.link(0);
        let host = |name: &str| Host::new(name, Namespace::create(trace.namespace(name)), link);
        let (client, balancer) = (host("client"), host("balancer"));
        // Many short connections: every port, and again after a second in TIME_WAIT.
        client.set("ipv4/ip_local_port_range", "1024 65535");
        client.set("ipv4/tcp_tw_reuse", "1");
        for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            balancer.set(key, "1");
        }

        let mut wiring = Self {
            shape,
            names: trace.namespace(""),
            client,
            balancer,
            switch: None,
            balancer_interfaces: Vec::new(),
        };
        let interface = match shape {
            Shape::Routed => {
                let client = wiring.client.clone();
                wiring.join_balancer(&client, link);
                client.name().to_owned()
            }
            Shape::OneArm => {
                let switch = Namespace::create(trace.namespace("switch"));
                ip_in(&switch, "link add bridge type bridge\nlink set bridge up\n");
                wiring.switch = Some(switch);
                let balancer = wiring.balancer.clone();
                wiring.plug_in(&balancer);
                add_addresses(balancer.namespace(), OWN, link.balancer4, link.balancer6);
                let client = wiring.client.clone();
                wiring.plug_in(&client);
                add_addresses(client.namespace(), OWN, link.host4, link.host6);
                wiring.balancer_interfaces.push(OWN.to_owned());
                OWN.to_owned()
            }
        };
        route_by_balancer(&wiring.client, link);
        ip_in(
            wiring.balancer.namespace(),
            &format!(
                "route add {FLOOD4}/15 via {} dev {interface}\n\
                 route add {FLOOD6}/48 via {} dev {interface}\n",
                link.host4, link.host6
            ),
        );
        wiring
    }

    /// Makes the host of backend `number` and joins it.
    pub(super) fn add_backend(&mut self, number: usize) -> Host {
        let link = self.shape.link(number);
        let name = format!("web-{number}");
        let namespace = Namespace::create(format!("{}{name}", self.names));
        let host = Host::new(&name, namespace, link);
        host.set("core/somaxconn", "8192");
        host.set("ipv4/tcp_max_syn_backlog", "8192");
        match self.shape {
            Shape::Routed => self.join_balancer(&host, link),
            Shape::OneArm => {
                self.plug_in(&host);
                add_addresses(host.namespace(), OWN, link.host4, link.host6);
            }
        }
        route_by_balancer(&host, link);
        host
    }

    pub(super) fn client(&self) -> &Host {
        &self.client
    }

    pub(super) fn balancer(&self) -> &Host {
        &self.balancer
    }

    pub(super) fn balancer_interfaces(&self) -> &[String] {
        &self.balancer_interfaces
    }

    /// A link of the host's own to the balancer, whose end is named after the host.
    fn join_balancer(&mut self, host: &Host, link: Link) {
        let balancer = self.balancer.namespace();
        cable((host.namespace(), OWN), (balancer, host.name()));
        add_addresses(balancer, host.name(), link.balancer4, link.balancer6);
        add_addresses(host.namespace(), OWN, link.host4, link.host6);
        self.balancer_interfaces.push(host.name().to_owned());
    }

    /// A link of the host's own to the bridge.
    fn plug_in(&self, host: &Host) {
        let switch = self
            .switch
            .as_ref()
            .expect("a lab with one arm has a bridge");
        cable((host.namespace(), OWN), (switch, host.name()));
        ip_in(switch, &format!("link set {} master bridge\n", host.name()));
    }
}

/// A veth pair between two namespaces, with what XDP on veth needs at both ends: GRO on, because a
/// veth takes redirected frames only when the receiving end has NAPI; checksums and segments
/// complete, because an XDP program sees packets as they are, not as an offload would make them. One
/// queue each way, because with several a packet may overtake the one before it.
fn cable(one: (&Namespace, &str), other: (&Namespace, &str)) {
    let ((near, near_name), (far, far_name)) = (one, other);
    process::must_run(&[
        "ip",
        "link",
        "add",
        near_name,
        "netns",
        near.name(),
        "numtxqueues",
        "1",
        "numrxqueues",
        "1",
        "type",
        "veth",
        "peer",
        "name",
        far_name,
        "netns",
        far.name(),
        "numtxqueues",
        "1",
        "numrxqueues",
        "1",
    ]);
    for (namespace, interface) in [one, other] {
        namespace.inside(|| {
            process::must_run(&[
                "ethtool", "-K", interface, "gro", "on", "tx", "off", "tso", "off", "gso", "off",
            ]);
        });
    }
    // Only now: a veth decides when it goes up whether frames may be redirected to it, by whether
    // its peer has GRO on at that moment.
    for (namespace, interface) in [one, other] {
        ip_in(namespace, &format!("link set {interface} up\n"));
    }
}

fn add_addresses(
    namespace: &Namespace,
    interface: &str,
    v4: std::net::Ipv4Addr,
    v6: std::net::Ipv6Addr,
) {
    ip_in(
        namespace,
        &format!(
            "address add {v4}/24 dev {interface}\naddress add {v6}/64 dev {interface} nodad\n"
        ),
    );
}

fn route_by_balancer(host: &Host, link: Link) {
    ip_in(
        host.namespace(),
        &format!(
            "route add default via {}\nroute add default via {}\n",
            link.balancer4, link.balancer6
        ),
    );
}

/// Several `ip` commands, one a line, in one namespace.
fn ip_in(namespace: &Namespace, commands: &str) {
    // Not `ip -n`, which remounts the tree and so fails in a chroot.
    let mut ip = namespace
        .inside(|| {
            Command::new("ip")
                .args(["-batch", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
        })
        .unwrap_or_else(|error| panic!("cannot start ip: {error}"));
    ip.stdin
        .take()
        .expect("the standard input was asked for above")
        .write_all(commands.as_bytes())
        .unwrap_or_else(|error| panic!("cannot write to ip: {error}"));
    let output = ip
        .wait_with_output()
        .unwrap_or_else(|error| panic!("cannot wait for ip: {error}"));
    process::succeeded(&["ip", commands], &output);
}
