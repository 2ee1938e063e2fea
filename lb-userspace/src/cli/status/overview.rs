//! Many services: a sum, then what is not in order, then the rest in few lines.

use comfy_table::Cell;

use super::backends::{self, worst};
use crate::{
    cli::{
        colour::{Style, of_state},
        table::{count, cut, grouped, indented, several, table},
    },
    control::view::{BackendStatus, ServiceStatus, Status},
};

/// Services out of order that are shown with their backends.
const SHOWN: usize = 50;
/// Services in order that get a line each; of more, only their number is told.
const LISTED: usize = 50;
const VIPS: usize = 2;

pub(super) const STATES: [&str; 4] = ["up", "down", "drain", "maint"];

/// `2 services, 6 backends: 5 up, 1 down`.
pub(super) fn sum(view: &Status, style: Style) -> String {
    let mut parts = Vec::new();
    let backends = || view.services.iter().flat_map(|s| &s.backends);
    for state in STATES {
        let number = backends().filter(|b| b.state == state).count();
        if number > 0 {
            let words = format!("{} {state}", grouped(number));
            parts.push(style.paint(&words, of_state(state)));
        }
    }
    let counts = format!(
        "{}, {}",
        style.bold(&several(view.services.len(), "service")),
        several(backends().count(), "backend")
    );
    match parts.is_empty() {
        true => counts,
        false => format!("{counts}: {}", parts.join(", ")),
    }
}

/// What is not in order first, each with the backends that are not up.
pub(super) fn services(view: &Status, style: Style) -> Vec<String> {
    let (good, bad): (Vec<&ServiceStatus>, Vec<&ServiceStatus>) =
        view.services.iter().partition(|s| is_in_order(s));
    let mut parts: Vec<String> = (bad.iter().take(SHOWN))
        .map(|service| {
            let text = backends::some(service, |b| b.state != "up" || overridden(b), style);
            let rest = (service.backends.iter())
                .filter(|b| b.state == "up" && !overridden(b))
                .count();
            match rest {
                0 => text,
                _ => format!("{text}\n  and {rest} up"),
            }
        })
        .collect();
    if let Some(more @ 1..) = bad.len().checked_sub(SHOWN) {
        let them = several(more, "more service");
        parts.push(format!("and {them} that are not in order"));
    }
    let everywhere = "`divvy status SERVICE` shows one with its backends, `-o wide` all";
    parts.push(if good.len() <= LISTED {
        let list = list(&good, style);
        format!("{list}\n{everywhere}")
    } else {
        format!(
            "{} with every backend up; {everywhere}",
            several(good.len(), "service")
        )
    });
    parts
}

/// Whether nothing of it needs a look: nobody decided anything over it, and all is up.
fn is_in_order(service: &ServiceStatus) -> bool {
    let fine = |b: &_| !overridden(b);
    worst(service) == "up" && !service.panic && service.backends.iter().all(fine)
}

fn overridden(backend: &BackendStatus) -> bool {
    backend.overridden.is_some()
}

/// A line for each.
fn list(services: &[&ServiceStatus], style: Style) -> String {
    if services.is_empty() {
        return "no service has all its backends up".to_owned();
    }
    let mut table = table(
        &["SERVICE", "MODE", "UP", "ACTIVE", "FLOWS", "VIPS"],
        &["ACTIVE", "FLOWS"],
    );
    if style.colour {
        table.enforce_styling();
    }
    for service in services {
        let total = service.backends.len();
        let sum = |of: fn(&_) -> u64| count(service.backends.iter().map(of).sum());
        let mut vips = service.vips[..service.vips.len().min(VIPS)].join(" ");
        if service.vips.len() > VIPS {
            vips.push_str(&format!(" and {} more", service.vips.len() - VIPS));
        }
        table.add_row([
            Cell::new(&service.name),
            Cell::new(format!("{}/{}", service.protocol, service.mode)),
            Cell::new(format!("{total} of {total}")).fg(of_state("up").into()),
            Cell::new(sum(|b: &BackendStatus| b.active_flows)),
            Cell::new(sum(|b| b.flows_total)),
            Cell::new(cut(&vips, 60)),
        ]);
    }
    indented(&table)
}
