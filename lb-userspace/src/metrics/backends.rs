//! Metrics of each backend.

use super::{Family, family::Labels};
use crate::control::view::Status;

pub(super) fn families(status: &Status) -> Vec<Family> {
    let mut up = Family::gauge(
        "divvy_backend_up",
        "1 while the backend takes new flows, 0 while it is down, drains or is disabled.",
    );
    let mut down = Family::gauge(
        "divvy_backend_down",
        "1 while the backend is down by its health or the way to it, 0 otherwise, also while the operator drains or \
         disables it.",
    );
    let mut weight = Family::gauge(
        "divvy_backend_weight",
        "Weight in force, that of the file or the operator's.",
    );
    let mut active = Family::gauge(
        "divvy_backend_active_flows",
        "Flows under way: confirmed, and not closed by both ends.",
    );
    let mut flows = Family::counter(
        "divvy_backend_flows_total",
        "Flows sent to the backend since its entry was made.",
    );
    let mut packets = Family::counter(
        "divvy_backend_packets_total",
        "Packets of the backend's flows, both directions together.",
    );
    let mut bytes = Family::counter(
        "divvy_backend_bytes_total",
        "Bytes of the backend's flows, both directions together, as they came, Ethernet headers included.",
    );
    for service in &status.services {
        for backend in &service.backends {
            let labels: Labels<'_> = &[
                ("service", &service.name),
                ("backend", &backend.name),
                ("address", &backend.address),
            ];
            up.add(labels, u8::from(backend.state == "up"));
            down.add(labels, u8::from(backend.state == "down"));
            weight.add(labels, backend.weight);
            active.add(labels, backend.active_flows);
            flows.add(labels, backend.flows_total);
            packets.add(labels, backend.packets_total);
            bytes.add(labels, backend.bytes_total);
        }
    }
    vec![up, down, weight, active, flows, packets, bytes]
}
