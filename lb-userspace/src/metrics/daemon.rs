//! Metrics of the daemon itself: its tables, its configuration, where its program runs, and its process.

use std::time::UNIX_EPOCH;

use prometheus::{
    Histogram, TextEncoder,
    core::{Collector as _, Metric as _},
    process_collector::ProcessCollector,
};

use super::{Family, family::histogram};
use crate::control::view::{
    Status,
    observed::{Observed, Reloads},
};

pub(super) fn families(observed: &Observed) -> Vec<Family> {
    let status = &observed.status;
    let mut families = flows(observed);
    families.extend(reasons(status));
    families.extend(config(status, &observed.reloads));
    families.push(interfaces(status));

    let mut build = Family::gauge(
        "divvy_build_info",
        "1, with the daemon's version and that of the pinned tables' layout.",
    );
    let layout = status.layout.to_string();
    build.add(&[("version", &status.version), ("layout", &layout)], 1);
    families.push(build);
    families
}

/// How long decisions took to reach the tables.
pub(super) fn decisions(took: &Histogram) -> Result<String, prometheus::Error> {
    histogram(
        "divvy_decision_to_tables_seconds",
        "Time from a health check's decision that a backend is up or down until the tables that packets are balanced \
         by were written; one observation for each such decision since the daemon is ready.",
        std::iter::once((None, took.metric().get_histogram().clone())),
    )
}

/// What the kernel tells of the process: CPU, memory, descriptors, start.
pub(super) fn process() -> Result<String, prometheus::Error> {
    TextEncoder::new().encode_to_string(&ProcessCollector::for_self().collect())
}

fn flows(observed: &Observed) -> Vec<Family> {
    let mut flows = Family::gauge("divvy_flows", "Tracked flows of both address families.");
    let mut flows_max = Family::gauge(
        "divvy_flows_max",
        "Flows of each address family that the tables are made for.",
    );
    let totals = &observed.status.flows;
    for (table, now, max) in [
        ("confirmed", totals.confirmed, totals.confirmed_max),
        ("half_open", totals.half_open, totals.half_open_max),
    ] {
        flows.add(&[("table", table)], now);
        flows_max.add(&[("table", table)], max);
    }
    let mut fill = Family::gauge(
        "divvy_flow_table_fill_ratio",
        "Flows in the flow table of this address family, as a part of those that it is made for.",
    );
    for table in &observed.flow_tables {
        let labels = &[("family", table.family), ("table", table.table)];
        fill.add(labels, table.flows as f64 / table.max.max(1) as f64);
    }
    let mut entries = Family::gauge(
        "divvy_table_entries",
        "Entries in use of a table of the datapath.",
    );
    let mut entries_max = Family::gauge("divvy_table_entries_max", "Most entries of that table.");
    for table in &observed.tables {
        entries.add(&[("table", table.table)], table.entries);
        entries_max.add(&[("table", table.table)], table.max);
    }
    vec![flows, flows_max, fill, entries, entries_max]
}

fn reasons(status: &Status) -> [Family; 4] {
    [
        ("drop", "divvy_drops_total", "Packets dropped, by reason."),
        (
            "pass",
            "divvy_passes_total",
            "Packets passed to the kernel, by reason.",
        ),
        (
            "answer",
            "divvy_answers_total",
            "Packets answered by the program itself, by reason.",
        ),
        (
            "event",
            "divvy_events_total",
            "Other events of the datapath, by reason.",
        ),
    ]
    .map(|(kind, name, help)| {
        let mut family = Family::counter(name, help);
        for count in status.reasons.iter().filter(|count| count.kind == kind) {
            family.add(&[("reason", &count.reason)], count.count);
        }
        family
    })
}

fn config(status: &Status, reloads: &Reloads) -> [Family; 3] {
    let mut last = Family::gauge(
        "divvy_config_last_reload_successful",
        "1 if the last reload was applied or there was none, 0 if it failed.",
    );
    last.add(&[], u8::from(status.config.last_error.is_none()));
    let mut at = Family::gauge(
        "divvy_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read, seconds of the Unix epoch.",
    );
    let since = reloads.last_success.duration_since(UNIX_EPOCH);
    at.add(&[], since.unwrap_or_default().as_secs_f64());
    let mut count = Family::counter(
        "divvy_config_reloads_total",
        "Reloads since the daemon started, by result: success or failure.",
    );
    for (result, reloads) in [("success", reloads.succeeded), ("failure", reloads.failed)] {
        count.add(&[("result", result)], reloads);
    }
    [last, at, count]
}

fn interfaces(status: &Status) -> Family {
    let mut modes = Family::gauge(
        "divvy_interface_xdp_mode",
        "1 for the mode in which the program is attached to the interface: native, generic, or detached for not at \
         all; 0 for the others.",
    );
    for interface in &status.interfaces {
        for mode in ["native", "generic", "detached"] {
            modes.add(
                &[("interface", &interface.name), ("mode", mode)],
                u8::from(interface.xdp == mode),
            );
        }
    }
    modes
}
