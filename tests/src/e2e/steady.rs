//! Requests at a fixed rate, and how long each took.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{cpu::Cpu, load::micros};
use crate::lab::{Connection, Host};

/// Clients of each target, with one kept connection each.
const CLIENTS: u32 = 8;

/// What requests at a fixed rate took.
#[derive(Clone, Debug)]
pub struct Steady {
    /// µs, ascending.
    took: Vec<f64>,
    /// µs of CPU for each request, the clients' own work among it.
    pub cpu_each: f64,
}

impl Steady {
    /// So many of all requests, from 0 to 1, were answered within these µs.
    #[must_use]
    pub fn quantile(&self, part: f64) -> f64 {
        let last = self.took.len() - 1;
        self.took[((last as f64 * part).round() as usize).min(last)]
    }
}

/// `rate` requests a second over all targets together.
pub fn run(client: &Host, urls: &[String], rate: u32, length: Duration) -> Result<Steady> {
    let clients = CLIENTS * u32::try_from(urls.len()).context("fewer targets")?;
    let pause = Duration::from_secs(1) * clients / rate;
    let each = (length.as_nanos() / pause.as_nanos()).max(1);
    let each = u32::try_from(each).context("a shorter measurement or a lower rate")?;
    let mut connections: Vec<Connection> = urls
        .iter()
        .cycle()
        .take(clients as usize)
        .map(|url| {
            client
                .connect(url)
                .with_context(|| format!("connecting to {url}"))
        })
        .collect::<Result<_>>()?;

    let before = Cpu::now()?;
    let start = Instant::now() + Duration::from_millis(10);
    let took: Vec<Result<Vec<f64>>> = thread::scope(|scope| {
        let running: Vec<_> = (0..)
            .zip(&mut connections)
            .map(|(number, connection)| {
                let first = start + pause * number / clients;
                scope.spawn(move || ask(connection, first, pause, each))
            })
            .collect();
        (running.into_iter())
            .map(|one| {
                one.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect()
    });
    let worked = Cpu::now()?.since(before);
    let took: Vec<Vec<f64>> = took.into_iter().collect::<Result<_>>()?;
    let mut took = took.concat();
    took.sort_by(f64::total_cmp);
    Ok(Steady {
        cpu_each: micros(worked) / took.len() as f64,
        took,
    })
}

/// One request each `pause`. A request that is due before the last was answered has been waiting since then,
/// and that counts; that this thread was woken late does not.
fn ask(
    connection: &mut Connection,
    first: Instant,
    pause: Duration,
    count: u32,
) -> Result<Vec<f64>> {
    let mut answered = Instant::now();
    (0..count)
        .map(|number| {
            let due = first + pause * number;
            let begun = if answered > due {
                due
            } else {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                Instant::now()
            };
            let response = connection
                .get("/")
                .context("a request at the fixed rate failed")?;
            ensure!(response.status == 200, "answered with {}", response.status);
            answered = Instant::now();
            Ok(micros(answered - begun))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let steady = |took: Vec<f64>| Steady {
            took,
            cpu_each: 0.0,
        };
        let hundred = steady((0..=100).map(f64::from).collect());
        assert_eq!(hundred.quantile(0.5), 50.0);
        assert_eq!(hundred.quantile(0.99), 99.0);
        assert_eq!(hundred.quantile(1.0), 100.0);
        assert_eq!(steady(vec![7.0]).quantile(0.99), 7.0);
    }
}
