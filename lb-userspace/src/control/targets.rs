//! What is asked of backends, from how the configuration says it to how the health checker does.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio_rustls::rustls::pki_types::ServerName;

use crate::{
    config::{self, Backend, HttpProbe, Mode, PortRange, Probe, Protocol, Service, UdpProbe},
    health::{
        ClientCertificate, Datagram, Http, Kind, Target, Tls,
        through::{self, Aim, Ask, Through},
    },
    tables::leads_to,
};

/// What all backends of a service are asked alike, so that they share what is large; `None` for
/// nothing.
pub(super) fn kind(service: &Service) -> Option<Kind> {
    Some(match &service.health_check.probe {
        Probe::None => return None,
        Probe::Tcp => Kind::Tcp,
        Probe::Http(probe) => Kind::Http(http(probe)),
        Probe::Https(probe, settings) => Kind::Https(http(probe), tls(settings)),
        Probe::Udp(probe) => Kind::Udp(datagram(probe)),
    })
}

/// The same for one backend; `None` where nothing says on which port.
pub(super) fn target(service: &Service, kind: Kind, backend: &Backend) -> Option<Target> {
    let check = &service.health_check;
    let ip = backend.address.ip();
    let kind = match (kind, &check.probe) {
        (Kind::Https(http, tls), Probe::Https(_, settings)) => {
            Kind::Https(http, tls.named(settings.name_of(ip)))
        }
        (kind, _) => kind,
    };
    Some(Target {
        address: SocketAddr::new(ip, service.probe_port(backend)?),
        kind,
        timeout: check.timeout,
    })
}

/// What it is asked by the way of the service's packets.
pub(super) fn through(service: &Service, backend: &Backend) -> Option<Through> {
    let mode = match service.mode {
        Mode::Dsr => through::Mode::Dsr,
        Mode::Ipip => through::Mode::Ipip,
        Mode::Gue => through::Mode::Gue,
        Mode::Nat | Mode::Route => return None,
    };
    if !service.health_check.through {
        return None;
    }
    // Each address once.
    let mut ports: BTreeMap<IpAddr, Vec<PortRange>> = BTreeMap::new();
    for vip in &service.listen {
        if leads_to(service, *vip, backend.address.ip()) {
            ports.entry(vip.address).or_default().push(vip.ports);
        }
    }
    let probed = service.probe_port(backend)?;
    let aims = ports.into_iter().map(|(address, ports)| {
        let (port, ask) = match (&service.health_check.probe, service.protocol) {
            (Probe::Udp(probe), Protocol::Udp) => (probed, Ask::Datagram(datagram(probe))),
            // Its port of TCP may be anybody's, or nobody's.
            (_, Protocol::Udp) => (probed, Ask::Answer),
            (_, Protocol::Tcp) => tcp_port(&ports, [backend.address.port(), probed]),
        };
        Aim {
            vip: SocketAddr::new(address, port),
            ask,
        }
    });
    Some(Through {
        mode,
        aims: aims.collect(),
    })
}

/// A port of a vip on which the backend serves TCP: one of the `likely`, or else the only one of a
/// range. Of more than one, nothing says which are served.
fn tcp_port(ports: &[PortRange], likely: [u16; 2]) -> (u16, Ask) {
    let vip_has = |port: &u16| ports.iter().any(|own| own.contains(PortRange::one(*port)));
    let served = (likely.into_iter().find(|port| *port != 0 && vip_has(port)))
        .or_else(|| ports.iter().find_map(|own| own.single()));
    match served {
        Some(port) => (port, Ask::Accept),
        None => (ports.first().map_or(0, |own| own.first), Ask::Answer),
    }
}

fn datagram(probe: &UdpProbe) -> Datagram {
    Datagram {
        send: probe.send.clone(),
        expect: probe.expect.clone(),
    }
}

fn http(probe: &HttpProbe) -> Http {
    Http {
        path: probe.path.clone(),
        host: probe.host.clone(),
        expect: probe.expect.clone(),
    }
}

fn tls(settings: &config::Tls) -> Tls {
    let client = settings.client.as_ref().map(|client| ClientCertificate {
        chain: Arc::clone(&client.chain),
        key: Arc::clone(&client.key),
    });
    // Of a service without a name of its own each backend gets another.
    let name = (settings.server_name.clone())
        .unwrap_or_else(|| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
    Tls::new(name, settings.authorities.clone(), client)
        .expect("the configuration's reader has tried this certificate and this key")
}
