//! The keys that a service and `defaults` share. A service is read onto the defaults: what it does
//! not say, it inherits, key by key within `timeouts` and `health_check` too.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    affinity::{self, AffinityOptions},
    health::{self, HealthOptions},
    lists::{self, Lists},
    tls::Authorities,
};
use crate::config::{
    address,
    check::HealthCheck,
    field::Field,
    parsed::{GueVariant, Mode, OnDown, Prefix, Protocol, Scheduler, Timeouts, Tunnel},
    section::Section,
    units,
};

const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(7 * 24 * 60 * 60);
const DRAIN_TIMEOUT: RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(7 * 24 * 60 * 60);
const SLOW_START: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60 * 60);

/// What a service can inherit.
#[derive(Clone)]
pub(super) struct Options<'a> {
    pub(super) protocol: Protocol,
    pub(super) mode: Mode,
    pub(super) tunnel: Tunnel,
    /// Where a section gives a tunnel of its own.
    pub(super) own_tunnel: Option<Field<'a>>,
    pub(super) scheduler: Scheduler,
    pub(super) on_down: OnDown,
    pub(super) drain_timeout: Duration,
    pub(super) slow_start: Duration,
    pub(super) panic_threshold_percent: u32,
    pub(super) timeouts: Timeouts,
    pub(super) health_check: HealthOptions<'a>,
    pub(super) lists: Lists,
    pub(super) affinity: AffinityOptions<'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            protocol: Protocol::Tcp,
            mode: Mode::Nat,
            tunnel: Tunnel::default(),
            own_tunnel: None,
            scheduler: Scheduler::Maglev,
            on_down: OnDown::Reset,
            drain_timeout: Duration::from_secs(300),
            slow_start: Duration::ZERO,
            panic_threshold_percent: 0,
            timeouts: Timeouts::default(),
            health_check: HealthOptions::default(),
            lists: Lists::default(),
            affinity: AffinityOptions::default(),
        }
    }
}

/// The section `defaults`.
pub(super) fn defaults<'a>(field: &Field<'a>) -> Option<Options<'a>> {
    let mut keys = field.section()?;
    let options = Options::onto(&Options::default(), &mut keys);
    keys.finish();
    Some(options)
}

impl<'a> Options<'a> {
    /// The options of a section; what it does not give is as in `base`.
    pub(super) fn onto(base: &Self, keys: &mut Section<'a>) -> Self {
        let inherited = base.health_check.inherited();
        let protocol = keys.inherited("protocol", &base.protocol, |field| {
            field.word(Protocol::ALL, Protocol::name, &[])
        });
        let mode = keys.inherited("mode", &base.mode, |field| {
            field.word(Mode::ALL, Mode::name, &[])
        });
        let own_tunnel = keys.take("tunnel");
        Self {
            protocol,
            mode,
            tunnel: (own_tunnel.as_ref())
                .and_then(|field| tunnel(&base.tunnel, field))
                .unwrap_or_else(|| base.tunnel.clone()),
            own_tunnel,
            scheduler: keys.inherited("scheduler", &base.scheduler, |field| {
                field.word(Scheduler::ALL, Scheduler::name, &[])
            }),
            on_down: keys.inherited("on_down", &base.on_down, |field| {
                field.word(OnDown::ALL, OnDown::name, &[])
            }),
            drain_timeout: keys.inherited("drain_timeout", &base.drain_timeout, |field| {
                field.duration(DRAIN_TIMEOUT)
            }),
            slow_start: keys.inherited("slow_start", &base.slow_start, |field| {
                field.duration(SLOW_START)
            }),
            panic_threshold_percent: keys.inherited(
                "panic_threshold",
                &base.panic_threshold_percent,
                |field| field.quantity(|text| units::percent(text, 100)),
            ),
            timeouts: keys.inherited("timeouts", &base.timeouts, |field| {
                timeouts(&base.timeouts, &field)
            }),
            health_check: keys.inherited("health_check", &inherited, |field| {
                health::onto(&inherited, &field)
            }),
            lists: lists::onto(&base.lists, keys),
            affinity: affinity::onto(&base.affinity, keys),
        }
    }
}

impl Options<'_> {
    /// The health check of the service at `field`; `None` where a problem was reported.
    pub(super) fn check(
        &self,
        field: &Field<'_>,
        authorities: &Authorities,
    ) -> Option<HealthCheck> {
        let section = field.below("health_check");
        self.health_check.check(self.mode, &section, authorities)
    }
}

fn tunnel(base: &Tunnel, field: &Field<'_>) -> Option<Tunnel> {
    let mut keys = field.section()?;
    let tunnel = Tunnel {
        sources: keys.inherited("sources", &base.sources, |field| sources(field.items()?)),
        port: keys.inherited("port", &base.port, |field| field.number(1..=u16::MAX)),
        variant: keys.inherited("variant", &base.variant, |field| {
            Some(match field.number(0..=1)? {
                0 => GueVariant::Header,
                _ => GueVariant::Bare,
            })
        }),
    };
    keys.finish();
    Some(tunnel)
}

/// At most one prefix of each family.
fn sources(items: Vec<Field<'_>>) -> Option<Vec<Prefix>> {
    let mut found: Vec<Prefix> = Vec::new();
    let mut whole = true;
    for item in items {
        let Some(prefix) = item.text(address::prefix) else {
            whole = false;
            continue;
        };
        let same_family = |other: &&Prefix| other.address.is_ipv4() == prefix.address.is_ipv4();
        if let Some(first) = found.iter().find(same_family) {
            item.refuse::<()>(format!(
                "{prefix} is a second source of its address family, after {first}; keep one"
            ));
            whole = false;
        } else {
            found.push(prefix);
        }
    }
    whole.then_some(found)
}

fn timeouts(base: &Timeouts, field: &Field<'_>) -> Option<Timeouts> {
    let timeout = |field: Field<'_>| field.duration(TIMEOUT);
    let mut keys = field.section()?;
    let timeouts = Timeouts {
        half_open: keys.inherited("half_open", &base.half_open, timeout),
        established: keys.inherited("established", &base.established, timeout),
        fin: keys.inherited("fin", &base.fin, timeout),
        reset: keys.inherited("reset", &base.reset, timeout),
        udp: keys.inherited("udp", &base.udp, timeout),
    };
    keys.finish();
    Some(timeouts)
}
