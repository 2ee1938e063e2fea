//! The API's routes: each request becomes a question to the control loop.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension, Json, Router,
    body::{Body, to_bytes},
    extract::{Path as UrlPath, Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use futures_util::stream;
use nix::unistd::User;
use serde::Deserialize;

use super::ErrorBody;
use crate::{
    config::{MAX_FILE_BYTES, MAX_WEIGHT},
    control::{
        CommandError, Handle, Peer,
        view::{
            BackendPlace, FlowFilter, Override, Weight,
            explain::ExplainQuery,
            trace::{TraceFilter, TraceLine},
        },
    },
};

/// Longest that a request may take; a reload waits for nothing but the kernel.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// No request but a diff carries a body worth more.
const BODY_BYTES: usize = 64 * 1024;
/// Most of a message that a refusal takes over.
const MESSAGE_BYTES: usize = 64 * 1024;

/// Where a request goes, and what it may take.
pub struct Route {
    pub method: &'static str,
    /// As in the OpenAPI description: names in braces.
    pub path: &'static str,
    /// Most bytes of a body.
    pub(super) body_bytes: usize,
    /// Its answer may be large: few at a time.
    pub(super) large: bool,
    /// It goes through the flow tables.
    pub(super) scans: bool,
    /// Its answer goes on until the client has enough.
    pub(super) streams: bool,
    handler: fn() -> MethodRouter<Handle>,
}

const fn route(
    method: &'static str,
    path: &'static str,
    handler: fn() -> MethodRouter<Handle>,
) -> Route {
    Route {
        method,
        path,
        body_bytes: BODY_BYTES,
        large: false,
        scans: false,
        streams: false,
        handler,
    }
}

/// All that there are.
pub const ROUTES: &[Route] = &[
    Route {
        scans: true,
        ..route("GET", "/v1/status", || get(status))
    },
    Route {
        scans: true,
        large: true,
        ..route("GET", "/v1/flows", || get(flows))
    },
    Route {
        scans: true,
        large: true,
        body_bytes: MAX_FILE_BYTES,
        ..route("POST", "/v1/diff", || post(diff))
    },
    Route {
        scans: true,
        ..route("GET", "/v1/explain", || get(explain))
    },
    Route {
        streams: true,
        ..route("GET", "/v1/trace", || get(trace))
    },
    route("POST", "/v1/reload", || post(reload)),
    route(
        "POST",
        "/v1/services/{service}/backends/{backend}/drain",
        || post(drain),
    ),
    route(
        "POST",
        "/v1/services/{service}/backends/{backend}/disable",
        || post(disable),
    ),
    route(
        "POST",
        "/v1/services/{service}/backends/{backend}/weight",
        || post(weight),
    ),
    route(
        "POST",
        "/v1/services/{service}/backends/{backend}/enable",
        || post(enable),
    ),
    route("POST", "/v1/detach", || post(detach)),
];

/// What a request to this path may take.
pub(super) fn demands(path: &str) -> Demands {
    let route = ROUTES.iter().find(|route| route.path == path);
    Demands {
        body_bytes: route.map_or(BODY_BYTES, |route| route.body_bytes),
        large: route.is_some_and(|route| route.large),
        scans: route.is_some_and(|route| route.scans),
        streams: route.is_some_and(|route| route.streams),
    }
}

/// As in [`Route`].
pub(super) struct Demands {
    pub(super) body_bytes: usize,
    pub(super) large: bool,
    pub(super) scans: bool,
    pub(super) streams: bool,
}

pub(super) fn router(control: Handle) -> Router {
    (ROUTES.iter())
        .fold(Router::new(), |router, route| {
            router.route(route.path, (route.handler)())
        })
        .fallback(async || {
            refusal(
                StatusCode::NOT_FOUND,
                "there is no such path; see openapi.yaml",
            )
        })
        .method_not_allowed_fallback(async || {
            let words = "this path takes another method; see openapi.yaml";
            refusal(StatusCode::METHOD_NOT_ALLOWED, words)
        })
        // The server has read the body, and knows how large it may be.
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(control)
}

/// An answer that says no, also where it comes from a library.
pub(super) async fn with_json(response: Response) -> Response {
    let status = response.status();
    let json = response.headers().get(CONTENT_TYPE);
    if status.is_success() || json.is_some_and(|kind| kind == "application/json") {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, MESSAGE_BYTES).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let refused = refusal(status, text);
    // What tells of the body is the new one's.
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    let (own, body) = refused.into_parts();
    parts.headers.extend(own.headers);
    Response::from_parts(parts, body)
}

pub(super) fn refusal(status: StatusCode, error: impl Into<String>) -> Response<Body> {
    let error = error.into();
    (status, Json(ErrorBody { error })).into_response()
}

/// Service and backend of a path.
type Names = UrlPath<(String, String)>;
/// Who asks.
type By = Extension<Arc<Peer>>;

/// With the name that the user database has, which may take a while to answer.
async fn known(by: By) -> Peer {
    let peer = by.0.as_ref().clone();
    let uid = peer.uid;
    let found = tokio::task::spawn_blocking(move || User::from_uid(uid.into())).await;
    let user = found.ok().and_then(Result::ok).flatten();
    Peer {
        name: user.map(|user| user.name),
        ..peer
    }
}

async fn status(State(control): State<Handle>) -> Response {
    answer(control.status()).await
}

async fn flows(State(control): State<Handle>, Query(filter): Query<FlowFilter>) -> Response {
    answer(control.flows(filter)).await
}

async fn explain(State(control): State<Handle>, Query(query): Query<ExplainQuery>) -> Response {
    answer(control.explain(query)).await
}

/// One line of JSON each, for as long as the client reads.
async fn trace(State(control): State<Handle>, Query(filter): Query<TraceFilter>) -> Response {
    let lines = match control.trace(filter).await {
        Ok(lines) => lines,
        Err(error) => {
            let (status, words) = refused(&error);
            return refusal(status, words);
        }
    };
    let lines = stream::unfold(lines, async |mut lines| {
        let line: TraceLine = lines.recv().await?;
        let mut text = serde_json::to_vec(&line).ok()?;
        text.push(b'\n');
        Some((Ok::<_, Infallible>(text), lines))
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}

/// The name under which errors tell of a file.
#[derive(Deserialize)]
struct FileName {
    file: Option<String>,
}

async fn diff(
    State(control): State<Handle>,
    Query(FileName { file }): Query<FileName>,
    text: String,
) -> Response {
    let name = file.unwrap_or_else(|| "the request".to_owned());
    answer(control.diff(text, name)).await
}

async fn reload(State(control): State<Handle>, by: By) -> Response {
    answer(control.reload(Some(known(by).await))).await
}

async fn drain(state: State<Handle>, names: Names, by: By) -> Response {
    override_backend(state, names, by, Override::Drain).await
}

async fn disable(state: State<Handle>, names: Names, by: By) -> Response {
    override_backend(state, names, by, Override::Disable).await
}

async fn enable(state: State<Handle>, names: Names, by: By) -> Response {
    override_backend(state, names, by, Override::Enable).await
}

async fn weight(
    state: State<Handle>,
    names: Names,
    by: By,
    Json(Weight { weight }): Json<Weight>,
) -> Response {
    if weight > MAX_WEIGHT {
        let words = format!("weight {weight} is not within 0-{MAX_WEIGHT}");
        return refusal(StatusCode::BAD_REQUEST, words);
    }
    override_backend(state, names, by, Override::Weight(weight)).await
}

async fn override_backend(
    State(control): State<Handle>,
    UrlPath((service, backend)): Names,
    by: By,
    to: Override,
) -> Response {
    let place = BackendPlace { service, backend };
    answer(control.override_backend(place, to, known(by).await)).await
}

async fn detach(State(control): State<Handle>, by: By) -> Response {
    answer(control.detach(known(by).await)).await
}

async fn answer<T: serde::Serialize>(
    question: impl Future<Output = Result<T, CommandError>>,
) -> Response {
    let result = tokio::time::timeout(REQUEST_TIME, question).await;
    let (status, error) = match result {
        Ok(Ok(value)) => return Json(value).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            format!("the daemon did not answer within {REQUEST_TIME:?}"),
        ),
    };
    refusal(status, error)
}

/// How an error is told.
fn refused(error: &CommandError) -> (StatusCode, String) {
    let status = match error {
        CommandError::InvalidConfig(_) => StatusCode::UNPROCESSABLE_ENTITY,
        CommandError::NoBackend(_) => StatusCode::NOT_FOUND,
        CommandError::Question(_) => StatusCode::BAD_REQUEST,
        CommandError::Trace(_) => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}
