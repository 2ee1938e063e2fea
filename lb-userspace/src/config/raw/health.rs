//! The section `health_check`, which a service and `defaults` share.

use std::{ops::RangeInclusive, time::Duration};

use crate::config::{
    field::Field,
    parsed::{HealthCheck, Probe},
    units,
};

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
const JITTER_MAX_PERCENT: u32 = 50;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Tcp,
    Http,
}

impl Kind {
    const ALL: &[Self] = &[Self::None, Self::Tcp, Self::Http];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

/// The section with every key filled in, those of `http` as well: a service may inherit the path
/// from the defaults and choose the type itself.
#[derive(Clone)]
pub(super) struct HealthOptions<'a> {
    pub(super) kind: Kind,
    path: String,
    host: Option<String>,
    expect: Vec<RangeInclusive<u16>>,
    /// All but the probe.
    check: HealthCheck,
    /// Keys given in this very section that only `http` has.
    http_only: Vec<Field<'a>>,
}

impl Default for HealthOptions<'_> {
    fn default() -> Self {
        Self {
            kind: Kind::Tcp,
            path: "/".to_owned(),
            host: None,
            expect: vec![200..=299],
            check: HealthCheck::default(),
            http_only: Vec::new(),
        }
    }
}

/// The options of a section; what it does not give is as in `base`.
pub(super) fn onto<'a>(base: &HealthOptions<'a>, field: &Field<'a>) -> Option<HealthOptions<'a>> {
    let mut keys = field.section()?;
    let mut http_only = Vec::new();
    let options = HealthOptions {
        // A wrong type stands for `http`, which allows every key: one problem, not two.
        kind: keys.inherited("type", &base.kind, |field| {
            let kind = field.word(Kind::ALL, Kind::name, &["https"]);
            kind.or(Some(Kind::Http))
        }),
        path: keys.inherited("path", &base.path, |field| {
            http_only.push(field.clone());
            field.text(units::http_path)
        }),
        host: keys.inherited("host", &base.host, |field| {
            http_only.push(field.clone());
            field.text(units::http_host).map(Some)
        }),
        expect: keys.inherited("expect", &base.expect, |field| {
            http_only.push(field.clone());
            field.quantity(units::statuses)
        }),
        check: HealthCheck {
            probe: Probe::None,
            port: keys.inherited("port", &base.check.port, |field| {
                field.number(1..=u16::MAX).map(Some)
            }),
            interval: keys.inherited("interval", &base.check.interval, |field| {
                field.duration(INTERVAL)
            }),
            timeout: keys.inherited("timeout", &base.check.timeout, |field| {
                field.duration(TIMEOUT)
            }),
            rise: keys.inherited("rise", &base.check.rise, |field| field.number(1..=100)),
            fall: keys.inherited("fall", &base.check.fall, |field| field.number(1..=100)),
            jitter_percent: keys.inherited("jitter", &base.check.jitter_percent, |field| {
                field.quantity(|text| units::percent(text, JITTER_MAX_PERCENT))
            }),
        },
        http_only,
    };
    keys.finish();
    Some(options)
}

impl HealthOptions<'_> {
    /// What a section that says nothing has: all of this, but none of its problems.
    pub(super) fn inherited(&self) -> Self {
        Self {
            http_only: Vec::new(),
            ..self.clone()
        }
    }

    /// Reports the keys of this section that only `http` has, unless that is the type.
    pub(super) fn refuse_http_keys(&self) {
        if self.kind == Kind::Http {
            return;
        }
        for field in &self.http_only {
            field.refuse::<()>(format!(
                "is only for health checks of type http, and this one is {}; remove it or set type: http",
                self.kind.name()
            ));
        }
    }

    /// The health check, its defaults now settled.
    pub(super) fn check(&self) -> HealthCheck {
        let probe = match self.kind {
            Kind::None => Probe::None,
            Kind::Tcp => Probe::Tcp,
            Kind::Http => Probe::Http {
                path: self.path.clone(),
                host: self.host.clone(),
                expect: self.expect.clone(),
            },
        };
        HealthCheck {
            probe,
            ..self.check.clone()
        }
    }
}
