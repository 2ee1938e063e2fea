//! Prometheus metrics over HTTP. Every scrape asks the control loop, so that a value is as old as
//! the scrape.

use std::net::TcpListener as StdListener;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge, histogram::Histogram,
    },
    registry::{Registry, Unit},
};
use tokio::net::TcpListener;
use tracing::{error, info};

use crate::control::{Handle, MetricsSockets, view::Status};

/// Serves metrics on whichever socket came last; ends with the control loop.
pub async fn serve(mut sockets: MetricsSockets, control: Handle) {
    let mut current: Option<tokio::task::JoinHandle<()>> = None;
    while let Some(socket) = sockets.recv().await {
        if let Some(task) = current.take() {
            task.abort();
        }
        if let Some(socket) = socket {
            let control = control.clone();
            current = Some(tokio::spawn(async move {
                if let Err(error) = serve_socket(socket, control).await {
                    error!("serving metrics failed: {error}");
                }
            }));
        }
    }
}

async fn serve_socket(socket: StdListener, control: Handle) -> std::io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    info!("metrics on http://{}/metrics", listener.local_addr()?);
    let app = Router::new()
        .route("/metrics", get(scrape))
        .with_state(control);
    axum::serve(listener, app).await
}

async fn scrape(State(control): State<Handle>) -> Response {
    match control.status().await {
        Ok(status) => (
            [(
                header::CONTENT_TYPE,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            )],
            render(&status, control.decision_to_tables()),
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BackendLabels {
    service: String,
    backend: String,
    address: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TableLabels {
    table: String,
}

type Counters<L> = Family<L, Counter>;

/// The text of one scrape.
fn render(status: &Status, decision_to_tables: &Histogram) -> String {
    let mut registry = Registry::with_prefix("divvy");
    backends(status, &mut registry);
    reasons(status, &mut registry);

    let flows = Family::<TableLabels, Gauge>::default();
    let flows_max = Family::<TableLabels, Gauge>::default();
    let totals = &status.flows;
    for (table, now, max) in [
        ("confirmed", totals.confirmed, totals.confirmed_max),
        ("half_open", totals.half_open, totals.half_open_max),
    ] {
        let labels = TableLabels {
            table: table.to_owned(),
        };
        flows.get_or_create(&labels).set(signed(now));
        flows_max.get_or_create(&labels).set(signed(max));
    }
    registry.register("flows", "Tracked flows of both address families", flows);
    registry.register("flows_max", "Most flows of each address family", flows_max);
    registry.register_with_unit(
        "decision_to_tables",
        "Time from a health check's decision that a backend is up or down until the tables that \
         packets are balanced by were written; one observation for each such decision since the \
         daemon is ready",
        Unit::Seconds,
        decision_to_tables.clone(),
    );
    registry.register(
        "config_last_reload_successful",
        "1 if the last reload was applied, 0 if the file was refused",
        ConstGauge::new(i64::from(status.config.last_error.is_none())),
    );

    let mut text = String::new();
    encode(&mut text, &registry).expect("writing into a string does not fail");
    text
}

fn backends(status: &Status, registry: &mut Registry) {
    let up = Family::<BackendLabels, Gauge>::default();
    let weight = Family::<BackendLabels, Gauge>::default();
    let active = Family::<BackendLabels, Gauge>::default();
    let flows = Counters::<BackendLabels>::default();
    let packets = Counters::<BackendLabels>::default();
    let bytes = Counters::<BackendLabels>::default();
    let service_packets = Counters::<ServiceLabels>::default();
    let service_bytes = Counters::<ServiceLabels>::default();
    for service in &status.services {
        let service_labels = ServiceLabels {
            service: service.name.clone(),
        };
        for backend in &service.backends {
            let labels = BackendLabels {
                service: service.name.clone(),
                backend: backend.name.clone(),
                address: backend.address.clone(),
            };
            up.get_or_create(&labels)
                .set(i64::from(backend.state == "up"));
            weight.get_or_create(&labels).set(i64::from(backend.weight));
            active
                .get_or_create(&labels)
                .set(signed(backend.active_flows));
            flows.get_or_create(&labels).inc_by(backend.flows_total);
            packets.get_or_create(&labels).inc_by(backend.packets_total);
            bytes.get_or_create(&labels).inc_by(backend.bytes_total);
            service_packets
                .get_or_create(&service_labels)
                .inc_by(backend.packets_total);
            service_bytes
                .get_or_create(&service_labels)
                .inc_by(backend.bytes_total);
        }
    }
    registry.register("backend_up", "1 while the backend takes new flows", up);
    registry.register("backend_weight", "Weight in force", weight);
    registry.register("backend_active_flows", "Flows under way", active);
    registry.register("backend_flows", "Flows sent to the backend", flows);
    registry.register("backend_packets", "Packets, both directions", packets);
    registry.register("backend_bytes", "Bytes, both directions", bytes);
    registry.register(
        "service_packets",
        "Packets, both directions",
        service_packets,
    );
    registry.register("service_bytes", "Bytes, both directions", service_bytes);
}

fn reasons(status: &Status, registry: &mut Registry) {
    for (kind, name, help) in [
        ("drop", "drops", "Packets dropped, by reason"),
        ("pass", "passes", "Packets passed to the kernel, by reason"),
        (
            "answer",
            "answers",
            "Packets answered with a reset, by reason",
        ),
        ("event", "events", "Other events of the datapath"),
    ] {
        let counters = Counters::<ReasonLabels>::default();
        for count in status.reasons.iter().filter(|count| count.kind == kind) {
            let labels = ReasonLabels {
                reason: count.reason.clone(),
            };
            counters.get_or_create(&labels).inc_by(count.count);
        }
        registry.register(name, help, counters);
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
