//! The keys that a service and `defaults` share. A service is read onto the defaults: what it does
//! not say, it inherits, key by key within `timeouts` and `health_check` too.

use std::{ops::RangeInclusive, time::Duration};

use super::health::{self, HealthOptions};
use crate::config::{
    field::Field,
    parsed::{Mode, OnDown, Protocol, Scheduler, Timeouts},
    section::Section,
};

const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(7 * 24 * 60 * 60);

/// What a service can inherit.
#[derive(Clone)]
pub(super) struct Options<'a> {
    pub(super) protocol: Protocol,
    pub(super) mode: Mode,
    pub(super) scheduler: Scheduler,
    pub(super) on_down: OnDown,
    pub(super) timeouts: Timeouts,
    pub(super) health_check: HealthOptions<'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            protocol: Protocol::Tcp,
            mode: Mode::Nat,
            scheduler: Scheduler::Maglev,
            on_down: OnDown::Reset,
            timeouts: Timeouts::default(),
            health_check: HealthOptions::default(),
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
        let options = Self {
            protocol: keys.inherited("protocol", &base.protocol, |field| {
                field.word(Protocol::ALL, Protocol::name, &["udp"])
            }),
            mode: keys.inherited("mode", &base.mode, |field| {
                field.word(Mode::ALL, Mode::name, &["route", "dsr", "ipip", "gue"])
            }),
            scheduler: keys.inherited("scheduler", &base.scheduler, |field| {
                let later = ["least_conn", "round_robin", "random"];
                field.word(Scheduler::ALL, Scheduler::name, &later)
            }),
            on_down: keys.inherited("on_down", &base.on_down, |field| {
                field.word(OnDown::ALL, OnDown::name, &[])
            }),
            timeouts: keys.inherited("timeouts", &base.timeouts, |field| {
                timeouts(&base.timeouts, &field)
            }),
            health_check: keys.inherited("health_check", &inherited, |field| {
                health::onto(&inherited, &field)
            }),
        };
        keys.optional("affinity", (), |field| {
            field.word(&[()], |()| "none", &["client_ip"])
        });
        keys.later("drain_timeout");
        options
    }
}

fn timeouts(base: &Timeouts, field: &Field<'_>) -> Option<Timeouts> {
    let timeout = |field: Field<'_>| field.duration(TIMEOUT);
    let mut keys = field.section()?;
    let timeouts = Timeouts {
        half_open: keys.inherited("half_open", &base.half_open, timeout),
        established: keys.inherited("established", &base.established, timeout),
        fin: keys.inherited("fin", &base.fin, timeout),
        reset: keys.inherited("reset", &base.reset, timeout),
    };
    keys.finish();
    Some(timeouts)
}
