//! Tables and figures for people.

use std::time::SystemTime;

use comfy_table::{CellAlignment, Table, presets};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

pub(super) use crate::control::view::short;

/// A table with headings and no borders. Columns named in `right` are aligned to the right.
pub(super) fn table(headings: &[&str], right: &[&str]) -> Table {
    let mut table = Table::new();
    // Width and colours are the caller's affair, not the library's guess.
    table.force_no_tty();
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

/// A text that takes no more than `columns` of a terminal: where it is longer, its end is `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut kept: String = text
        .chars()
        .take_while(|c| {
            let width = c.width().unwrap_or(0);
            let fits = width <= left;
            left = left.saturating_sub(width);
            fits
        })
        .collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// A text in which nothing moves the cursor or changes a terminal: reasons may repeat what a backend said.
pub(super) fn plain(text: &str) -> String {
    (text.chars())
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A count with a unit where it is large: 950, 12.3k, 4.5M, 6.7G.
pub(super) fn count(n: u64) -> String {
    scaled(n, 1000, &["", "k", "M", "G", "T"])
}

/// A size: 950 B, 12.3 KiB, 4.5 MiB.
pub(super) fn bytes(n: u64) -> String {
    scaled(n, 1024, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// A count in full, in groups of three digits: `10,000`.
pub(super) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 backend`, `10,000 backends`.
pub(super) fn several(n: usize, one: &str) -> String {
    format!("{} {one}{}", grouped(n), if n == 1 { "" } else { "s" })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_to_columns() {
        for (text, columns, expected) in [
            ("up", 2, "up"),
            ("HTTP 200", 7, "HTTP 2…"),
            ("no answer", 4, "no…"),
            ("größe", 4, "grö…"),
            // Two columns each.
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
        ] {
            assert_eq!(cut(text, columns), expected, "{text} in {columns}");
        }
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a [31mb c");
    }

    #[test]
    fn counts_are_in_groups() {
        for (n, text) in [
            (1, "1 service"),
            (0, "0 services"),
            (999, "999 services"),
            (10_000, "10,000 services"),
            (1_234_567, "1,234,567 services"),
        ] {
            assert_eq!(several(n, "service"), text);
        }
    }
}
