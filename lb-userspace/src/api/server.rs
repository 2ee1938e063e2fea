//! The API's server: HTTP with JSON on a unix socket, one request a connection. Every request is
//! bounded: how many at a time, how large, and how long each part of it may take.

mod socket;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Request, StatusCode},
    response::Response,
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tracing::{debug, warn};

pub use self::socket::{ServerError, listen};
use super::{
    connections::{Connections, Phase, Seat},
    refused::Answered,
    routes::{self, refusal},
};
use crate::control::{Handle, Peer};

/// From the connection to the end of the request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// Of the body.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Of a whole connection, the answer included: a client that does not read it is not waited for.
const CONNECTION_TIME: Duration = Duration::from_secs(75);
/// Until another large answer is on its way.
const TURN_TIME: Duration = Duration::from_secs(5);
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;
/// Answers at a time that may be large. Each is in memory as a whole.
const LARGE_AT_ONCE: usize = 2;
/// Walks through the flow tables at a time.
const SCANS_AT_ONCE: usize = 2;
/// Until a connection is taken in again after that failed, for want of descriptors perhaps.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// What all connections share.
struct Api {
    router: TowerToHyperService<Router>,
    large: Arc<Semaphore>,
    scans: Arc<Semaphore>,
}

/// Answers requests until `stop` is ready, then finishes those under way.
pub async fn serve(
    listener: UnixListener,
    control: Handle,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let api = Arc::new(Api {
        router: TowerToHyperService::new(routes::router(control)),
        large: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
        scans: Arc::new(Semaphore::new(SCANS_AT_ONCE)),
    });
    let connections = Arc::new(Connections::default());
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            next = connections.next(async { Ok(listener.accept().await?.0) }) => match next {
                Ok((stream, seat)) => drop(tokio::spawn(attend(stream, seat, Arc::clone(&api)))),
                Err(error) => {
                    warn!("the API cannot take in a connection: {error}");
                    sleep(AFTER_FAILURE).await;
                }
            },
            () = &mut stop => break,
        }
    }
    connections.close().await;
}

/// One connection, from its first byte to its last.
async fn attend(stream: UnixStream, seat: Seat, api: Arc<Api>) {
    let peer = Arc::new(peer(&stream));
    let asked = Arc::new(AtomicBool::new(false));
    // Held until the answer has been read, so that large ones do not pile up.
    let turn = Mutex::new(None);
    let io = TokioIo::new(Answered::new(stream, Arc::clone(&asked)));
    let streams = AtomicBool::new(false);
    let (api, seat, turn, peer, asked) = (&api, &seat, &turn, &peer, &asked);
    let streams = &streams;
    let service = service_fn(move |request: Request<Incoming>| async move {
        asked.store(true, Ordering::Relaxed);
        streams.store(
            routes::demands(request.uri().path()).streams,
            Ordering::Relaxed,
        );
        let response = respond(api, seat, turn, peer, request).await;
        let response = routes::with_json(response).await;
        seat.enter(Phase::Writing);
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        // One who has said all may close that side, as `nc -N` does.
        .half_close(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .writev(false)
        .serve_connection(io, service);
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                debug!("a connection to the API broke off: {error}");
            }
        }
        () = seat.needed() => debug!("a connection to the API had to make room for another"),
        () = overdue(streams) => debug!("a connection to the API took too long"),
    }
}

/// Ready when a connection has had its time; one whose answer goes on has as much as it likes.
async fn overdue(streams: &AtomicBool) {
    sleep(CONNECTION_TIME).await;
    if streams.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

async fn respond(
    api: &Api,
    seat: &Seat,
    turn: &Mutex<Option<OwnedSemaphorePermit>>,
    peer: &Arc<Peer>,
    request: Request<Incoming>,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let demands = routes::demands(parts.uri.path());
    if demands.large {
        let free = timeout(TURN_TIME, Arc::clone(&api.large).acquire_owned()).await;
        let Ok(Ok(permit)) = free else {
            let words = format!("{LARGE_AT_ONCE} large answers are on their way; ask again");
            return refusal(StatusCode::SERVICE_UNAVAILABLE, words);
        };
        *turn.lock().await = Some(permit);
    }
    let body = match timeout(BODY_TIME, read(body, demands.body_bytes)).await {
        Ok(Ok(body)) => body,
        Ok(Err(refused)) => return refused,
        Err(_) => {
            let words = format!("the body did not come within {BODY_TIME:?}");
            return refusal(StatusCode::REQUEST_TIMEOUT, words);
        }
    };
    seat.enter(Phase::Working);
    let _scan = match demands.scans {
        true => api.scans.acquire().await.ok(),
        false => None,
    };
    parts.extensions.insert(Arc::clone(peer));
    let request = Request::from_parts(parts, Body::from(body));
    match api.router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

async fn read(body: Incoming, most: usize) -> Result<Bytes, Response> {
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {most} bytes"),
        )),
        Err(error) => Err(refusal(
            StatusCode::BAD_REQUEST,
            format!("the body broke off: {error}"),
        )),
    }
}

/// The process at the other end, by the kernel's word.
fn peer(stream: &UnixStream) -> Peer {
    // Only a socket that was never connected has none.
    let known = stream.peer_cred().ok();
    Peer {
        uid: known.map_or(u32::MAX, |known| known.uid()),
        name: None,
        pid: known.and_then(|known| known.pid()),
    }
}
