//! One metric with all its series. Those of gauges and counters are written at once: with ten thousand backends there are
//! 80,000, and the library would make a dozen allocations for each. It writes the rest.

use std::fmt::{self, Display, Formatter, Write as _};

use prometheus::{
    TextEncoder,
    proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// Names and values of labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// A gauge's or counter's name, and its text.
pub(super) struct Family {
    name: &'static str,
    text: String,
}

impl Family {
    pub(super) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, "gauge")
    }

    /// `name` ends in `_total`.
    pub(super) fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, "counter")
    }

    fn new(name: &'static str, help: &'static str, kind: &str) -> Self {
        Self {
            name,
            text: format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
        }
    }

    /// One more series.
    pub(super) fn add(&mut self, labels: Labels<'_>, value: impl Display) {
        self.text.push_str(self.name);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            // Writing into a string does not fail.
            let _ = write!(self.text, "{before}{name}=\"{}\"", Escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// A label's value, as the format has it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['\\', '"', '\n']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'\n' => "\\n",
                b'"' => "\\\"",
                _ => "\\\\",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// The text of a histogram with these series; empty without any.
pub(super) fn histogram(
    name: &str,
    help: &str,
    series: impl Iterator<Item = (Option<(&'static str, String)>, Histogram)>,
) -> Result<String, prometheus::Error> {
    let metrics = series.map(|(label, histogram)| {
        let pairs = label.map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value);
            pair
        });
        let mut metric = Metric::from_label(pairs.into_iter().collect());
        metric.set_histogram(histogram);
        metric
    });
    let metrics: Vec<Metric> = metrics.collect();
    if metrics.is_empty() {
        return Ok(String::new());
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(MetricType::HISTOGRAM);
    family.set_metric(metrics);
    TextEncoder::new().encode_to_string(&[family])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        let mut family = Family::gauge("divvy_x", "Words.");
        family.add(&[("a", "one"), ("b", "q\"b\\n\n.")], 7);
        family.add(&[], 0.25);
        let text = "# HELP divvy_x Words.\n# TYPE divvy_x gauge\n\
                    divvy_x{a=\"one\",b=\"q\\\"b\\\\n\\n.\"} 7\ndivvy_x 0.25\n";
        assert_eq!(family.into_text(), text);
    }

    #[test]
    fn a_histogram_without_series_is_left_out() {
        let text = histogram("divvy_x", "Words.", std::iter::empty());
        assert_eq!(text.expect("nothing fails"), "");
    }
}
