//! The balancer's configuration for a lab, as an operator would write it.

mod many;

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

pub use self::many::many_services;
use super::{
    backend::Backend,
    dns::DNS_PORT,
    plan::{VIP4, VIP6},
};

/// Text for `divvy.yaml`: service `web` over IPv4, service `web6` over IPv6, the same backends.
#[derive(Clone, Debug)]
pub struct Config {
    interfaces: Vec<String>,
    top: Vec<String>,
    mode: String,
    crossed: bool,
    dns: bool,
    defaults: Vec<String>,
    health_check: String,
    backends: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    v4: SocketAddrV4,
    v6: SocketAddrV6,
    more: String,
}

impl Config {
    pub(super) fn new(interfaces: &[String], backends: &[Backend]) -> Self {
        Self {
            interfaces: interfaces.to_vec(),
            top: Vec::new(),
            mode: "nat".to_owned(),
            crossed: false,
            dns: false,
            defaults: Vec::new(),
            health_check: "{ type: http, path: /healthz, interval: 200ms, timeout: 200ms, \
                           rise: 1, fall: 2 }"
                .to_owned(),
            backends: backends
                .iter()
                .map(|backend| Entry {
                    name: backend.name().to_owned(),
                    v4: backend.v4(),
                    v6: backend.v6(),
                    more: String::new(),
                })
                .collect(),
        }
    }

    /// A line of the file's top level, such as `limits: { flows: 1024 }`.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.top.push(line.to_owned());
        self
    }

    /// A key of both services, such as `on_down: keep`.
    #[must_use]
    pub fn with_default(mut self, line: &str) -> Self {
        self.defaults.push(line.to_owned());
        self
    }

    /// The mode of both services instead of `nat`.
    #[must_use]
    pub fn mode(mut self, mode: &str) -> Self {
        mode.clone_into(&mut self.mode);
        self
    }

    /// Gives service `web` the backends' IPv6 addresses, and `web6` their IPv4 addresses.
    #[must_use]
    pub fn crossed(mut self) -> Self {
        self.crossed = true;
        self
    }

    /// Adds the services `dns` and `dns6` of protocol UDP, which the backends serve too.
    #[must_use]
    pub fn dns(mut self) -> Self {
        self.dns = true;
        self
    }

    /// The health check, such as `{ type: none }`. Without this, an HTTP probe every 200 ms; one
    /// success and two failures in a row count.
    #[must_use]
    pub fn health_check(mut self, value: &str) -> Self {
        value.clone_into(&mut self.health_check);
        self
    }

    /// Leaves out the probes by the way of a service's packets, for those who count packets.
    #[must_use]
    pub fn probed_directly(mut self) -> Self {
        let rest = self
            .health_check
            .trim_end()
            .trim_end_matches('}')
            .trim_end();
        self.health_check = format!("{rest}, through: false }}");
        self
    }

    /// A weight for one backend, in both services.
    #[must_use]
    pub fn weight(self, backend: &str, weight: u32) -> Self {
        self.backend_key(backend, &format!("weight: {weight}"))
    }

    /// A key of one backend, such as `backup: true`.
    #[must_use]
    pub fn backend_key(mut self, backend: &str, key: &str) -> Self {
        let entry = self
            .backends
            .iter_mut()
            .find(|entry| entry.name == backend)
            .unwrap_or_else(|| panic!("the configuration has no backend {backend}"));
        entry.more.push_str(", ");
        entry.more.push_str(key);
        self
    }

    /// Leaves one backend out.
    #[must_use]
    pub fn without(mut self, backend: &str) -> Self {
        self.backends.retain(|entry| entry.name != backend);
        self
    }

    #[must_use]
    pub fn yaml(&self) -> String {
        let mut yaml = format!("interfaces: [{}]\n", self.interfaces.join(", "));
        for line in &self.top {
            yaml.push_str(line);
            yaml.push('\n');
        }
        yaml.push_str("defaults:\n");
        line_to(&mut yaml, &format!("  mode: {}", self.mode));
        for line in &self.defaults {
            line_to(&mut yaml, &format!("  {line}"));
        }
        line_to(&mut yaml, &format!("  health_check: {}", self.health_check));
        yaml.push_str("services:\n");
        self.service(&mut yaml, "web", (VIP4.into(), 80), self.crossed, None);
        self.service(&mut yaml, "web6", (VIP6.into(), 80), !self.crossed, None);
        if self.dns {
            let port = Some(DNS_PORT);
            self.service(
                &mut yaml,
                "dns",
                (VIP4.into(), DNS_PORT),
                self.crossed,
                port,
            );
            self.service(
                &mut yaml,
                "dns6",
                (VIP6.into(), DNS_PORT),
                !self.crossed,
                port,
            );
        }
        yaml
    }

    /// A service whose backends have their IPv6 addresses, or else those of IPv4; with a port, it is one
    /// of UDP, probed by TCP, and the backends have that port.
    fn service(
        &self,
        yaml: &mut String,
        name: &str,
        vip: (IpAddr, u16),
        by_v6: bool,
        udp_port: Option<u16>,
    ) {
        line_to(yaml, &format!("  - name: {name}"));
        line_to(
            yaml,
            &format!("    listen: [\"{}\"]", SocketAddr::from(vip)),
        );
        if udp_port.is_some() {
            line_to(yaml, "    protocol: udp");
            line_to(yaml, "    health_check: { type: tcp }");
        }
        line_to(yaml, "    backends:");
        for entry in &self.backends {
            let (name, more) = (&entry.name, &entry.more);
            let mut address: SocketAddr = if by_v6 {
                entry.v6.into()
            } else {
                entry.v4.into()
            };
            if let Some(port) = udp_port {
                address.set_port(port);
            }
            line_to(
                yaml,
                &format!("      - {{ name: {name}, address: \"{address}\"{more} }}"),
            );
        }
    }
}

fn line_to(yaml: &mut String, line: &str) {
    yaml.push_str(line);
    yaml.push('\n');
}
