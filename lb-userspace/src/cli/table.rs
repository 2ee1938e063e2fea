//! Tables and figures for people.

use std::time::SystemTime;

use comfy_table::{CellAlignment, Table, presets};

pub(super) use crate::control::view::short;

/// A table with headings and no borders, indented by two spaces. Columns named in `right` are
/// aligned to the right.
pub(super) fn table(headings: &[&str], right: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headings.iter().copied());
    for (heading, column) in headings.iter().zip(table.column_iter_mut()) {
        column.set_padding((0, 2));
        if right.contains(heading) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The table's lines, each indented.
pub(super) fn indented(table: &Table) -> String {
    let lines: Vec<String> = table
        .lines()
        .map(|line| format!("  {}", line.trim_end()))
        .collect();
    lines.join("\n")
}

/// A count with a unit where it is large: 950, 12.3k, 4.5M, 6.7G.
pub(super) fn count(n: u64) -> String {
    scaled(n, 1000, &["", "k", "M", "G", "T"])
}

/// A size: 950 B, 12.3 KiB, 4.5 MiB.
pub(super) fn bytes(n: u64) -> String {
    scaled(n, 1024, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

fn scaled(n: u64, base: u64, units: &[&str]) -> String {
    let (mut whole, mut tenths, mut unit) = (n, 0, 0);
    while whole >= base && unit + 1 < units.len() {
        tenths = whole % base * 10 / base;
        whole /= base;
        unit += 1;
    }
    if unit == 0 || whole >= 100 {
        format!("{whole}{}", units[unit])
    } else {
        format!("{whole}.{tenths}{}", units[unit])
    }
}

/// How long ago an RFC 3339 time was, by its two largest units: `3m 12s`.
pub(super) fn ago(rfc3339: &str) -> String {
    let Ok(time) = humantime::parse_rfc3339(rfc3339) else {
        return rfc3339.to_owned();
    };
    short(SystemTime::now().duration_since(time).unwrap_or_default())
}
