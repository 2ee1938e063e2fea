//! Metrics of each service, and of the probes of its backends.

use super::{
    Family,
    family::{Labels, histogram},
};
use crate::control::view::{BackendStatus, observed::Observed};

/// In the order in which `status` documents them.
pub(super) const STATES: [&str; 4] = ["up", "down", "drain", "maint"];

pub(super) fn families(observed: &Observed) -> Vec<Family> {
    let mut backends = Family::gauge(
        "divvy_service_backends",
        "Backends of the service in each state: up, down, drain or maint.",
    );
    let mut panic = Family::gauge(
        "divvy_service_panic",
        "1 while so few backends are up that all are used, as panic_threshold says.",
    );
    let mut active = Family::gauge(
        "divvy_service_active_flows",
        "Flows under way: confirmed, and not closed by both ends.",
    );
    let mut flows = Family::counter(
        "divvy_service_flows_total",
        "Flows sent to the service's backends since their entries were made.",
    );
    let mut packets = Family::counter(
        "divvy_service_packets_total",
        "Packets of the service's flows, both directions together.",
    );
    let mut bytes = Family::counter(
        "divvy_service_bytes_total",
        "Bytes of the service's flows, both directions together, as they came, Ethernet headers included.",
    );
    for service in &observed.status.services {
        let labels: Labels<'_> = &[("service", &service.name)];
        let all = &service.backends;
        let sum = |of: &dyn Fn(&BackendStatus) -> u64| all.iter().map(of).sum::<u64>();
        for state in STATES {
            let count = all.iter().filter(|backend| backend.state == state).count();
            backends.add(&[("service", &service.name), ("state", state)], count);
        }
        panic.add(labels, u8::from(service.panic));
        active.add(labels, sum(&|backend| backend.active_flows));
        flows.add(labels, sum(&|backend| backend.flows_total));
        packets.add(labels, sum(&|backend| backend.packets_total));
        bytes.add(labels, sum(&|backend| backend.bytes_total));
    }
    let probes = probes(observed);
    vec![backends, panic, active, flows, packets, bytes, probes]
}

/// How long probes took.
pub(super) fn probe_times(observed: &Observed) -> Result<String, prometheus::Error> {
    histogram(
        "divvy_probe_duration_seconds",
        "Time that probes took which went well, from the first packet to the last.",
        (observed.probes.iter())
            .map(|(service, tally)| (Some(("service", service.clone())), tally.took_seconds())),
    )
}

fn probes(observed: &Observed) -> Family {
    let mut results = Family::counter(
        "divvy_probes_total",
        "Probes by result: ok, failed, or error for those that this host could not make.",
    );
    for (service, tally) in &observed.probes {
        for (result, count) in [
            ("ok", tally.successes()),
            ("failed", tally.failures()),
            ("error", tally.not_made()),
        ] {
            results.add(&[("service", service), ("result", result)], count);
        }
    }
    results
}
