//! The backends of a service, one line each.

use comfy_table::Cell;

use crate::{
    cli::{
        colour::{Style, of_state},
        table::{ago, bytes, count, cut, indented, plain, table},
    },
    control::view::{BackendStatus, ServiceStatus, listed},
};

/// Room that a reason should have before other columns are left out for it.
const REASON_ROOM: usize = 24;
/// Between two columns.
const GAP: usize = 2;
/// Before the first one.
const INDENT: usize = 2;
/// Vips in the head of a service, where not all are wanted.
const VIPS: usize = 3;

/// One column: what it says of a backend.
struct Column {
    heading: &'static str,
    right: bool,
    /// Left out where the terminal is too narrow; the highest first.
    spared: u8,
    text: fn(&BackendStatus) -> String,
}

const fn column(heading: &'static str, text: fn(&BackendStatus) -> String) -> Column {
    Column {
        heading,
        right: false,
        spared: 0,
        text,
    }
}

const fn right(heading: &'static str, text: fn(&BackendStatus) -> String) -> Column {
    Column {
        right: true,
        ..column(heading, text)
    }
}

const fn sparable(spared: u8, column: Column) -> Column {
    Column { spared, ..column }
}

/// All backends of the service, as wide as the terminal.
pub(super) fn compact(service: &ServiceStatus, style: Style) -> String {
    some(service, |_| true, style)
}

/// Its head, and those backends that are asked for.
pub(super) fn some(
    service: &ServiceStatus,
    wanted: impl Fn(&BackendStatus) -> bool,
    style: Style,
) -> String {
    let backends: Vec<&BackendStatus> = service.backends.iter().filter(|b| wanted(b)).collect();
    let mut columns = vec![
        column("BACKEND", name),
        sparable(1, column("ADDRESS", |b| b.address.clone())),
        column("STATE", |b| b.state.clone()),
        column("SINCE", |b| ago(&b.since)),
        sparable(2, right("WEIGHT", |b| b.weight.to_string())),
        right("ACTIVE", |b| count(b.active_flows)),
        sparable(3, right("FLOWS", |b| count(b.flows_total))),
    ];
    columns[3].right = true;
    if backends.iter().any(|b| b.overridden.is_some()) {
        columns.push(column("OVERRIDE", override_words));
    }
    columns.push(column("REASON", reason));
    let head = head(service, VIPS, style);
    match backends.is_empty() {
        true => head,
        false => format!("{head}\n{}", lines(&backends, columns, style)),
    }
}

/// All backends with all that is known, however wide that is.
pub(super) fn wide(service: &ServiceStatus, style: Style) -> String {
    let columns = vec![
        column("BACKEND", name),
        column("ADDRESS", |b| b.address.clone()),
        column("STATE", |b| b.state.clone()),
        column("SINCE", |b| b.since.clone()),
        right("WEIGHT", weight),
        right("ACTIVE", |b| b.active_flows.to_string()),
        right("OPENING", |b| b.opening_flows.to_string()),
        right("FLOWS", |b| b.flows_total.to_string()),
        right("PACKETS", |b| count(b.packets_total)),
        right("BYTES", |b| bytes(b.bytes_total)),
        column("OLD FLOWS", |b| b.existing_flows.clone()),
        column("NEXT HOP", |b| b.next_hop.clone()),
        column("PROBE", |b| b.probe.clone()),
        column("LAST ERROR", last_error),
        column("OVERRIDE", override_in_full),
        column("REASON", |b| b.reason.clone()),
    ];
    let head = head(service, usize::MAX, style);
    if service.backends.is_empty() {
        return head;
    }
    let backends: Vec<&BackendStatus> = service.backends.iter().collect();
    let unlimited = Style {
        width: None,
        ..style
    };
    format!("{head}\n{}", lines(&backends, columns, unlimited))
}

/// `web  tcp/nat, maglev  203.0.113.10:80  2 of 2 up`, with at most so many vips.
fn head(service: &ServiceStatus, vips: usize, style: Style) -> String {
    let up = (service.backends.iter())
        .filter(|backend| backend.state == "up")
        .count();
    let shown = match service.vips.len().checked_sub(vips) {
        None | Some(0) => service.vips.join(" "),
        Some(more) => format!("{} and {more} more", service.vips[..vips].join(" ")),
    };
    let up = format!("{up} of {} up", service.backends.len());
    format!(
        "{}  {}/{}, {}  {shown}  {}{}{}",
        style.bold(&service.name),
        service.protocol,
        service.mode,
        service.scheduler,
        style.paint(&up, of_state(worst(service))),
        if service.panic {
            ", too few: all are used"
        } else {
            ""
        },
        match service.announced.as_slice() {
            [] => String::new(),
            addresses => format!(", announced: {}", listed(addresses)),
        },
    )
}

