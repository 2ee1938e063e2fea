//! What there is at the page's address, by path.

use std::{sync::Arc, time::Duration};

use axum::http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ALLOW, RETRY_AFTER},
    request::Parts,
};
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};

use super::{
    answer::{Answer, answer, refusal},
    page,
    stream::{Hub, Wish},
};
use crate::{control::Handle, metrics};

/// Scrapes at a time. Each is in memory as a whole until it has been read.
const SCRAPES_AT_ONCE: usize = 4;
/// Until another scrape is over.
const TURN_TIME: Duration = Duration::from_secs(5);
/// Until the control loop has answered.
const LOOP_TIME: Duration = Duration::from_secs(30);

/// Everything at the address.
pub(super) struct Site {
    control: Handle,
    scrapes: Arc<Semaphore>,
    hub: Arc<Hub>,
}

impl Site {
    pub(super) fn new(control: Handle) -> Arc<Self> {
        Arc::new(Self {
            hub: Hub::new(control.clone()),
            control,
            scrapes: Arc::new(Semaphore::new(SCRAPES_AT_ONCE)),
        })
    }

    /// `too_slow` ends the connection of one whose updates pile up.
    pub(super) async fn respond(
        &self,
        request: &Parts,
        too_slow: &Arc<Notify>,
    ) -> Response<Answer> {
        if ![Method::GET, Method::HEAD].contains(&request.method) {
            let words = "nothing can be changed here: only GET and HEAD are answered";
            let mut refused = refusal(StatusCode::METHOD_NOT_ALLOWED, words);
            let methods = HeaderValue::from_static("GET, HEAD");
            refused.headers_mut().insert(ALLOW, methods);
            return refused;
        }
        match request.uri.path() {
            "/metrics" => self.scrape().await,
            "/events" => self.stream(request.uri.query().unwrap_or_default(), too_slow),
            path => page::file(path).unwrap_or_else(|| {
                let words = "there is no such page; there are / and /metrics";
                refusal(StatusCode::NOT_FOUND, words)
            }),
        }
    }

    async fn scrape(&self) -> Response<Answer> {
        let free = timeout(TURN_TIME, Arc::clone(&self.scrapes).acquire_owned()).await;
        let Ok(Ok(turn)) = free else {
            let words = format!("{SCRAPES_AT_ONCE} scrapes are under way; ask again");
            return busy(words);
        };
        let observed = match timeout(LOOP_TIME, self.control.observe()).await {
            Ok(Ok(observed)) => observed,
            Ok(Err(error)) => {
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
            }
            Err(_) => {
                let words = format!("the daemon did not answer within {LOOP_TIME:?}");
                return refusal(StatusCode::GATEWAY_TIMEOUT, words);
            }
        };
        match metrics::render(&observed, self.control.decision_to_tables()) {
            Ok(text) => answer(
                StatusCode::OK,
                metrics::CONTENT_TYPE,
                Answer::whole(text).in_turn(turn),
            ),
            Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    fn stream(&self, query: &str, too_slow: &Arc<Notify>) -> Response<Answer> {
        match self.hub.join(Wish::parse(query), too_slow) {
            Ok(updates) => answer(StatusCode::OK, "text/event-stream", Answer::stream(updates)),
            Err(full) => busy(full.to_string()),
        }
    }
}

fn busy(words: String) -> Response<Answer> {
    let mut refused = refusal(StatusCode::SERVICE_UNAVAILABLE, words);
    let seconds = HeaderValue::from_static("5");
    refused.headers_mut().insert(RETRY_AFTER, seconds);
    refused
}
