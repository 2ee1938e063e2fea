//! The section `health_check`, which a service and `defaults` share.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    damping,
    tls::{self, Authorities, TlsOptions},
};
use crate::config::{
    check::{HealthCheck, HttpProbe, Probe, UdpProbe},
    field::Field,
    parsed::Mode,
    units,
};

const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);
const JITTER_MAX_PERCENT: u32 = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Tcp,
    Http,
    Https,
    Udp,
}

impl Kind {
    const ALL: &[Self] = &[Self::None, Self::Tcp, Self::Http, Self::Https, Self::Udp];
    const HTTP: &[Self] = &[Self::Http, Self::Https];
    const TLS: &[Self] = &[Self::Https];
    const UDP: &[Self] = &[Self::Udp];
    const ANSWERED: &[Self] = &[Self::Http, Self::Https, Self::Udp];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
            Self::Udp => "udp",
        }
    }
}

/// A key that only some types have.
type Limited<'a> = (Field<'a>, &'static [Kind]);

/// The section with every key filled in, those of other types as well: a service may inherit the path
/// from the defaults and choose the type itself.
#[derive(Clone)]
pub(super) struct HealthOptions<'a> {
    /// `None` for one that is not known, which was reported.
    pub(super) kind: Option<Kind>,
    path: String,
    host: Option<String>,
    statuses: Vec<RangeInclusive<u16>>,
    /// The inner one is missing where it was wrong, which was reported.
    send: Option<Option<Vec<u8>>>,
    answer: Option<Vec<u8>>,
    tls: TlsOptions,
    /// Where it is said.
    through: Option<bool>,
    /// Where it is said.
    fast_interval: Option<Duration>,
    /// Said in this very section, to be on.
    own_through: Option<Field<'a>>,
    /// All but the probe.
    check: HealthCheck,
    /// Given in this very section.
    limited: Vec<Limited<'a>>,
}

impl Default for HealthOptions<'_> {
    fn default() -> Self {
        Self {
            kind: Some(Kind::Tcp),
            path: "/".to_owned(),
            host: None,
            statuses: vec![200..=299],
            send: None,
            answer: None,
            tls: TlsOptions::default(),
            through: None,
            fast_interval: None,
            own_through: None,
            check: HealthCheck::default(),
            limited: Vec::new(),
        }
    }
}

/// The options of a section; what it does not give is as in `base`.
pub(super) fn onto<'a>(base: &HealthOptions<'a>, field: &Field<'a>) -> Option<HealthOptions<'a>> {
    let mut keys = field.section()?;
    let mut limited = Vec::new();
    let kind = match keys.take("type") {
        Some(field) => field.word(Kind::ALL, Kind::name, &[]),
        None => base.kind,
    };
    let path = keys.inherited("path", &base.path, |field| {
        limited.push((field.clone(), Kind::HTTP));
        field.text(units::http_path)
    });
    let host = keys.inherited("host", &base.host, |field| {
        limited.push((field.clone(), Kind::HTTP));
        field.text(units::http_host).map(Some)
    });
    // The section's type says what is expected: a status, or bytes.
    let (mut statuses, mut answer) = (base.statuses.clone(), base.answer.clone());
    if let Some(field) = keys.take("expect") {
        limited.push((field.clone(), Kind::ANSWERED));
        if kind == Some(Kind::Udp) {
            answer = field.text(units::bytes).or(answer);
        } else if kind.is_some() {
            statuses = field.quantity(units::statuses).unwrap_or(statuses);
        }
    }
    let send = keys.inherited("send", &base.send, |field| {
        limited.push((field.clone(), Kind::UDP));
        Some(Some(field.text(units::bytes)))
    });
    let tls = tls::onto(&base.tls, &mut keys, |field| {
        limited.push((field.clone(), Kind::TLS));
    });
    let check = HealthCheck {
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
        through: false,
        fast_interval: Duration::ZERO,
        damping: keys.inherited("damping", &base.check.damping, |field| {
            damping::damping(&field)
        }),
    };
    let fast_interval = keys.inherited("fast_interval", &base.fast_interval, |field| {
        let fast = field.duration(INTERVAL)?;
        if fast > check.interval {
            let interval = humantime::format_duration(check.interval);
            return field.refuse(format!(
                "is longer than the interval, {interval}; it is for while a backend is changing"
            ));
        }
        Some(Some(fast))
    });
    let mut own_through = None;
    let through = keys.inherited("through", &base.through, |field| {
        let on = field.switch()?;
        own_through = on.then_some(field);
        Some(Some(on))
    });
    keys.finish();
    Some(HealthOptions {
        kind,
        path,
        host,
        statuses,
        send,
        answer,
        tls,
        through,
        fast_interval,
        own_through,
        check,
        limited,
    })
}

impl HealthOptions<'_> {
    /// What a section that says nothing has: all of this, but none of its problems.
    pub(super) fn inherited(&self) -> Self {
        Self {
            limited: Vec::new(),
            own_through: None,
            ..self.clone()
        }
    }

    /// Reports the keys of this section that its type does not have. Those of the defaults may serve
    /// a service of another type: `used` are the types of all services.
    pub(super) fn refuse_idle_keys(&self, used: &[Option<Kind>]) {
        let (Some(own), false) = (self.kind, used.contains(&None)) else {
            return;
        };
        for (field, kinds) in &self.limited {
            let idle = |kind: Kind| !kinds.contains(&kind);
            if idle(own) && used.iter().flatten().all(|kind| idle(*kind)) {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                field.refuse::<()>(format!(
                    "is only for health checks of type {}, and this one is {}; remove it or set \
                     type: {}",
                    units::either(&names).replace('`', ""),
                    own.name(),
                    names[0],
                ));
            }
        }
    }

    /// Nothing here says on which port to probe, and something is to be probed.
    pub(super) fn needs_port(&self) -> bool {
        self.check.port.is_none() && !matches!(self.kind, Some(Kind::None) | None)
    }

    /// The health check, its defaults now settled; `None` where a problem was reported at `field`,
    /// its place in the service of this mode.
    pub(super) fn check(
        &self,
        mode: Mode,
        field: &Field<'_>,
        authorities: &Authorities,
    ) -> Option<HealthCheck> {
        let http = || HttpProbe {
            path: self.path.clone(),
            host: self.host.clone(),
            expect: self.statuses.clone(),
        };
        let probe = match self.kind? {
            Kind::None => Probe::None,
            Kind::Tcp => Probe::Tcp,
            Kind::Http => Probe::Http(http()),
            Kind::Https => {
                let tls = self.tls.settled(self.host.as_deref(), field, authorities);
                Probe::Https(http(), tls?)
            }
            Kind::Udp => {
                let Some(send) = self.send.clone() else {
                    return field.refuse(
                        "is of type udp and has nothing to send; give `send`, a question that the \
                         server answers",
                    );
                };
                Probe::Udp(UdpProbe {
                    send: send?,
                    expect: self.answer.clone(),
                })
            }
        };
        if let Some(field) = &self.own_through
            && !mode.is_one_way()
        {
            field.refuse::<()>(format!(
                "has no effect in mode {}, in which backends never see the vip; remove it",
                mode.name()
            ));
        }
        // A service may have a shorter interval than the defaults.
        let fast = self.fast_interval.unwrap_or(self.check.interval);
        Some(HealthCheck {
            fast_interval: fast.min(self.check.interval),
            through: mode.is_one_way() && probe != Probe::None && self.through.unwrap_or(true),
            probe,
            ..self.check.clone()
        })
    }
}
