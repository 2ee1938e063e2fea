//! The lab: network namespaces joined by veth pairs, real nginx servers as backends, one `divvy`.
//!
//! ```no_run
//! use lb_tests::lab::{Lab, URL4};
//!
//! let lab = Lab::routed("spread").backends(3).start();
//! let divvy = lab.divvy(&lab.config());
//! let hits = lab.client().get_many(300, URL4);
//! assert!(hits.failed().is_empty());
//! # drop(divvy);
//! ```
//!
//! A lab needs root. It never touches the host's own interfaces: each link is made inside the
//! namespaces. It panics rather than return an error, and takes everything away when dropped, on
//! SIGINT and SIGTERM, and, after a SIGKILL, when the next lab starts. One process runs one lab at
//! a time: a second one waits.

mod api;
mod backend;
mod body;
mod browser;
mod cleanup;
mod config;
mod copy;
mod datagrams;
mod divvy;
mod dns;
mod echo;
mod far_end;
mod flood;
mod host;
mod http;
mod idle;
mod link;
mod load;
mod namespace;
mod plan;
mod process;
mod prometheus;
mod refusal;
mod report;
mod terminal;
mod tls;
mod vlan;
mod wait;

use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

pub use self::{
    api::Answer,
    backend::Backend,
    body::{Digest, ten_megabytes},
    browser::{Browser, Theme},
    config::{Config, many_services},
    copy::Copy,
    datagrams::DatagramEcho,
    divvy::{Divvy, METRICS, Version, WITHOUT_RIGHTS},
    dns::{Answers, DNS_PORT, Dns, IN_FLIGHT, Questions},
    echo::{EchoServer, Manner},
    far_end::{Carried, Decap, Ip, Tunnel},
    flood::SynFlood,
    host::Host,
    http::{Connection, Response, TIMEOUT, Url},
    idle::IdleConnections,
    load::Load,
    plan::{FLOOD4, FLOOD6, NARROW_MTU, Shape, URL4, URL6, VIP4, VIP6},
    process::Process,
    prometheus::{Prometheus, promtool},
    refusal::{Refusal, bpf},
    report::{Report, Request},
    terminal::Terminal,
    tls::{Authority, Certificate, TlsServer},
    vlan::Vlans,
    wait::wait_until,
};
use self::{cleanup::Trace, link::Wiring, plan::Remote};

/// One lab at a time, however many threads the test runner has: they would share the processor,
/// and a loaded one makes every measured time meaningless.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a lab will look like. [`Self::start`] makes it.
#[derive(Clone, Debug)]
pub struct Builder {
    title: &'static str,
    shape: Shape,
    remote: Remote,
    backends: usize,
    port: u16,
}

impl Builder {
    /// Number of backends to start with; they are named `web-1`, `web-2`, …
    #[must_use]
    pub fn backends(mut self, count: usize) -> Self {
        self.backends = count;
        self
    }

    /// Port that the backends listen on instead of 80.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Puts two routers on the way between client and balancer, and between them a link that carries
    /// [`NARROW_MTU`] bytes, less than all others. In a routed lab.
    #[must_use]
    pub fn client_behind_routers(mut self) -> Self {
        self.remote.client = true;
        self
    }

    /// The same on the way between the balancer and each backend.
    #[must_use]
    pub fn backends_behind_routers(mut self) -> Self {
        self.remote.backends = true;
        self
    }

    /// Makes the namespaces, links, addresses and routes, and starts an nginx in each backend.
    #[must_use]
    pub fn start(self) -> Lab {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the lab makes network namespaces, which needs root"
        );
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        cleanup::at_signals();
        cleanup::sweep_leftovers();
        raise_open_files_limit();

        let trace = Trace::begin(self.title);
        let wiring = Wiring::new(self.shape, self.remote, &trace);
        let file = trace.folder().join("10mb");
        fs::write(&file, ten_megabytes())
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
        let mut lab = Lab {
            backends: Vec::new(),
            wiring,
            port: self.port,
            trace,
            _turn: turn,
        };
        for _ in 0..self.backends {
            lab.add_backend();
        }
        lab
    }
}

