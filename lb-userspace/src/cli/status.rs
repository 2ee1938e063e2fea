//! `divvy status`: services and backends.

mod backends;
mod overview;
mod watch;

use clap::{Args, ValueEnum};

use super::{
    Failure, Places,
    colour::{ColourArg, Style},
    print_json, print_text,
    table::{count, plain},
};
use crate::{api::client::Client, control::view::Status as View};

/// More backends than this are summed up.
const MANY_BACKENDS: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Only this service.
    service: Option<String>,
    /// For people, for people with a wide window, or for programs.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    #[command(flatten)]
    colour: ColourArg,
    /// Goes on showing it, with rates, until `q` is pressed.
    #[arg(long, conflicts_with = "output")]
    watch: bool,
    /// Between two looks: 100ms to 1m.
    #[arg(
        long,
        requires = "watch",
        default_value = "1s",
        value_name = "DURATION"
    )]
    interval: humantime::Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    #[default]
    Table,
    /// The table with all that is known, of every backend.
    Wide,
    Json,
}

impl Status {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        if self.watch {
            let interval = *self.interval;
            return watch::watch(places, self.service, interval, self.colour.drawn()).await;
        }
        let mut view = Client::new(&places.run_dir).status().await?;
        if let Some(wanted) = &self.service {
            only(&mut view, wanted)?;
        }
        let style = self.colour.style();
        match self.output {
            Form::Json => print_json(&view),
            Form::Table => print_text(&render(&view, self.service.is_some(), style)),
            Form::Wide => print_text(&render_wide(&view, style)),
        }
    }
}

/// Leaves all other services out.
fn only(view: &mut View, wanted: &str) -> Result<(), Failure> {
    let names: Vec<String> = view.services.iter().map(|s| s.name.clone()).collect();
    view.services.retain(|service| service.name == wanted);
    if view.services.is_empty() {
        return Err(Failure::failed(format!(
            "no service is called {wanted}; there are {}",
            listed_briefly(&names)
        )));
    }
    Ok(())
}

/// Names, but not a thousand of them.
fn listed_briefly(names: &[String]) -> String {
    const MOST: usize = 20;
    match names.len().checked_sub(MOST) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..MOST].join(", ")),
    }
}

fn render(view: &View, chosen: bool, style: Style) -> String {
    let count: usize = view.services.iter().map(|s| s.backends.len()).sum();
    let mut parts = Vec::new();
    if !chosen {
        parts.push(overview::sum(view, style));
    }
    if count > MANY_BACKENDS && !chosen {
        parts.extend(overview::services(view, style));
    } else {
        parts.extend((view.services.iter()).map(|service| backends::compact(service, style)));
    }
    parts.push(footer(view));
    parts.join("\n\n")
}

fn render_wide(view: &View, style: Style) -> String {
    let mut parts = vec![overview::sum(view, style)];
    parts.extend((view.services.iter()).map(|service| backends::wide(service, style)));
    parts.push(footer(view));
    parts.join("\n\n")
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
            "reload      failed, {} is not in force: {}",
            view.config.path,
            plain(first)
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
