//! What the daemon observes of itself as Prometheus text, format 0.0.4. `docs/metrics.md` lists all of it.

mod backends;
mod daemon;
mod family;
mod services;

use prometheus::Histogram;

use self::family::Family;
use crate::control::view::observed::Observed;

/// What the text is served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text of one scrape.
///
/// # Errors
/// When the library finds a metric that it cannot write, which would be a fault of ours.
pub fn render(
    observed: &Observed,
    decision_to_tables: &Histogram,
) -> Result<String, prometheus::Error> {
    let families = (backends::families(&observed.status).into_iter())
        .chain(services::families(observed))
        .chain(daemon::families(observed));
    let mut text: String = families.map(Family::into_text).collect();
    text.push_str(&services::probe_times(observed)?);
    text.push_str(&daemon::decisions(decision_to_tables)?);
    text.push_str(&daemon::process()?);
    Ok(text)
}
