//! The API's server: HTTP with JSON on a unix socket. Each request becomes a question to the
//! control loop.

use std::{
    fs, io,
    os::unix::{fs::PermissionsExt as _, net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{
        ConnectInfo, DefaultBodyLimit, Path as UrlPath, Query, State, connect_info::Connected,
    },
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{get, post},
    serve::IncomingStream,
};
use nix::unistd::User;
use tokio::net::{UnixListener, UnixStream};

use super::{ErrorBody, SOCKET};
use crate::{
    config::MAX_WEIGHT,
    control::{
        CommandError, Handle, Peer,
        view::{BackendPlace, FlowFilter, Override, Weight},
    },
};

/// Longest that a request may take; a reload waits for nothing but the kernel.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// No request carries a body worth more.
const BODY_LIMIT: usize = 64 * 1024;

/// The socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("a daemon already answers on {}; stop it first, or choose another --run-dir", path.display())]
    InUse { path: PathBuf },
    #[error("cannot listen on {}: {source}", path.display())]
    Listen { path: PathBuf, source: io::Error },
}

/// Opens the socket in the run directory, mode 0660, in place of one that nobody answers on.
///
/// # Errors
/// When another daemon answers there, or the socket cannot be made.
pub fn listen(run_dir: &Path) -> Result<UnixListener, ServerError> {
    let path = run_dir.join(SOCKET);
    if StdUnixStream::connect(&path).is_ok() {
        return Err(ServerError::InUse { path });
    }
    let failed = |source| ServerError::Listen {
        path: path.clone(),
        source,
    };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

/// Answers requests until `stop` is ready, then finishes those under way.
///
/// # Errors
/// When the socket fails.
pub async fn serve(
    listener: UnixListener,
    control: Handle,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/flows", get(flows))
        .route("/v1/reload", post(reload))
        .route(
            "/v1/services/{service}/backends/{backend}/drain",
            post(drain),
        )
        .route(
            "/v1/services/{service}/backends/{backend}/disable",
            post(disable),
        )
        .route(
            "/v1/services/{service}/backends/{backend}/weight",
            post(weight),
        )
        .route(
            "/v1/services/{service}/backends/{backend}/enable",
            post(enable),
        )
        .route("/v1/detach", post(detach))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(control);
    axum::serve(listener, app.into_make_service_with_connect_info::<Peer>())
        .with_graceful_shutdown(stop)
        .await
}

/// Service and backend of a path.
type Names = UrlPath<(String, String)>;
/// Who asks.
use ConnectInfo as By;

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        peer(stream.io())
    }
}

/// The process at the other end, by the kernel's word.
fn peer(stream: &UnixStream) -> Peer {
    // Only a socket that was never connected has none.
    let known = stream.peer_cred().ok();
    let uid = known.map_or(u32::MAX, |known| known.uid());
    Peer {
        uid,
        name: (User::from_uid(uid.into()).ok().flatten()).map(|user| user.name),
        pid: known.and_then(|known| known.pid()),
    }
}

async fn status(State(control): State<Handle>) -> Response {
    answer(control.status()).await
}

async fn flows(State(control): State<Handle>, Query(filter): Query<FlowFilter>) -> Response {
    answer(control.flows(filter)).await
}

async fn reload(State(control): State<Handle>, By(by): By<Peer>) -> Response {
    answer(control.reload(Some(by))).await
}

async fn drain(state: State<Handle>, names: Names, by: By<Peer>) -> Response {
    override_backend(state, names, by, Override::Drain).await
}

async fn disable(state: State<Handle>, names: Names, by: By<Peer>) -> Response {
    override_backend(state, names, by, Override::Disable).await
}

async fn enable(state: State<Handle>, names: Names, by: By<Peer>) -> Response {
    override_backend(state, names, by, Override::Enable).await
}

async fn weight(
    state: State<Handle>,
    names: Names,
    by: By<Peer>,
    Json(Weight { weight }): Json<Weight>,
) -> Response {
    if weight > MAX_WEIGHT {
        return refusal(
            StatusCode::BAD_REQUEST,
            format!("weight {weight} is not within 0-{MAX_WEIGHT}"),
        );
    }
    override_backend(state, names, by, Override::Weight(weight)).await
}

async fn override_backend(
    State(control): State<Handle>,
    UrlPath((service, backend)): Names,
    By(by): By<Peer>,
    to: Override,
) -> Response {
    let place = BackendPlace { service, backend };
    answer(control.override_backend(place, to, by)).await
}

async fn detach(State(control): State<Handle>, By(by): By<Peer>) -> Response {
    answer(control.detach(by)).await
}

async fn answer<T: serde::Serialize>(
    question: impl Future<Output = Result<T, CommandError>>,
) -> Response {
    let result = tokio::time::timeout(REQUEST_TIME, question).await;
    let (status, error) = match result {
        Ok(Ok(value)) => return Json(value).into_response(),
        Ok(Err(error @ CommandError::InvalidConfig(_))) => {
            (StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
        }
        Ok(Err(error @ CommandError::NoBackend(_))) => (StatusCode::NOT_FOUND, error.to_string()),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        Err(_) => (
            StatusCode::GATEWAY_TIMEOUT,
            format!("the daemon did not answer within {REQUEST_TIME:?}"),
        ),
    };
    refusal(status, error)
}

fn refusal(status: StatusCode, error: String) -> Response {
    (status, Json(ErrorBody { error })).into_response()
}
