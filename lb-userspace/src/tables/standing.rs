//! What a backend may get: new flows or none, and packets of its flows or none.

use std::time::SystemTime;

use lb_common::backend::{flows, state};

use super::{
    Hold, Inputs, Panic, backend_identity, maglev::Member, obstacle, overrides_of,
    slow_start::Ramp, unix_seconds,
};
use crate::config::{Backend, OnDown, Service};

/// What the entry of a backend says of it.
pub(super) struct Standing {
    pub(super) state: u8,
    pub(super) flows: u8,
    pub(super) since_unix: u32,
}

/// Where a backend stands. One that drains and fails its probes is dead to its flows, and drains on
/// once it is well: its entry says that it drains, and since when, whatever its health. One that is
/// disabled is dead to its flows. In a panic one that is down stands as if it was up.
pub(super) fn standing(
    service: &Service,
    backend: &Backend,
    panic: Option<Panic>,
    inputs: &Inputs<'_>,
) -> Standing {
    let identity = backend_identity(service, backend.address);
    let health = inputs.health.get(&identity);
    let overrides = overrides_of(inputs.overrides, service, backend);
    let used = panic.is_some_and(|panic| panic.uses(backend))
        && overrides.hold.is_none()
        && way_is_clear(service, backend, inputs);
    let alive = used || is_alive(service, backend, inputs);
    let over = (overrides.drained())
        .and_then(|since| flows_end(service, since))
        .is_some_and(|end| end <= inputs.now);
    let disabled = overrides.disabled().is_some();
    Standing {
        state: match overrides.hold.map(|hold| hold.to) {
            Some(Hold::Drain) => state::DRAIN,
            Some(Hold::Maint) => state::MAINT,
            None if alive => state::UP,
            None => state::DOWN,
        },
        flows: match service.on_down {
            OnDown::Reset if !alive || over || disabled => flows::RESET,
            _ => flows::FORWARD,
        },
        since_unix: (overrides.hold.map(|hold| hold.since))
            .or(health.map(|health| health.since))
            .map_or(0, unix_seconds),
    }
}

/// It is healthy, and its service's mode can reach it.
pub(super) fn is_alive(service: &Service, backend: &Backend, inputs: &Inputs<'_>) -> bool {
    let health = inputs
        .health
        .get(&backend_identity(service, backend.address));
    health.is_some_and(|health| health.up) && way_is_clear(service, backend, inputs)
}

fn way_is_clear(service: &Service, backend: &Backend, inputs: &Inputs<'_>) -> bool {
    obstacle(service, inputs.next_hops.get(&backend.address.ip())).is_none()
}

/// When the flows of a backend that drains since then get what `on_down` says; `None` for never.
#[must_use]
pub fn flows_end(service: &Service, drained: SystemTime) -> Option<SystemTime> {
    drained.checked_add(service.drain_timeout)
}

/// A backend that is up and has a weight.
pub(super) struct Candidate {
    pub(super) member: Member,
    pub(super) backup: bool,
    /// Of its weight, 10-100.
    pub(super) percent: u32,
}

impl Candidate {
    pub(super) fn new(
        service: &Service,
        backend: &Backend,
        member: Member,
        inputs: &Inputs<'_>,
    ) -> Self {
        let ramp = ramp(service, inputs.came_up.get(&member.identity));
        Self {
            member,
            backup: backend.backup,
            percent: ramp.map_or(100, |ramp| ramp.percent(inputs.now)),
        }
    }
}

/// The slow start of a backend that came up then.
#[must_use]
pub fn ramp(service: &Service, came_up: Option<&SystemTime>) -> Option<Ramp> {
    came_up.map(|begun| Ramp {
        begun: *begun,
        lasts: service.slow_start,
    })
}

/// Who of them stands in the ring: the backups only if there is nobody else. While one of these has
/// a part of its weight, all weights are taken in hundredths; the ring of weights is also that of
/// their multiples, so that none of the others' slots moves between them for that.
pub(super) fn members(candidates: Vec<Candidate>) -> Vec<Member> {
    let backups_only = candidates.iter().all(|candidate| candidate.backup);
    let mut chosen: Vec<Candidate> = (candidates.into_iter())
        .filter(|candidate| candidate.backup == backups_only)
        .collect();
    let first = chosen.first().map(|candidate| candidate.percent);
    if (chosen.iter()).any(|candidate| Some(candidate.percent) != first) {
        for candidate in &mut chosen {
            candidate.member.weight *= candidate.percent;
        }
    }
    chosen.into_iter().map(|chosen| chosen.member).collect()
}

/// When these inputs call for other tables by the passing of time alone.
#[must_use]
pub fn next_change(inputs: &Inputs<'_>) -> Option<SystemTime> {
    let of_backend = |service: &Service, backend: &Backend| {
        let identity = backend_identity(service, backend.address);
        let drained = overrides_of(inputs.overrides, service, backend).drained();
        let end = drained.and_then(|since| flows_end(service, since));
        let step = ramp(service, inputs.came_up.get(&identity))
            .and_then(|ramp| ramp.next_step(inputs.now));
        [end.filter(|end| *end > inputs.now), step]
    };
    (inputs.config.services.iter())
        .flat_map(|service| (service.backends.iter()).map(move |b| (service, b)))
        .flat_map(|(service, backend)| of_backend(service, backend))
        .flatten()
        .min()
}