/// The state that most needs a look: what the operator decided comes after what broke.
pub(super) fn worst(service: &ServiceStatus) -> &str {
    let has = |state: &str| service.backends.iter().any(|b| b.state == state);
    ["down", "drain", "maint"]
        .into_iter()
        .find(|state| has(state))
        .unwrap_or(if service.backends.is_empty() {
            "down"
        } else {
            "up"
        })
}

/// A table of backends that fits the terminal: long reasons are cut, and where too little is left for
/// them, columns go that can best be spared.
fn lines(backends: &[&BackendStatus], mut columns: Vec<Column>, style: Style) -> String {
    let mut texts: Vec<Vec<String>> = (columns.iter())
        .map(|column| backends.iter().map(|b| plain(&(column.text)(b))).collect())
        .collect();
    if let Some(width) = style.width {
        let needed = |texts: &[Vec<String>], columns: &[Column]| -> usize {
            let (_, others) = texts.split_last().expect("there is a last column");
            (others.iter().zip(columns))
                .map(|(texts, column)| {
                    let widest = texts.iter().map(|text| text.chars().count()).max();
                    widest.unwrap_or(0).max(column.heading.len()) + GAP
                })
                .sum::<usize>()
                + INDENT
        };
        while needed(&texts, &columns) + REASON_ROOM > width {
            let spared = (columns.iter().enumerate())
                .filter(|(_, column)| column.spared > 0)
                .max_by_key(|(_, column)| column.spared);
            let Some((place, _)) = spared else { break };
            columns.remove(place);
            texts.remove(place);
        }
        let left = width.saturating_sub(needed(&texts, &columns));
        let reasons = texts.last_mut().expect("there is a last column");
        for reason in reasons {
            *reason = cut(reason, left.max("REASON".len()));
        }
    }
    let headings: Vec<&str> = columns.iter().map(|column| column.heading).collect();
    let to_right: Vec<&str> = (columns.iter())
        .filter(|column| column.right)
        .map(|column| column.heading)
        .collect();
    let mut table = table(&headings, &to_right);
    if style.colour {
        table.enforce_styling();
    }
    for (row, backend) in backends.iter().enumerate() {
        table.add_row(columns.iter().zip(&texts).map(|(column, texts)| {
            let cell = Cell::new(&texts[row]);
            match column.heading {
                "STATE" => cell.fg(of_state(&backend.state).into()),
                _ => cell,
            }
        }));
    }
    indented(&table)
}

fn name(backend: &BackendStatus) -> String {
    match backend.backup {
        true => format!("{} (backup)", backend.name),
        false => backend.name.clone(),
    }
}

/// The one in force, and the file's where that is another.
fn weight(backend: &BackendStatus) -> String {
    match backend.weight == backend.weight_configured {
        true => backend.weight.to_string(),
        false => format!("{} (file: {})", backend.weight, backend.weight_configured),
    }
}

/// `drain, weight 5 (file: 2)`.
pub(super) fn override_words(backend: &BackendStatus) -> String {
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

/// The same, with when and by whom.
fn override_in_full(backend: &BackendStatus) -> String {
    let Some(overridden) = &backend.overridden else {
        return String::new();
    };
    let by = (overridden.uid).map_or(String::new(), |uid| format!(" by uid {uid}"));
    format!("{} at {}{by}", override_words(backend), overridden.since)
}

fn last_error(backend: &BackendStatus) -> String {
    match (&backend.last_error, &backend.last_error_at) {
        (Some(error), Some(at)) => format!("{at}: {error}"),
        (Some(error), None) => error.clone(),
        (None, _) => String::new(),
    }
}

/// Why a backend is in its state, and what was wrong last, where that is not the same.
pub(super) fn reason(backend: &BackendStatus) -> String {
    match (&backend.last_error, &backend.last_error_at) {
        (Some(error), Some(at)) if !backend.reason.contains(error) => {
            format!("{}; {} ago: {error}", backend.reason, ago(at))
        }
        _ => backend.reason.clone(),
    }
}
