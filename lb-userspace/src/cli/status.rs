//! `divvy status`: services and backends.

use clap::Args;

use super::{
    Failure, Output, OutputArg, Places, print_json, print_text,
    table::{ago, bytes, count, indented, table},
};
use crate::{
    api::client::Client,
    control::view::{BackendStatus, ServiceStatus, Status as View, listed},
};

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only this service.
    service: Option<String>,
    #[command(flatten)]
    output: OutputArg,
}

impl Status {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        let mut view = Client::new(&places.run_dir).status().await?;
        if let Some(wanted) = &self.service {
            let names: Vec<String> = view.services.iter().map(|s| s.name.clone()).collect();
            view.services.retain(|service| service.name == *wanted);
            if view.services.is_empty() {
                return Err(Failure::failed(format!(
                    "no service is called {wanted}; there are {}",
                    names.join(", ")
                )));
            }
        }
        match self.output.output {
            Output::Json => print_json(&view),
            Output::Table => print_text(&render(&view)),
        }
    }
}

fn render(view: &View) -> String {
    let mut parts: Vec<String> = view.services.iter().map(render_service).collect();
    parts.push(footer(view));
    parts.join("\n\n")
}

fn render_service(service: &ServiceStatus) -> String {
    let up = (service.backends.iter())
        .filter(|backend| backend.state == "up")
        .count();
    let overridden = service.backends.iter().any(|b| b.overridden.is_some());
    let mut headings = vec![
        "BACKEND", "ADDRESS", "STATE", "SINCE", "WEIGHT", "ACTIVE", "FLOWS", "PACKETS", "BYTES",
    ];
    headings.extend(overridden.then_some("OVERRIDE"));
    headings.push("REASON");
    let mut table = table(
        &headings,
        &["SINCE", "WEIGHT", "ACTIVE", "FLOWS", "PACKETS", "BYTES"],
    );
    for backend in &service.backends {
        let mut row = vec![
            if backend.backup {
                format!("{} (backup)", backend.name)
            } else {
                backend.name.clone()
            },
            backend.address.clone(),
            backend.state.clone(),
            ago(&backend.since),
            backend.weight.to_string(),
            count(backend.active_flows),
            count(backend.flows_total),
            count(backend.packets_total),
            bytes(backend.bytes_total),
        ];
        row.extend(overridden.then(|| override_words(backend)));
        row.push(reason(backend));
        table.add_row(row);
    }
    format!(
        "{}  {}/{}, {}  {}  {up} of {} up{}{}\n{}",
        service.name,
        service.protocol,
        service.mode,
        service.scheduler,
        service.vips.join(" "),
        service.backends.len(),
        if service.panic {
            ", too few: all are used"
        } else {
            ""
        },
        match service.announced.as_slice() {
            [] => String::new(),
            addresses => format!(", announced: {}", listed(addresses)),
        },
        indented(&table)
    )
}

/// `drain, weight 5 (file: 2)`.
fn override_words(backend: &BackendStatus) -> String {
    let Some(overridden) = &backend.overridden else {
        return String::new();
    };
    let weight = (overridden.weight)
        .map(|weight| format!("weight {weight} (file: {})", backend.weight_configured));
    let parts: Vec<String> = (overridden.state.clone())
        .into_iter()
        .chain(weight)
        .collect();
    parts.join(", ")
}

/// Why a backend is in its state, and what was wrong last, where that is not the same.
fn reason(backend: &BackendStatus) -> String {
    match (&backend.last_error, &backend.last_error_at) {
        (Some(error), Some(at)) if !backend.reason.contains(error) => {
            format!("{}; {} ago: {error}", backend.reason, ago(at))
        }
        _ => backend.reason.clone(),
    }
}

fn footer(view: &View) -> String {
    let interfaces: Vec<String> = (view.interfaces.iter())
        .map(|interface| format!("{} ({})", interface.name, interface.xdp))
        .collect();
    let flows = &view.flows;
    let mut lines = vec![
        format!("interfaces  {}", interfaces.join(", ")),
        format!(
            "flows       {} of {} confirmed, {} of {} half-open",
            flows.confirmed, flows.confirmed_max, flows.half_open, flows.half_open_max
        ),
    ];
    for (kind, label) in [("drop", "drops"), ("answer", "resets sent")] {
        let counts: Vec<String> = (view.reasons.iter())
            .filter(|reason| reason.kind == kind && reason.count > 0)
            .map(|reason| format!("{} {}", reason.reason, count(reason.count)))
            .collect();
        if !counts.is_empty() {
            lines.push(format!("{label:<11} {}", counts.join(", ")));
        }
    }
    if let Some(error) = &view.config.last_error {
        let first = error.lines().next().unwrap_or_default();
        lines.push(format!(
            "reload      failed, {} is not in force: {first}",
            view.config.path
        ));
    }
    lines.join("\n")
}
