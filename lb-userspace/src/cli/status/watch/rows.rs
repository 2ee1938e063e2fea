//! Which lines there are, and in what order: services, and below each open one its backends.

use std::cmp::Ordering;

use super::{model::Model, rates};
use crate::{
    cli::status::backends::worst,
    control::view::{BackendStatus, ServiceStatus, Status},
};

/// A line of the list, by places in the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Service(usize),
    Backend(usize, usize),
}

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// As in the file.
    #[default]
    File,
    /// What is down, then what drains.
    State,
    /// Packets per second, the most first.
    Packets,
    /// Active flows, the most first.
    Active,
    Name,
}

impl Order {
    const ALL: [Self; 5] = [
        Self::File,
        Self::State,
        Self::Packets,
        Self::Active,
        Self::Name,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::State => "state",
            Self::Packets => "packets",
            Self::Active => "active",
            Self::Name => "name",
        }
    }

    pub(super) fn next(self) -> Self {
        let place = Self::ALL.iter().position(|order| *order == self);
        Self::ALL[(place.unwrap_or(0) + 1) % Self::ALL.len()]
    }
}

/// The lines of what the model has, searches and holds open.
pub(super) fn rows(model: &Model) -> Vec<Row> {
    let view = &model.view;
    let mut rows = Vec::new();
    for s in services_in_order(model) {
        let service = &view.services[s];
        let whole = model.search.is_empty() || service_matches(service, &model.search);
        let mut backends: Vec<usize> = (0..service.backends.len())
            .filter(|b| whole || backend_matches(&service.backends[*b], &model.search))
            .filter(|b| !model.problems_only || is_problem(&service.backends[*b]))
            .collect();
        let nothing_left = backends.is_empty();
        if nothing_left && (!whole || (model.problems_only && !service.panic)) {
            continue;
        }
        rows.push(Row::Service(s));
        // What is looked for is shown.
        let found = (!model.search.is_empty() && !whole) || model.problems_only;
        if found || model.is_open(&service.name) {
            sort(
                &mut backends,
                |b| {
                    let backend = &service.backends[*b];
                    let packets = model.tracker.now(&service.name, backend).map(|r| r.packets);
                    Rank {
                        state: place_of(&backend.state),
                        packets: packets.unwrap_or(-1.0),
                        active: backend.active_flows,
                        name: &backend.name,
                    }
                },
                model.order,
            );
            rows.extend(backends.into_iter().map(|b| Row::Backend(s, b)));
        }
    }
    rows
}

fn services_in_order(model: &Model) -> Vec<usize> {
    let Status { services, .. } = &model.view;
    let mut order: Vec<usize> = (0..services.len()).collect();
    sort(
        &mut order,
        |s| {
            let service = &services[*s];
            let packets =
                rates::sum((service.backends.iter()).map(|b| model.tracker.now(&service.name, b)));
            Rank {
                state: if service.panic {
                    0
                } else {
                    place_of(worst(service))
                },
                packets: packets.map_or(-1.0, |rates| rates.packets),
                active: service.backends.iter().map(|b| b.active_flows).sum(),
                name: &service.name,
            }
        },
        model.order,
    );
    order
}

/// By what a line may be sorted.
struct Rank<'a> {
    /// The worst first.
    state: usize,
    packets: f64,
    active: u64,
    name: &'a str,
}

fn sort<'a>(places: &mut [usize], rank: impl Fn(&usize) -> Rank<'a>, order: Order) {
    let by: fn(&Rank<'_>, &Rank<'_>) -> Ordering = match order {
        Order::File => return,
        Order::State => |a, b| a.state.cmp(&b.state),
        Order::Packets => |a, b| b.packets.total_cmp(&a.packets),
        Order::Active => |a, b| b.active.cmp(&a.active),
        Order::Name => |a, b| a.name.cmp(b.name),
    };
    // Each is ranked once: thousands of sums are not to be made anew for each comparison.
    let mut ranked: Vec<(Rank<'_>, usize)> = places.iter().map(|p| (rank(p), *p)).collect();
    ranked.sort_by(|(a, _), (b, _)| by(a, b));
    for (place, (_, sorted)) in places.iter_mut().zip(ranked) {
        *place = sorted;
    }
}

fn place_of(state: &str) -> usize {
    (["down", "drain", "maint", "up"].iter())
        .position(|known| *known == state)
        .unwrap_or(0)
}

fn is_problem(backend: &BackendStatus) -> bool {
    backend.state != "up" || backend.overridden.is_some()
}

fn service_matches(service: &ServiceStatus, search: &str) -> bool {
    holds(&service.name, search) || service.vips.iter().any(|vip| holds(vip, search))
}

fn backend_matches(backend: &BackendStatus, search: &str) -> bool {
    [
        &backend.name,
        &backend.address,
        &backend.state,
        &backend.reason,
    ]
    .into_iter()
    .any(|text| holds(text, search))
}

/// Whatever the case; `search` is in lower case.
fn holds(text: &str, search: &str) -> bool {
    text.to_lowercase().contains(search)
}
