//! `divvy drain --wait`: asks the daemon again and again until a backend has no flows left.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Failure, Places, print_text, signals::Signals};
use crate::{
    api::client::{Client, ClientError},
    control::view::{BackendPlace, BackendStatus},
};

/// Between two questions: short at first, because most backends are free of flows soon.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long the daemon may be away, as when it is restarted.
const AWAY: Duration = Duration::from_secs(15);

/// Returns when the last flow of a backend that drains is gone, or gets a reset.
///
/// # Errors
/// When that has not come about after `limit`, or cannot any more.
pub(super) async fn until_drained(
    place: &BackendPlace,
    limit: Option<Duration>,
    places: &Places,
) -> Result<(), Failure> {
    let client = Client::new(&places.run_dir);
    let mut signals = Signals::new()?;
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut answered = Instant::now();
    let mut left = None;
    loop {
        match client.status().await {
            Ok(status) => {
                answered = Instant::now();
                let backend = (status.services.into_iter())
                    .filter(|service| service.name == place.service)
                    .flat_map(|service| service.backends)
                    .find(|backend| backend.name == place.backend);
                match look(place, backend.as_ref())? {
                    Look::Done(words) => return print_text(&words),
                    Look::Left(flows) => left = Some(flows),
                }
            }
            Err(ClientError::Unreachable { .. } | ClientError::Broken(_))
                if answered.elapsed() < AWAY => {}
            Err(error) => return Err(error.into()),
        }
        let rest = limit.map(|limit| limit.saturating_sub(begun.elapsed()));
        if let (Some(limit), Some(Duration::ZERO)) = (limit, rest) {
            return Err(Failure::failed(format!(
                "{place} still has {} after {}; it goes on draining, `divvy enable {place}` ends it",
                flows_text(left),
                humantime::format_duration(limit)
            )));
        }
        tokio::select! {
            () = sleep(pause.min(rest.unwrap_or(pause))) => {}
            () = signals.any() => {
                return Err(Failure::failed(format!(
                    "waited no longer: {place} goes on draining with {}; `divvy enable {place}` \
                     ends it",
                    flows_text(left)
                )));
            }
        }
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

enum Look {
    Done(String),
    /// So many flows are left.
    Left(u64),
}

fn look(place: &BackendPlace, backend: Option<&BackendStatus>) -> Result<Look, Failure> {
    let Some(backend) = backend else {
        return Err(Failure::failed(format!(
            "{place} has left the configuration: what became of its flows is told by on_down"
        )));
    };
    let held = (backend.overridden.as_ref()).and_then(|overridden| overridden.state.as_deref());
    if !matches!(held, Some("drain" | "maint")) {
        return Err(Failure::failed(format!(
            "{place} does not drain any more: somebody enabled it"
        )));
    }
    let flows = backend.active_flows + backend.opening_flows;
    Ok(if flows == 0 {
        Look::Done(format!("{place} has no flows left"))
    } else if backend.existing_flows == "reset" {
        Look::Done(format!(
            "{place} gets no more packets: the next one of {} is answered with a reset",
            match flows {
                1 => "its last flow".to_owned(),
                _ => format!("each of its last {flows} flows"),
            }
        ))
    } else {
        Look::Left(flows)
    })
}

fn flows_text(flows: Option<u64>) -> String {
    match flows {
        None => "an unknown number of flows".to_owned(),
        Some(1) => "1 flow".to_owned(),
        Some(flows) => format!("{flows} flows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(flows: u64, existing: &str, held: Option<&str>) -> BackendStatus {
        serde_json::from_value(serde_json::json!({
            "name": "web-1", "address": "10.0.0.11:80", "state": "drain", "reason": "",
            "since": "2026-01-01T00:00:00Z", "probe": "ok", "last_error": null, "last_error_at": null,
            "weight": 1, "weight_configured": 1,
            "override": held.map(|held| serde_json::json!({
                "state": held, "weight": null, "since": "2026-01-01T00:00:00Z", "uid": 0,
            })),
            "backup": false, "active_flows": flows, "opening_flows": 0, "existing_flows": existing,
            "flows_total": 0, "packets_total": 0, "bytes_total": 0, "next_hop": "",
        }))
        .expect("a backend's status")
    }

    #[test]
    fn it_ends_when_no_packet_can_reach_the_backend() {
        let place: BackendPlace = "web/web-1".parse().expect("a place");
        let words = |backend: Option<&BackendStatus>| match look(&place, backend) {
            Ok(Look::Done(words)) => words,
            Ok(Look::Left(flows)) => format!("{flows} left"),
            Err(failure) => format!("failed: {}", failure.message),
        };
        for (backend, said) in [
            (backend(2, "forwarded", Some("drain")), "2 left"),
            (backend(0, "forwarded", Some("drain")), "no flows left"),
            (
                backend(2, "reset", Some("drain")),
                "each of its last 2 flows is",
            ),
            (backend(1, "reset", Some("maint")), "its last flow is"),
            (
                backend(2, "forwarded", None),
                "failed: web/web-1 does not drain",
            ),
        ] {
            let words = words(Some(&backend));
            assert!(words.contains(said), "{said} is not {words}");
        }
        assert!(words(None).contains("failed: web/web-1 has left"));
    }
}
