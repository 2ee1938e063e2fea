//! A configuration as a file.

use std::{fmt::Write, net::IpAddr};

use crate::config::{
    Backend, Config, HttpProbe, Limits, PortRange, Prefix, Probe, Tunnel, UdpProbe, Vip,
    backend_text,
};

/// Writes a configuration as its author might have.
pub(in crate::config::tests) fn written(config: &Config) -> String {
    let mut yaml = String::new();
    let mut line = |text: String| writeln!(yaml, "{text}").expect("writing to a String succeeds");
    line(format!("interfaces: {:?}", config.interfaces));
    line(format!("xdp: {}", config.xdp.name()));
    let PortRange { first, last } = config.snat.ports;
    let addresses: Vec<String> = config
        .snat
        .addresses
        .iter()
        .map(IpAddr::to_string)
        .collect();
    line(format!(
        "snat: {{ addresses: {addresses:?}, ports: {first}-{last} }}"
    ));
    let Limits { flows, half_open } = config.limits;
    line(format!(
        "limits: {{ flows: {flows}, half_open: {half_open} }}"
    ));
    if let Some(metrics) = config.metrics {
        line(format!("metrics: \"{metrics}\""));
    }
    line(format!("on_exit: {}", config.on_exit.name()));
    line(format!("watch: {}", config.watch));
    let interface = (config.announce.interface.iter())
        .map(|name| format!(", interface: {name:?}"))
        .collect::<String>();
    line(format!(
        "announce: {{ addresses: {}{interface} }}",
        config.announce.addresses
    ));
    line("services:".into());
    for service in &config.services {
        let listen: Vec<String> = service.listen.iter().map(Vip::to_string).collect();
        line(format!("  - name: {}", service.name));
        line(format!("    listen: {listen:?}"));
        line(format!("    protocol: {}", service.protocol.name()));
        line(format!("    mode: {}", service.mode.name()));
        if service.mode.has_tunnel() {
            let Tunnel {
                sources,
                port,
                variant,
            } = &service.tunnel;
            let sources: Vec<String> = sources.iter().map(Prefix::to_string).collect();
            line(format!(
                "    tunnel: {{ sources: {sources:?}, port: {port}, variant: {} }}",
                variant.number()
            ));
        }
        line(format!("    scheduler: {}", service.scheduler.name()));
        line(format!("    on_down: {}", service.on_down.name()));
        line(format!(
            "    drain_timeout: {}ms",
            service.drain_timeout.as_millis()
        ));
        line(format!(
            "    slow_start: {}ms",
            service.slow_start.as_millis()
        ));
        line(format!(
            "    panic_threshold: {}%",
            service.panic_threshold_percent
        ));
        if let Some(affinity) = &service.affinity {
            line(format!(
                "    affinity: {{ type: client_ip, prefix4: {}, prefix6: {}, timeout: {}ms }}",
                affinity.prefix4,
                affinity.prefix6,
                affinity.timeout.as_millis()
            ));
        }
        let denied: Vec<String> = (service.sources.v4.keys().chain(service.sources.v6.keys()))
            .map(Prefix::to_string)
            .collect();
        line(format!("    deny: {denied:?}"));
        line("    timeouts:".into());
        let timeouts = &service.timeouts;
        line(format!(
            "      half_open: {}ms",
            timeouts.half_open.as_millis()
        ));
        line(format!(
            "      established: {}",
            humantime::format_duration(timeouts.established)
        ));
        line(format!("      fin: {}ms", timeouts.fin.as_millis()));
        line(format!(
            "      reset: {}",
            humantime::format_duration(timeouts.reset)
        ));
        line(format!("      udp: {}ms", timeouts.udp.as_millis()));
        line("    health_check:".into());
        let check = &service.health_check;
        line(format!("      type: {}", check.probe.name()));
        if let Probe::Udp(UdpProbe { send, expect }) = &check.probe {
            line(format!("      send: '{}'", escaped(send)));
            if let Some(expect) = expect {
                line(format!("      expect: '{}'", escaped(expect)));
            }
        }
        if let Probe::Https(_, tls) = &check.probe {
            line("      verify: false".into());
            if let Some(name) = &tls.server_name {
                line(format!("      server_name: {}", name.to_str()));
            }
        }
        if let Probe::Http(http) | Probe::Https(http, _) = &check.probe {
            let HttpProbe { path, host, expect } = http;
            line(format!("      path: {path}"));
            if let Some(host) = host {
                line(format!("      host: {host}"));
            }
            let ranges: Vec<String> = expect
                .iter()
                .map(|range| format!("{}-{}", range.start(), range.end()))
                .collect();
            line(format!("      expect: {}", ranges.join(", ")));
        }
        if let Some(port) = check.port {
            line(format!("      port: {port}"));
        }
        line(format!(
            "      interval: {}",
            humantime::format_duration(check.interval)
        ));
        line(format!(
            "      fast_interval: {}ms",
            check.fast_interval.as_millis()
        ));
        if let Some(damping) = &check.damping {
            line(format!(
                "      damping: {{ changes: {}, within: {}ms, hold: {}ms }}",
                damping.changes,
                damping.within.as_millis(),
                damping.hold.as_millis()
            ));
        }
        line(format!("      timeout: {}ms", check.timeout.as_millis()));
        line(format!("      rise: {}", check.rise));
        line(format!("      fall: {}", check.fall));
        line(format!("      jitter: {}%", check.jitter_percent));
        if service.mode.is_one_way() {
            line(format!("      through: {}", check.through));
        }
        line(format!(
            "    backends:{}",
            if service.backends.is_empty() {
                " []"
            } else {
                ""
            }
        ));
        for Backend {
            name,
            address,
            weight,
            backup,
            max_flows,
        } in &service.backends
        {
            let limit = max_flows.map_or(String::new(), |most| format!(", max_flows: {most}"));
            line(format!(
                "      - {{ name: {name}, address: \"{}\", weight: {weight}, backup: {backup}{limit} }}",
                backend_text(*address)
            ));
        }
    }
    yaml
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}
