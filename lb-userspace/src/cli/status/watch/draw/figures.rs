//! Figures in few columns.

use std::time::SystemTime;

pub(super) use crate::cli::table::cut;

/// A rate in at most five columns: `0`, `3.4`, `950`, `1.23k`, `45.6M`; `·` where it is not known.
pub(super) fn rate(per_second: Option<f64>) -> String {
    let Some(mut value) = per_second else {
        return "·".to_owned();
    };
    if value < 0.05 {
        return "0".to_owned();
    }
    let mut units = ["", "k", "M", "G", "T"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    // What would be rounded to four digits is of the next unit.
    while value >= 999.5 {
        let Some(next) = units.next() else { break };
        value /= 1000.0;
        unit = next;
    }
    let decimals = match value {
        _ if value >= 99.95 => 0,
        _ if value >= 9.995 || unit.is_empty() => 1,
        _ => 2,
    };
    format!("{value:.decimals$}{unit}")
}

/// One character for each value, the newest at the right; ` ` where none is known. `most` is the value of
/// a full block.
pub(super) fn spark(values: &[Option<f64>], most: f64, columns: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(columns)..];
    let mut text = " ".repeat(columns.saturating_sub(shown.len()));
    text.extend(shown.iter().map(|value| match value {
        None => ' ',
        Some(value) if *value > 0.0 && most > 0.0 => {
            // A little is more than nothing.
            let level = (value / most * 7.0).ceil().clamp(1.0, 7.0);
            BLOCKS[level as usize]
        }
        Some(_) => BLOCKS[0],
    }));
    text
}

/// The time of the day, UTC as in all that divvy prints: `10:58:42`.
pub(super) fn clock(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    match text.split_once('T') {
        Some((_, clock)) => clock.trim_end_matches('Z').to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_take_five_columns() {
        for (value, text) in [
            (0.0, "0"),
            (0.04, "0"),
            (0.05, "0.1"),
            (3.44, "3.4"),
            (99.94, "99.9"),
            (99.96, "100"),
            (999.4, "999"),
            (999.5, "1.00k"),
            (1234.0, "1.23k"),
            (12_345.0, "12.3k"),
            (99_949.0, "99.9k"),
            (999_499.0, "999k"),
            (999_500.0, "1.00M"),
            (45.6e9, "45.6G"),
            (999.4e12, "999T"),
        ] {
            assert_eq!(rate(Some(value)), text, "{value}");
        }
        assert_eq!(rate(None), "·");
    }

    #[test]
    fn sparks_are_as_high_as_the_values() {
        let values = [None, Some(0.0), Some(0.001), Some(50.0), Some(100.0)];
        assert_eq!(spark(&values, 100.0, 5), " ▁▂▅█");
        assert_eq!(spark(&values, 100.0, 2), "▅█");
        assert_eq!(spark(&values, 100.0, 7), "   ▁▂▅█");
        assert_eq!(spark(&[Some(0.0)], 0.0, 1), "▁");
        assert_eq!(spark(&[], 0.0, 3), "   ");
    }

    #[test]
    fn clocks_are_utc() {
        let time = humantime::parse_rfc3339("2026-11-29T10:58:42Z").expect("a time");
        assert_eq!(clock(time), "10:58:42");
    }
}
