//! `divvy flows`: tracked flows, filtered.

use std::{net::IpAddr, time::Duration};

use clap::Args;

use super::{
    Failure, Output, OutputArg, Places, print_json, print_text,
    table::{short, table},
};
use crate::{
    api::client::Client,
    control::view::{FlowFilter, Flows as View},
};

#[derive(Debug, Args)]
pub(super) struct Flows {
    /// Only flows of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only flows of backends with this name.
    #[arg(long)]
    backend: Option<String>,
    /// Only flows of this client.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// Only flows in this state.
    #[arg(long, value_parser = [
        "half_open", "syn_acked", "answered", "established", "fin", "closed", "reset",
    ])]
    state: Option<String>,
    /// Show at most so many.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print only how many there are.
    #[arg(long)]
    count: bool,
    #[command(flatten)]
    output: OutputArg,
}

impl Flows {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        let filter = FlowFilter {
            service: self.service,
            backend: self.backend,
            client: self.client,
            state: self.state,
            limit: if self.count { Some(0) } else { self.limit },
        };
        let view = Client::new(&places.run_dir).flows(&filter).await?;
        match (self.output.output, self.count) {
            (Output::Json, true) => print_json(&serde_json::json!({ "count": view.count })),
            (Output::Json, false) => print_json(&view),
            (Output::Table, true) => print_text(&view.count.to_string()),
            (Output::Table, false) => print_text(&render(&view)),
        }
    }
}

fn render(view: &View) -> String {
    if view.count == 0 {
        return "no flows".to_owned();
    }
    let mut table = table(
        &[
            "CLIENT", "VIP", "PROTOCOL", "SERVICE", "BACKEND", "SEEN AS", "STATE", "IDLE",
        ],
        &["IDLE"],
    );
    for flow in &view.flows {
        table.add_row([
            flow.client.to_string(),
            flow.vip.to_string(),
            flow.protocol.clone(),
            flow.service.clone(),
            format!("{} {}", flow.backend, flow.backend_address),
            flow.source.to_string(),
            flow.state.clone(),
            short(Duration::from_secs_f64(flow.idle.max(0.0))),
        ]);
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect();
    let mut text = lines.join("\n");
    if (view.flows.len() as u64) < view.count {
        text.push_str(&format!("\n{} of {} flows", view.flows.len(), view.count));
    }
    text
}
