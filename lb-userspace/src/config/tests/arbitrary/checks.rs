//! Arbitrary health checks. Certificates of files are not among them.

use proptest::{collection::vec, option, prelude::*};
use tokio_rustls::rustls::pki_types::ServerName;

use super::millis;
use crate::config::{Damping, HealthCheck, HttpProbe, Probe, Tls, UdpProbe};

fn probe() -> impl Strategy<Value = Probe> {
    let status = (100..=599_u16, 100..=599_u16).prop_map(|(a, b)| a.min(b)..=a.max(b));
    let http = (
        "/[A-Za-z0-9/?&=%._~-]{0,40}",
        option::of("[a-z]{1,20}(\\.[a-z]{1,9}){0,3}(:[0-9]{1,5})?"),
        vec(status, 1..4),
    )
        .prop_map(|(path, host, expect)| HttpProbe { path, host, expect });
    prop_oneof![
        Just(Probe::None),
        Just(Probe::Tcp),
        http.clone().prop_map(Probe::Http),
        (http, option::of("[a-z]{1,20}(\\.[a-z]{1,9}){0,3}")).prop_map(|(http, name)| {
            let name = name.or_else(|| Some(http.host.as_ref()?.split(':').next()?.to_owned()));
            let name = name.map(|name| ServerName::try_from(name).expect("a name"));
            let tls = Tls {
                authorities: None,
                server_name: name,
                client: None,
            };
            Probe::Https(http, tls)
        }),
        (vec(any::<u8>(), 1..40), option::of(vec(any::<u8>(), 1..40)))
            .prop_map(|(send, expect)| Probe::Udp(UdpProbe { send, expect })),
    ]
}

fn damping() -> impl Strategy<Value = Damping> {
    (
        2..=100_u32,
        millis(1000..=3_600_000),
        millis(1000..=86_400_000),
    )
        .prop_map(|(changes, within, hold)| Damping {
            changes,
            within,
            hold,
        })
}

pub(super) fn health_check() -> impl Strategy<Value = HealthCheck> {
    (
        probe(),
        option::of(1..=u16::MAX),
        (millis(100..=3_600_000), millis(100..=3_600_000)),
        millis(1..=60_000),
        1..=100_u32,
        1..=100_u32,
        0..=50_u32,
        option::of(damping()),
    )
        .prop_map(
            |(probe, port, (one, other), timeout, rise, fall, jitter_percent, damping)| {
                HealthCheck {
                    probe,
                    port,
                    interval: one.max(other),
                    fast_interval: one.min(other),
                    timeout,
                    rise,
                    fall,
                    jitter_percent,
                    through: false,
                    damping,
                }
            },
        )
}
