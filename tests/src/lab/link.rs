//! Cables: veth pairs, addresses and routes of either shape.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
};

use super::{
    cleanup::Trace,
    host::Host,
    namespace::Namespace,
    plan::{FLOOD4, FLOOD6, Link, NARROW_MTU, Remote, Shape},
    process,
};

/// Name of the one interface of a client or backend, and of a balancer with one arm.
const OWN: &str = "eth0";
/// Name of a router's other interface, away from the balancer.
const BEYOND: &str = "eth1";

/// All hosts of a lab, wired.
#[derive(Debug)]
pub(super) struct Wiring {
    shape: Shape,
    remote: Remote,
    names: String,
    client: Host,
    balancer: Host,
    /// The bridge of a lab with one arm.
    switch: Option<Namespace>,
    /// The two on the way to a host, by its name; the one beside the balancer first.
    routers: BTreeMap<String, [Host; 2]>,
    balancer_interfaces: Vec<String>,
}

impl Wiring {
    /// Makes client and balancer (and bridge) and joins them.
    pub(super) fn new(shape: Shape, remote: Remote, trace: &Trace) -> Self {
        let link = shape.link(0);
        let names = trace.namespace("");
        let client_link = if remote.client {
            Shape::remote_links(0)[2]
        } else {
            link
        };
        let client = host(&names, "client", (client_link.far4, client_link.far6));
        let balancer = host(&names, "balancer", (link.near4, link.near6));
        // Many short connections: every port, and again after a second in TIME_WAIT.
        client.set("ipv4/ip_local_port_range", "1024 65535");
        client.set("ipv4/tcp_tw_reuse", "1");
        forward(&balancer);

        let mut wiring = Self {
            shape,
            remote,
            names,
            client: client.clone(),
            balancer: balancer.clone(),
            switch: None,
            routers: BTreeMap::new(),
            balancer_interfaces: Vec::new(),
        };
        let interface = match shape {
            Shape::Routed => {
                wiring.join_balancer(&client, 0, remote.client);
                client.name().to_owned()
            }
            Shape::OneArm => {
                let switch = Namespace::create(trace.namespace("switch"));
                ip_in(&switch, "link add bridge type bridge\nlink set bridge up\n");
                wiring.switch = Some(switch);
                wiring.plug_in(&balancer);
                add_addresses(balancer.namespace(), OWN, link.near4, link.near6);
                wiring.plug_in(&client);
                add_addresses(client.namespace(), OWN, link.far4, link.far6);
                route_by(&client, link);
                wiring.balancer_interfaces.push(OWN.to_owned());
                OWN.to_owned()
            }
        };
        ip_in(
            wiring.balancer.namespace(),
            &format!(
                "route add {FLOOD4}/15 via {} dev {interface}\n\
                 route add {FLOOD6}/48 via {} dev {interface}\n",
                link.far4, link.far6
            ),
        );
        wiring
    }

    /// Makes the host of backend `number` and joins it.
    pub(super) fn add_backend(&mut self, number: usize) -> Host {
        let link = if self.remote.backends {
            Shape::remote_links(number)[2]
        } else {
            self.shape.link(number)
        };
        let host = host(
            &self.names,
            &format!("web-{number}"),
            (link.far4, link.far6),
        );
        host.set("core/somaxconn", "8192");
        host.set("ipv4/tcp_max_syn_backlog", "8192");
        match self.shape {
            Shape::Routed => self.join_balancer(&host, number, self.remote.backends),
            Shape::OneArm => {
                self.plug_in(&host);
                add_addresses(host.namespace(), OWN, link.far4, link.far6);
                route_by(&host, link);
            }
        }
        host
    }

    /// See [`super::Lab::replace_link`].
    pub(super) fn replace_link(&self, host: &Host, number: usize) {
        assert_eq!(self.shape, Shape::Routed, "a link of its own");
        let name = host.name();
        let remove = format!("link delete {name}\n");
        ip_in(self.balancer.namespace(), &remove);
        join((&self.balancer, name), (host, OWN), self.shape.link(number));
    }

    /// See [`super::Lab::routers`].
    pub(super) fn routers(&self, host: &str) -> &[Host; 2] {
        self.routers
            .get(host)
            .unwrap_or_else(|| panic!("no routers are on the way to {host}"))
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

    /// A link of the host's own to the balancer, whose end is named after the host; or two routers and
    /// three links.
    fn join_balancer(&mut self, host: &Host, number: usize, remote: bool) {
        let balancer = self.balancer.clone();
        self.balancer_interfaces.push(host.name().to_owned());
        if !remote {
            let link = self.shape.link(number);
            join((&balancer, host.name()), (host, OWN), link);
            return;
        }
        let links = Shape::remote_links(number);
        let router = |place: &str, beyond: Link| {
            let name = format!("{}-{place}", host.name());
            let router = self::host(&self.names, &name, (beyond.near4, beyond.near6));
            forward(&router);
            router
        };
        let routers = [router("near", links[1]), router("far", links[2])];
        let [near, far] = &routers;
        join((&balancer, host.name()), (near, OWN), links[0]);
        join((near, BEYOND), (far, OWN), links[1]);
        join((far, BEYOND), (host, OWN), links[2]);
        for (router, interface) in [(near, BEYOND), (far, OWN)] {
            let narrow = format!("link set {interface} mtu {NARROW_MTU}\n");
            ip_in(router.namespace(), &narrow);
        }
        for (from, next, beyond) in [
            (&balancer, links[0], links[1]),
            (&balancer, links[0], links[2]),
            (near, links[1], links[2]),
        ] {
            let ways = format!(
                "route add {}/24 via {}\nroute add {}/64 via {}\n",
                beyond.network4(),
                next.far4,
                beyond.network6(),
                next.far6
            );
            ip_in(from.namespace(), &ways);
        }
        self.routers.insert(host.name().to_owned(), routers);
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

/// A host without links.
fn host(names: &str, name: &str, (v4, v6): (Ipv4Addr, Ipv6Addr)) -> Host {
    Host::new(name, Namespace::create(format!("{names}{name}")), v4, v6)
}

fn forward(host: &Host) {
    for key in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        host.set(key, "1");
    }
}

/// A cable between two hosts with the addresses of this link, which is the far one's way to everywhere.
fn join((near, near_name): (&Host, &str), (far, far_name): (&Host, &str), link: Link) {
    let (a, b) = (near.namespace(), far.namespace());
    cable((b, far_name), (a, near_name));
    add_addresses(a, near_name, link.near4, link.near6);
    add_addresses(b, far_name, link.far4, link.far6);
    route_by(far, link);
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

fn add_addresses(namespace: &Namespace, interface: &str, v4: Ipv4Addr, v6: Ipv6Addr) {
    ip_in(
        namespace,
        &format!(
            "address add {v4}/24 dev {interface}\naddress add {v6}/64 dev {interface} nodad\n"
        ),
    );
}

/// Makes the other end of this link the host's way to everywhere.
fn route_by(host: &Host, link: Link) {
    ip_in(
        host.namespace(),
        &format!(
            "route add default via {}\nroute add default via {}\n",
            link.near4, link.near6
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
