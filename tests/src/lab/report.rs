//! What became of many requests.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use super::http::{self, Url};

/// One request and its end.
#[derive(Clone, Debug)]
pub struct Request {
    pub started: Instant,
    pub took: Duration,
    /// Name of the backend that answered with status 200, or what went wrong.
    pub outcome: Result<String, String>,
}

impl Request {
    /// Makes the request, on a connection of its own, from wherever the calling thread is.
    pub(super) fn make(url: &Url, patience: Duration) -> Self {
        let started = Instant::now();
        let outcome = match http::get(url, patience) {
            Ok(response) if response.status == 200 => Ok(response.backend),
            Ok(response) => Err(format!("status {}", response.status)),
            Err(error) => Err(error.to_string()),
        };
        Self {
            started,
            took: started.elapsed(),
            outcome,
        }
    }

    #[must_use]
    pub fn ended(&self) -> Instant {
        self.started + self.took
    }
}

/// Requests in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub requests: Vec<Request>,
}

impl Report {
    /// How many were answered with status 200.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.requests.len() - self.failed().len()
    }

    /// Those that were not.
    #[must_use]
    pub fn failed(&self) -> Vec<&Request> {
        let failed = |request: &&Request| request.outcome.is_err();
        self.requests.iter().filter(failed).collect()
    }

    /// How many each backend answered.
    #[must_use]
    pub fn by_backend(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for name in self
            .requests
            .iter()
            .filter_map(|request| request.outcome.as_ref().ok())
        {
            *counts.entry(name.clone()).or_default() += 1;
        }
        counts
    }

    /// How many this backend answered.
    #[must_use]
    pub fn answered_by(&self, backend: &str) -> usize {
        self.by_backend().get(backend).copied().unwrap_or(0)
    }

    /// The failed request that ended last.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Request> {
        self.failed()
            .into_iter()
            .max_by_key(|request| request.ended())
    }

    /// The longest time that a request took.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        let times = self.requests.iter().map(|request| request.took);
        times.max().unwrap_or_default()
    }

    /// Only the requests that started at this time or later.
    #[must_use]
    pub fn since(&self, start: Instant) -> Self {
        let later = |request: &&Request| request.started >= start;
        self.requests.iter().filter(later).cloned().collect()
    }

    /// Only the requests that started before this time.
    #[must_use]
    pub fn until(&self, end: Instant) -> Self {
        let earlier = |request: &&Request| request.started < end;
        self.requests.iter().filter(earlier).cloned().collect()
    }
}

impl FromIterator<Request> for Report {
    fn from_iter<T: IntoIterator<Item = Request>>(requests: T) -> Self {
        Self {
            requests: requests.into_iter().collect(),
        }
    }
}

/// `300 answered (web-1 102, web-2 98, web-3 100), 0 failed`, and how the first of them failed.
impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self
            .by_backend()
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let failed = self.failed();
        write!(formatter, "{} answered", self.answered())?;
        if !counts.is_empty() {
            write!(formatter, " ({})", counts.join(", "))?;
        }
        write!(formatter, ", {} failed", failed.len())?;
        if let Some(Request {
            outcome: Err(text), ..
        }) = failed.first()
        {
            write!(formatter, " ({text})")?;
        }
        Ok(())
    }
}