/// A running lab. Fields are dropped in this order: servers, namespaces, traces on the host.
pub struct Lab {
    backends: Vec<Backend>,
    wiring: Wiring,
    port: u16,
    trace: Trace,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// Client and backends hang on the balancer, each by a link and networks of its own.
    /// `title` becomes part of the namespaces' names: letters, digits and `_`.
    #[must_use]
    pub fn routed(title: &'static str) -> Builder {
        Builder {
            title,
            shape: Shape::Routed,
            remote: Remote::default(),
            backends: 0,
            port: 80,
        }
    }

    /// Client, balancer and backends hang on one bridge and share one network.
    #[must_use]
    pub fn one_arm(title: &'static str) -> Builder {
        Builder {
            shape: Shape::OneArm,
            ..Self::routed(title)
        }
    }

    #[must_use]
    pub fn client(&self) -> &Host {
        self.wiring.client()
    }

    #[must_use]
    pub fn balancer(&self) -> &Host {
        self.wiring.balancer()
    }

    #[must_use]
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// The routers on the way to the client or to a backend: the one beside the balancer, then the other.
    #[must_use]
    pub fn routers(&self, host: &str) -> &[Host; 2] {
        self.wiring.routers(host)
    }

    /// The backend of that name.
    #[must_use]
    pub fn backend(&self, name: &str) -> &Backend {
        self.backends
            .iter()
            .find(|backend| backend.name() == name)
            .unwrap_or_else(|| panic!("the lab has no backend {name}"))
    }

    /// Adds a backend with a running nginx. Its links exist from then on; the balancer's
    /// configuration names it when [`Self::config`] is asked again.
    pub fn add_backend(&mut self) -> &Backend {
        let number = self.backends.len() + 1;
        let host = self.wiring.add_backend(number);
        self.backends
            .push(Backend::new(host, self.port, self.trace.folder()));
        &self.backends[number - 1]
    }

    /// Deletes a backend's link and makes another one of the same name and addresses, in a routed lab.
    pub fn replace_link(&self, name: &str) {
        let number = (self.backends.iter()).position(|backend| backend.name() == name);
        let number = number.unwrap_or_else(|| panic!("the lab has no backend {name}"));
        let host = self.backends[number].host();
        self.wiring.replace_link(host, number + 1);
    }

    /// A configuration of all interfaces and backends that the lab has now: service `web` on
    /// [`VIP4`] and `web6` on [`VIP6`], port 80, with fast health checks.
    #[must_use]
    pub fn config(&self) -> Config {
        Config::new(self.wiring.balancer_interfaces(), &self.backends)
    }

    /// Starts `divvy` in the balancer's namespace and waits until it answers. Panics, showing
    /// what it printed, when it does not.
    #[must_use]
    pub fn divvy(&self, config: &Config) -> Divvy {
        let divvy = self.divvy_not_running(&config.yaml());
        divvy.start_again();
        divvy
    }

    /// The same with any text as configuration file, and without starting it.
    #[must_use]
    pub fn divvy_not_running(&self, yaml: &str) -> Divvy {
        Divvy::new(self.balancer().clone(), self.trace.folder(), yaml)
    }

    /// From now on each backend has `/100mb`, whose body is the same 100,000,000 bytes everywhere.
    /// Hold what [`Host::digest`] returns against this.
    #[must_use]
    pub fn offer_hundred_megabytes(&self) -> Digest {
        let file = self.folder().join("100mb");
        body::write_hundred_megabytes(&file)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()))
    }

    /// A copy of this host's files, to install packages in, with the balancer's network.
    #[must_use]
    pub fn copy_of_this_host(&self) -> Copy {
        Copy::new(self.balancer(), self.trace.folder())
    }

    /// A folder of the lab's own, removed with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.trace.folder()
    }
}

/// Thousands of connections need as many descriptors; the usual soft limit is 1024.
fn raise_open_files_limit() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("this process can read its limits");
    setrlimit(Resource::RLIMIT_NOFILE, most, most)
        .expect("a process may raise its own soft limit to the hard one");
}
