//! Load on a way: wrk, iperf3, and requests at a fixed rate.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    E2eEffort,
    cpu::Cpu,
    steady::{self, Steady},
    ways::Targets,
};
use crate::lab::{Host, Lab};

/// Requests by which a way shows that it works.
const WARM_UP: usize = 200;

/// Load on the targets of one way.
#[derive(Debug)]
pub struct Load<'a> {
    client: &'a Host,
    targets: Targets,
    effort: &'a E2eEffort,
}

/// What a full load got.
#[derive(Clone, Copy, Debug)]
pub struct Full {
    pub per_second: f64,
    /// µs of CPU for each request.
    pub cpu_each: f64,
}

impl<'a> Load<'a> {
    pub fn new(lab: &'a Lab, targets: Targets, effort: &'a E2eEffort) -> Self {
        Self {
            client: lab.client(),
            targets,
            effort,
        }
    }

    /// A few requests to each target, all of which must be answered.
    pub fn warm_up(&self) -> Result<()> {
        for url in &self.targets.web {
            let report = self.client.get_many(WARM_UP, url);
            ensure!(report.failed().is_empty(), "{url}: {report}");
        }
        Ok(())
    }

    /// As many requests as there can be, by one wrk for each backend, which share the connections.
    pub fn requests(&self, kept: bool) -> Result<Full> {
        let share = self.effort.connections / self.targets.web.len();
        let seconds = self.effort.length.as_secs();
        let before = Cpu::now()?;
        let running: Vec<_> = (self.targets.web.iter())
            .map(|url| {
                let mut wrk = Command::new("wrk");
                wrk.args(["--threads", "1", "--timeout", "5s"]);
                wrk.args(["--connections", &share.to_string()]);
                wrk.args(["--duration", &format!("{seconds}s")]);
                if !kept {
                    wrk.args(["--header", "Connection: close"]);
                }
                wrk.arg(url).stdin(Stdio::null());
                wrk.stdout(Stdio::piped()).stderr(Stdio::piped());
                self.client.spawn(wrk)
            })
            .collect();
        let said: Vec<String> = (running.into_iter())
            .map(|wrk| text(wrk.output(), "wrk"))
            .collect::<Result<_>>()?;
        let worked = Cpu::now()?.since(before);
        let counts: Vec<Counted> = said
            .iter()
            .map(|text| wrk(text).with_context(|| format!("wrk said: {text}")))
            .collect::<Result<_>>()?;
        let requests: f64 = counts.iter().map(|one| one.requests).sum();
        ensure!(requests > 0.0, "wrk got no answer: {}", said.concat());
        if let Some(at) = counts.iter().position(|one| one.failed) {
            bail!("requests failed under full load: {}", said[at]);
        }
        Ok(Full {
            per_second: counts.iter().map(|one| one.requests / one.seconds).sum(),
            cpu_each: micros(worked) / requests,
        })
    }

    /// Gbit/s of one TCP stream from the client.
    pub fn stream(&self) -> Result<f64> {
        let seconds = self.effort.length.as_secs().to_string();
        let address = self.targets.stream.ip().to_string();
        let port = self.targets.stream.port().to_string();
        let words = [
            "iperf3", "--json", "--client", &address, "--port", &port, "--time", &seconds,
        ];
        let said = text(self.client.run(&words), "iperf3")?;
        let json: serde_json::Value =
            serde_json::from_str(&said).context("iperf3 printed no JSON")?;
        let rate = json["end"]["sum_received"]["bits_per_second"].as_f64();
        let rate = rate.with_context(|| format!("iperf3 tells no rate: {said}"))?;
        ensure!(rate > 0.0, "nothing of the stream arrived: {said}");
        Ok(rate / 1e9)
    }

    /// Requests at the fixed rate.
    pub fn steady(&self) -> Result<Steady> {
        steady::run(
            self.client,
            &self.targets.web,
            self.effort.rate,
            self.effort.length,
        )
    }
}

fn text(output: std::process::Output, program: &str) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{program} failed ({}): {}{said}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What wrk tells of its run.
#[derive(Debug, PartialEq)]
struct Counted {
    requests: f64,
    seconds: f64,
    /// Whether some were not answered, or not with 2xx or 3xx.
    failed: bool,
}

/// "  45678 requests in 3.00s, 9.15MB read", and lines about errors where there were some.
fn wrk(said: &str) -> Option<Counted> {
    let (requests, rest) = said
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))?;
    let time = rest.split(',').next()?;
    let unit = time.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let seconds: f64 = time.strip_suffix(unit)?.parse().ok()?;
    let scale = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Some(Counted {
        requests: requests.parse().ok()?,
        seconds: seconds * scale,
        failed: said.contains("Socket errors:") || said.contains("Non-2xx or 3xx responses:"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_understood() {
        let said = "Running 3s test @ http://203.0.113.10/\n  1 threads and 32 connections\n  \
                    Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.20ms  318.12us  \
                    9.10ms   85.21%\n  77123 requests in 3.10s, 15.22MB read\nRequests/sec:  24878.39\n";
        let counted = wrk(said).expect("understood");
        assert_eq!(counted.requests, 77_123.0);
        assert_eq!(counted.seconds, 3.1);
        assert!(!counted.failed);
        let worse = format!("{said}  Socket errors: connect 0, read 3, write 0, timeout 0\n");
        assert!(wrk(&worse).expect("understood").failed);
        assert_eq!(wrk("unable to connect to 203.0.113.10:http"), None);
        assert_eq!(
            wrk("  5 requests in 1.50m, 1MB read").map(|one| one.seconds),
            Some(90.0)
        );
    }
}
