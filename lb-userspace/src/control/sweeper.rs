//! The thread that sweeps flows: it sees nothing but the sweeper.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use tracing::error;

use crate::datapath::{self, Report, Sweeper};

/// Time between two passes while they are quick.
const INTERVAL: Duration = Duration::from_secs(1);
/// A pass may take at most one part in so many of the time.
const REST: u32 = 20;

/// Starts the thread. It ends when nobody hears its reports.
pub(super) fn spawn(tables: Sweeper) -> std::io::Result<mpsc::Receiver<Report>> {
    let (sender, reports) = mpsc::channel(1);
    thread::Builder::new()
        .name("sweeper".to_owned())
        .spawn(move || {
            while !sender.is_closed() {
                let begun = Instant::now();
                match tables.sweep(monotonic_ns()) {
                    // A full channel means that the loop is busy: the next report will do.
                    Ok(report) => drop(sender.try_send(report)),
                    Err(error) => error!("sweeping flows failed: {error}"),
                }
                thread::sleep(INTERVAL.max(begun.elapsed() * REST));
            }
        })?;
    Ok(reports)
}

/// The datapath's clock.
pub(super) fn monotonic_ns() -> u64 {
    u64::try_from(datapath::monotonic().as_nanos()).expect("five centuries of uptime fit")
}
