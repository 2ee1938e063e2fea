//! What the page shows at one time, in pieces: each has a key, and is sent again when it differs from what was sent.

mod shown;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher as _},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use self::shown::{Backend, Change, Head, Reason, Service, Sum};
use super::rates::Rates;
use crate::control::view::{BackendStatus, ServiceStatus, observed::Observed};

/// With no more backends than this all are shown to everyone; beyond, those of services that somebody looks into.
const FEW_BACKENDS: usize = 300;
/// Of services that nobody looks into, so many backends at most are shown that are not up.
const PROBLEMS: usize = 100;

/// A part of the picture, written down.
pub(super) struct Piece {
    pub(super) key: String,
    pub(super) json: String,
    /// Of all of it.
    pub(super) hash: u64,
    /// Of what has to be told at once: states, not counts.
    pub(super) urgent: u64,
}

/// Backends of one service.
pub(super) struct Inside {
    pub(super) service: String,
    /// Shown to those who look into the service.
    pub(super) all: Vec<Piece>,
    /// Which of them are shown to everyone.
    pub(super) to_everyone: Vec<bool>,
}

pub(super) struct Picture {
    /// Milliseconds of the Unix epoch.
    pub(super) at_ms: u64,
    /// In the order of their importance.
    pub(super) common: Vec<Piece>,
    pub(super) inside: Vec<Inside>,
}

impl Picture {
    /// `open` are the services that somebody looks into.
    pub(super) fn of(
        observed: &Observed,
        host: &str,
        open: &HashSet<String>,
        rates: &mut Rates,
    ) -> Self {
        rates.look(Instant::now());
        let status = &observed.status;
        let count: usize = status.services.iter().map(|s| s.backends.len()).sum();
        let few = count <= FEW_BACKENDS;
        let mut problems = 0;
        let mut inside = Vec::new();
        let mut services = Vec::new();
        let mut sum = Sum::of(observed);
        for (place, service) in status.services.iter().enumerate() {
            let shown = Service::of(place, service, rates);
            sum.add(&shown);
            services.push(piece(format!("s/{}", service.name), &shown, shown.urgent()));
            let open = few || open.contains(&service.name);
            if let Some(backends) = look_inside(service, open, few, &mut problems, rates) {
                inside.push(backends);
            }
        }
        sum.drops_rate = drops_rate(observed, rates);
        let head = Head::of(observed, host, few);
        let mut common = vec![
            piece("head".to_owned(), &head, head.urgent()),
            piece("sum".to_owned(), &sum, 0),
        ];
        common.extend((observed.changes.iter()).map(|change| {
            let shown = Change::of(change);
            piece(format!("c/{}", change.number), &shown, 0)
        }));
        common.append(&mut services);
        common.extend(
            Reason::all(observed, rates)
                .map(|shown| piece(format!("r/{}", shown.reason), &shown, 0)),
        );
        Self {
            at_ms: epoch_ms(),
            common,
            inside,
        }
    }
}

/// Those backends of a service that are shown to anybody.
fn look_inside(
    service: &ServiceStatus,
    open: bool,
    few: bool,
    problems: &mut usize,
    rates: &mut Rates,
) -> Option<Inside> {
    let mut inside = Inside {
        service: service.name.clone(),
        all: Vec::new(),
        to_everyone: Vec::new(),
    };
    for (place, backend) in service.backends.iter().enumerate() {
        let problem = is_problem(backend) && *problems < PROBLEMS;
        *problems += usize::from(problem);
        if open || problem {
            let shown = Backend::of(&service.name, place, backend, rates);
            let key = format!("b/{}/{}", service.name, backend.name);
            inside.all.push(piece(key, &shown, shown.urgent()));
            inside.to_everyone.push(few || problem);
        }
    }
    (!inside.all.is_empty()).then_some(inside)
}

fn is_problem(backend: &BackendStatus) -> bool {
    backend.state != "up"
}

fn drops_rate(observed: &Observed, rates: &mut Rates) -> Option<f64> {
    let drops = (observed.status.reasons.iter()).filter(|reason| reason.kind == "drop");
    let total = drops.map(|reason| reason.count).sum();
    rates.of("drops", [total, 0, 0]).map(|rates| rates[0])
}

fn piece(key: String, shown: &impl Serialize, urgent: u64) -> Piece {
    let json = serde_json::to_string(shown).expect("text and numbers can be written");
    Piece {
        key,
        hash: hash(&json),
        json,
        urgent,
    }
}

pub(super) fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn epoch_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}
