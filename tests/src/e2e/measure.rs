//! What is measured.

/// A figure of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// Requests a second on connections that are kept.
    Requests,
    /// Requests a second, each on a connection of its own.
    Connections,
    /// Gbit/s of one TCP stream.
    Stream,
    /// Half of all requests at the fixed rate are answered within so many µs.
    Median,
    /// 99 % of them.
    Tail,
    /// µs of the machine's CPUs for a request at the fixed rate.
    CpuAtRate,
    /// The same on kept connections at full load.
    CpuAtFull,
    /// The same with a connection for each request, at full load.
    CpuOfConnection,
}

impl Measure {
    /// All, in the order of the report.
    pub const ALL: [Self; 8] = [
        Self::Requests,
        Self::Connections,
        Self::Stream,
        Self::Median,
        Self::Tail,
        Self::CpuAtRate,
        Self::CpuAtFull,
        Self::CpuOfConnection,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests/s, connections kept",
            Self::Connections => "requests/s, a connection each",
            Self::Stream => "one stream, Gbit/s",
            Self::Median => "latency of 50 %, µs",
            Self::Tail => "latency of 99 %, µs",
            Self::CpuAtRate => "CPU a request, fixed rate, µs",
            Self::CpuAtFull => "CPU a request, full load, µs",
            Self::CpuOfConnection => "CPU a connection, full load, µs",
        }
    }

    /// For programs.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_second",
            Self::Connections => "connections_per_second",
            Self::Stream => "stream_gbit_per_second",
            Self::Median => "latency_p50_us",
            Self::Tail => "latency_p99_us",
            Self::CpuAtRate => "cpu_us_per_request_at_fixed_rate",
            Self::CpuAtFull => "cpu_us_per_request_at_full_load",
            Self::CpuOfConnection => "cpu_us_per_connection_at_full_load",
        }
    }

    /// Whether more is better.
    #[must_use]
    pub const fn more_is_better(self) -> bool {
        matches!(self, Self::Requests | Self::Connections | Self::Stream)
    }

    /// A value as people read it.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Requests | Self::Connections | Self::Median | Self::Tail => thousands(value),
            Self::Stream => format!("{value:.2}"),
            Self::CpuAtRate | Self::CpuAtFull | Self::CpuOfConnection => format!("{value:.1}"),
        }
    }
}

/// Three digits between commas.
fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend(group.iter().copied().map(char::from));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_as_people_read_them() {
        for (value, text) in [
            (0.4, "0"),
            (999.0, "999"),
            (1_000.0, "1,000"),
            (1_234_567.8, "1,234,568"),
        ] {
            assert_eq!(Measure::Requests.show(value), text);
        }
        assert_eq!(Measure::Stream.show(5.256), "5.26");
    }
}
