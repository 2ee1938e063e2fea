//! The ways from the client to the servers, one at a time.

use std::{
    net::{SocketAddr, SocketAddrV4},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Result;
use clap::ValueEnum;

use super::rivals::{self, Nftables, Service};
use crate::lab::{Backend, Divvy, Host, Lab, Process, VIP4, wait_until};

const WEB: u16 = 80;
/// iperf3's own.
const STREAM: u16 = 5201;
const STREAM_NAME: &str = "stream";

/// Who leads clients to the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Way {
    /// Nobody: the clients know the servers, and the balancer's host routes.
    Routing,
    Nftables,
    #[value(name = "haproxy")]
    HaProxy,
    Nginx,
    Divvy,
}

impl Way {
    /// All, in the order of the report.
    pub const ALL: [Self; 5] = [
        Self::Routing,
        Self::Nftables,
        Self::HaProxy,
        Self::Nginx,
        Self::Divvy,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routing => "plain routing",
            Self::Nftables => "nftables",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Divvy => "divvy",
        }
    }
}

/// Where clients go.
#[derive(Clone, Debug)]
pub struct Targets {
    /// A URL for each backend.
    pub web: Vec<String>,
    pub stream: SocketAddr,
}

/// The servers, among them an iperf3 on the first backend.
pub struct Ends {
    services: [Service; 2],
    _iperf3: Process,
}

impl Ends {
    pub fn new(lab: &Lab) -> Self {
        let backends: Vec<SocketAddrV4> = (lab.backends().iter()).map(Backend::v4).collect();
        let stream = SocketAddrV4::new(*backends[0].ip(), STREAM);
        let mut server = Command::new("iperf3");
        server.args(["--server", "--port", &STREAM.to_string()]);
        server.stdin(Stdio::null()).stdout(Stdio::null());
        let host = lab.backends()[0].host();
        let iperf3 = host.spawn(server);
        wait_until("iperf3 listens", Duration::from_secs(10), || {
            let words = ["ss", "--listening", "--tcp", "--numeric", "--no-header"];
            host.must_run(&words).contains(&format!(":{STREAM} "))
        });
        // The same on every host, and one that sends when it may, not by a timer of its own as BBR does. A namespace
        // may choose this one whatever its host allows.
        let backends_hosts = lab.backends().iter().map(Backend::host);
        for host in backends_hosts.chain([lab.client(), lab.balancer()]) {
            host.set("ipv4/tcp_congestion_control", "reno");
        }
        // For the proxies, which open connections themselves: what the client has for its own.
        let balancer = lab.balancer();
        balancer.set("ipv4/ip_local_port_range", "1024 65535");
        balancer.set("ipv4/tcp_tw_reuse", "1");
        // Every way handles the same packets: none has several put together for it.
        let interfaces = lab.backends().iter().map(Backend::name);
        for interface in interfaces.chain(["client"]) {
            balancer.must_run(&["ethtool", "-K", interface, "gro", "off"]);
        }
        Self {
            services: [
                Service {
                    name: "web",
                    vip: SocketAddrV4::new(VIP4, WEB),
                    backends,
                },
                Service {
                    name: STREAM_NAME,
                    vip: SocketAddrV4::new(VIP4, STREAM),
                    backends: vec![stream],
                },
            ],
            _iperf3: iperf3,
        }
    }

    pub fn targets(&self, way: Way) -> Targets {
        let [web, stream] = &self.services;
        let (vip, stream_vip) = (web.vip, stream.vip);
        let urls = (web.backends.iter()).map(|backend| match way {
            Way::Routing => format!("http://{backend}/"),
            _ => format!("http://{vip}/"),
        });
        let stream = match way {
            Way::Routing => stream.backends[0],
            _ => stream_vip,
        };
        Targets {
            web: urls.collect(),
            stream: stream.into(),
        }
    }
}

/// A way that is set up. Dropping it takes it away.
pub enum Standing {
    Routing,
    Nftables { _rules: Nftables },
    Proxy { _process: Process, _vip: Held },
    Divvy(Box<Divvy>),
}

impl Standing {
    pub fn set_up(lab: &Lab, ends: &Ends, way: Way) -> Result<Self> {
        let (host, folder, services) = (lab.balancer(), lab.folder(), &ends.services);
        Ok(match way {
            Way::Routing => Self::Routing,
            Way::Nftables => Self::Nftables {
                _rules: rivals::nftables(host, folder, services)?,
            },
            Way::HaProxy | Way::Nginx => {
                let vip = Held::new(lab);
                let start = match way {
                    Way::HaProxy => rivals::haproxy,
                    _ => rivals::nginx,
                };
                Self::Proxy {
                    _process: start(host, folder, services)?,
                    _vip: vip,
                }
            }
            Way::Divvy => {
                let divvy = lab.divvy_not_running(&config(lab, services));
                divvy.start_again();
                divvy.wait_for_all_up();
                Self::Divvy(Box::new(divvy))
            }
        })
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Self::Divvy(divvy) = self {
            divvy.must(&["detach"]);
            divvy.wait_for_its_end();
        }
    }
}

/// The vip as an address of the balancer, for those who need one to listen on.
pub struct Held {
    host: Host,
}

impl Held {
    fn new(lab: &Lab) -> Self {
        let host = lab.balancer().clone();
        host.must_run(&["ip", "address", "add", &format!("{VIP4}/32"), "dev", "lo"]);
        Self { host }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let words = [
            "ip",
            "address",
            "delete",
            &format!("{VIP4}/32"),
            "dev",
            "lo",
        ];
        self.host.must_run(&words);
    }
}

/// Mode `nat` in native XDP. In turns, as the others do it; checks as in a daemon of every day.
fn config(lab: &Lab, services: &[Service]) -> String {
    let names = lab.backends().iter().map(Backend::name);
    let interfaces: Vec<&str> = ["client"].into_iter().chain(names).collect();
    let mut yaml = format!(
        "interfaces: [{}]\nxdp: native\ndefaults:\n  mode: nat\n  scheduler: round_robin\n  health_check: {{ \
         type: tcp, interval: 2s, timeout: 1s, rise: 1, fall: 3 }}\nservices:\n",
        interfaces.join(", ")
    );
    for Service {
        name,
        vip,
        backends,
    } in services
    {
        yaml.push_str(&format!("  - name: {name}\n    listen: [\"{vip}\"]\n"));
        if *name == STREAM_NAME {
            // iperf3 takes every connection for a client with a test to make.
            yaml.push_str("    health_check: { type: none }\n");
        }
        yaml.push_str("    backends:\n");
        for (number, backend) in (1..).zip(backends) {
            yaml.push_str(&format!(
                "      - {{ name: web-{number}, address: \"{backend}\" }}\n"
            ));
        }
    }
    yaml
}
