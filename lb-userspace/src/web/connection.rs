//! One connection to the page's address: its requests one after the other, each within its time.

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::site::Site;
use crate::api::connections::{Phase, Seat};

/// Until a request has come in full; scrapers keep their connections between two scrapes.
const HEAD_TIME: Duration = Duration::from_secs(90);
/// Until an answer has been read.
const READING_TIME: Duration = Duration::from_secs(30);
const BUFFER_BYTES: usize = 64 * 1024;
const HEADERS: usize = 64;

/// What a connection's answer has to do with its seat and its time.
#[derive(Clone)]
pub(super) struct Reading {
    seat: Arc<Seat>,
    deadline: watch::Sender<Option<Instant>>,
}

impl Reading {
    /// From now on its reader is waited for, but not for ever.
    pub(super) fn begins(&self) {
        self.seat.enter(Phase::Writing);
        (self.deadline).send_replace(Some(Instant::now() + READING_TIME));
    }

    /// It has been read, or never will be.
    pub(super) fn ends(&self) {
        self.seat.enter(Phase::Waiting);
        self.deadline.send_replace(None);
    }
}

/// From its first byte to its last.
pub(super) async fn attend(stream: TcpStream, seat: Seat, site: Arc<Site>) {
    let (deadline, over) = watch::channel(None);
    let seat = Arc::new(seat);
    let too_slow = Arc::new(Notify::new());
    let reading = Reading {
        seat: Arc::clone(&seat),
        deadline,
    };
    let service = service_fn(|request: Request<Incoming>| {
        let (site, reading, too_slow) = (&site, reading.clone(), &too_slow);
        async move {
            reading.seat.enter(Phase::Working);
            // What a body says is of no interest here.
            let (request, _) = request.into_parts();
            let mut response = site.respond(&request, too_slow).await;
            response.body_mut().read_by(reading);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(BUFFER_BYTES)
        .max_headers(HEADERS)
        .writev(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                debug!("a connection to the page broke off: {error}");
            }
        }
        () = seat.needed() => debug!("a connection to the page had to make room for another"),
        () = passed(over) => debug!("a client of the page does not read"),
        () = too_slow.notified() => debug!("a client of the page does not read its updates"),
    }
}

/// Ready when a deadline has passed that stands.
async fn passed(mut deadline: watch::Receiver<Option<Instant>>) {
    loop {
        let until = *deadline.borrow_and_update();
        tokio::select! {
            () = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            } => return,
            changed = deadline.changed() => if changed.is_err() {
                return std::future::pending().await;
            }
        }
    }
}
