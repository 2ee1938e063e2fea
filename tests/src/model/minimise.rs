//! A failure made short: events are left out as long as the rest still fails, in ever smaller pieces (Zeller
//! and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002).

use std::time::{Duration, Instant};

use super::event::Event;

/// A shorter list of events that still `fails`, as far as the time allows.
pub fn minimise(
    events: &[Event],
    limit: Duration,
    mut fails: impl FnMut(&[Event]) -> bool,
) -> Vec<Event> {
    let start = Instant::now();
    let mut events = events.to_vec();
    let mut piece = events.len().div_ceil(2);
    while piece > 0 {
        let mut shortened = false;
        let mut at = 0;
        while at < events.len() {
            if start.elapsed() > limit {
                return events;
            }
            let mut fewer = events.clone();
            fewer.drain(at..(at + piece).min(events.len()));
            if fails(&fewer) {
                events = fewer;
                shortened = true;
            } else {
                at += piece;
            }
        }
        if piece > 1 || !shortened {
            piece /= 2;
        }
    }
    events
}
