//! `divvy diff`: what a reload would change. The daemon finds it out, by its own file, health and
//! tables; nothing is changed.

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::{Failure, Output, OutputArg, Places, print_json, print_text, warn_if_writable};
use crate::{
    api::client::Client,
    config,
    control::view::diff::{BackendDiff, Change, Diff as View, RingDiff, ServiceDiff, Setting},
};

/// Most values of a list that are told one by one.
const MANY: usize = 6;

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The file that would be applied; the one of --config if omitted.
    file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArg,
}

impl Diff {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        let file = self.file.as_ref().unwrap_or(&places.config);
        let text = config::read(file).map_err(Failure::invalid_config)?;
        warn_if_writable(file);
        let view = Client::new(&places.run_dir).diff(text, file).await?;
        match self.output.output {
            Output::Json => print_json(&view),
            Output::Table => print_text(&render(&view)),
        }
    }
}

fn render(view: &View) -> String {
    if view.is_empty() {
        return "nothing would change".to_owned();
    }
    let mut lines: Vec<String> = view.settings.iter().map(setting).collect();
    for service in &view.services {
        lines.extend(service_lines(service));
    }
    lines.push(format!(
        "flows: {}",
        flows(view.flows_reset, view.flows_drained)
    ));
    lines.join("\n")
}

fn service_lines(service: &ServiceDiff) -> Vec<String> {
    let mut lines = vec![format!("{} service {}", sign(service.change), service.name)];
    lines.extend(service.settings.iter().map(|s| indented(1, &setting(s))));
    for backend in &service.backends {
        lines.push(indented(1, &backend_line(backend)));
        lines.extend(backend.settings.iter().map(|s| indented(2, &setting(s))));
    }
    lines.extend(
        service
            .rings
            .iter()
            .map(|ring| indented(1, &ring_line(ring))),
    );
    if service.flows_reset + service.flows_drained > 0 {
        let flows = flows(service.flows_reset, service.flows_drained);
        lines.push(indented(1, &format!("flows: {flows}")));
    }
    lines
}

fn backend_line(backend: &BackendDiff) -> String {
    let mut line = format!(
        "{} backend {} {}",
        sign(backend.change),
        backend.name,
        backend.address
    );
    if backend.flows_reset + backend.flows_drained > 0 {
        line.push_str(&format!(
            ": {}",
            flows(backend.flows_reset, backend.flows_drained)
        ));
    }
    if backend.loses_override {
        line.push_str("; its override is lost");
    }
    line
}

fn ring_line(ring: &RingDiff) -> String {
    let share = |moved: u64| format!("{:.2} %", moved as f64 * 100.0 / ring.slots as f64);
    let mut line = format!(
        "ring {}: {} of its slots move",
        ring.family,
        share(ring.moved)
    );
    if ring.moved_when_up != ring.moved {
        line.push_str(&format!(
            " at once, {} once new backends are up",
            share(ring.moved_when_up)
        ));
    }
    line
}

/// `3 would be reset, 40 would run on at backends that get no new ones`.
fn flows(reset: u64, drained: u64) -> String {
    let mut parts = Vec::new();
    if reset > 0 {
        parts.push(format!("{reset} would be reset"));
    }
    if drained > 0 {
        parts.push(format!(
            "{drained} would run on at backends that get no new ones"
        ));
    }
    if parts.is_empty() {
        return "none would be reset".to_owned();
    }
    parts.join(", ")
}

fn sign(change: Change) -> char {
    match change {
        Change::Added => '+',
        Change::Changed => '~',
        Change::Removed => '-',
    }
}

fn setting(setting: &Setting) -> String {
    let Setting {
        key,
        before,
        after,
        note,
    } = setting;
    let mut line = match (before, after) {
        (Value::Array(before), Value::Array(after)) => {
            let gone = list('-', before, after);
            let come = list('+', after, before);
            let parts: Vec<String> = [gone, come].into_iter().flatten().collect();
            match parts[..] {
                [] => format!("~ {key}: in another order"),
                _ => format!("~ {key}: {}", parts.join(" ")),
            }
        }
        _ => format!("~ {key}: {} -> {}", value(before), value(after)),
    };
    if let Some(note) = note {
        line.push_str(&format!(" ({note})"));
    }
    line
}

/// Those of `these` that are not among the `others`.
fn list(sign: char, these: &[Value], others: &[Value]) -> Option<String> {
    let only: Vec<&Value> = these.iter().filter(|one| !others.contains(one)).collect();
    let mut words: Vec<String> = (only.iter().take(MANY))
        .map(|one| format!("{sign}{}", value(one)))
        .collect();
    if only.len() > MANY {
        words.push(format!("{sign}({} more)", only.len() - MANY));
    }
    (!words.is_empty()).then(|| words.join(" "))
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn indented(level: usize, line: &str) -> String {
    format!("{}{line}", "    ".repeat(level))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_told_by_what_comes_and_goes() {
        let told = |before: Value, after: Value| {
            setting(&Setting {
                key: "allow".to_owned(),
                before,
                after,
                note: None,
            })
        };
        assert_eq!(told(json!(["a", "b"]), json!(["b", "c"])), "~ allow: -a +c");
        assert_eq!(
            told(json!(["a", "b"]), json!(["b", "a"])),
            "~ allow: in another order"
        );
        let many: Vec<u32> = (0..20).collect();
        assert_eq!(
            told(json!([]), json!(many)),
            "~ allow: +0 +1 +2 +3 +4 +5 +(14 more)"
        );
        assert_eq!(told(json!(null), json!("10m")), "~ allow: none -> 10m");
    }

    #[test]
    fn shares_and_flows_are_told_in_words() {
        let ring = |moved, moved_when_up| RingDiff {
            family: "IPv4".to_owned(),
            slots: 200,
            moved,
            moved_when_up,
        };
        assert_eq!(
            ring_line(&ring(3, 3)),
            "ring IPv4: 1.50 % of its slots move"
        );
        assert_eq!(
            ring_line(&ring(0, 50)),
            "ring IPv4: 0.00 % of its slots move at once, 25.00 % once new backends are up"
        );
        assert_eq!(flows(0, 0), "none would be reset");
        assert_eq!(
            flows(2, 1),
            "2 would be reset, 1 would run on at backends that get no new ones"
        );
    }
}
