//! A configuration of many services, without health checks.

use std::fmt::Write as _;

use super::super::Lab;

/// `services` services `s0`, `s1`, … on as many ports of one vip, from 10000 on, each with `backends` backends `b0`,
/// `b1`, …, which are addresses of the lab's first backend: that one has them from now on. `top` is put before the
/// services, lines with their ends.
#[must_use]
pub fn many_services(lab: &Lab, services: usize, backends: usize, top: &str) -> String {
    let web = &lab.backends()[0];
    let address = web.v4().ip().to_string();
    let (network, _) = address.rsplit_once('.').expect("an address");
    for host in 0..backends {
        let address = format!("{network}.{}/24", 100 + host);
        (web.host()).must_run(&["ip", "address", "replace", &address, "dev", "eth0"]);
    }
    let mut yaml = format!(
        "interfaces: [client, {}]\n{top}defaults: {{ health_check: {{ type: none }} }}\nservices:\n",
        web.name()
    );
    for service in 0..services {
        let port = 10_000 + service;
        let _ = write!(
            yaml,
            "  - name: s{service}\n    listen: [\"203.0.113.10:{port}\"]\n    backends:\n"
        );
        for backend in 0..backends {
            let host = 100 + backend;
            let _ = writeln!(
                yaml,
                "      - {{ name: b{backend}, address: \"{network}.{host}:80\" }}"
            );
        }
    }
    yaml
}
