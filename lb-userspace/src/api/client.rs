//! The API's client, which the command line uses.

use std::{
    io,
    marker::PhantomData,
    os::unix::net::UnixStream as StdUnixStream,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, sync::oneshot, time::timeout};

use super::{ErrorBody, SOCKET};
use crate::control::view::{
    BackendPlace, Detached, FlowFilter, Flows, Overridden, Override, Reloaded, Status, Weight,
    diff::Diff,
    explain::{ExplainQuery, Explanation},
    trace::{TraceFilter, TraceLine},
};

/// A little longer than the server's own limit.
const ANSWER_TIME: Duration = Duration::from_secs(35);

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{}", unreachable(path, source))]
    Unreachable { path: PathBuf, source: io::Error },
    #[error("the daemon's answer broke off: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the daemon did not answer within {ANSWER_TIME:?}")]
    Slow,
    #[error("the daemon's answer is not what this version expects: {0}")]
    Foreign(#[from] serde_json::Error),
    /// The file that a reload was to apply is not valid; nothing changed.
    #[error("{0}")]
    InvalidConfig(String),
    #[error("{0}")]
    Refused(String),
}

/// A client of the daemon of one run directory.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        Self {
            socket: run_dir.join(SOCKET),
        }
    }

    /// # Errors
    /// When the daemon is not reachable or refuses.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.ask(Method::GET, "/v1/status").await
    }

    /// # Errors
    /// When the daemon is not reachable or refuses.
    pub async fn flows(&self, filter: &FlowFilter) -> Result<Flows, ClientError> {
        let parts = [
            ("service", filter.service.clone()),
            ("backend", filter.backend.clone()),
            ("client", filter.client.map(|client| client.to_string())),
            ("state", filter.state.clone()),
            ("limit", filter.limit.map(|limit| limit.to_string())),
        ];
        self.ask(Method::GET, &format!("/v1/flows?{}", written(parts)))
            .await
    }

    /// # Errors
    /// When the daemon is not reachable or refuses; [`ClientError::InvalidConfig`] when the file
    /// is not valid.
    pub async fn reload(&self) -> Result<Reloaded, ClientError> {
        self.ask(Method::POST, "/v1/reload").await
    }

    /// # Errors
    /// When the daemon is not reachable or refuses, as when it has no such backend.
    pub async fn override_backend(
        &self,
        place: &BackendPlace,
        to: Override,
    ) -> Result<Overridden, ClientError> {
        let (service, backend) = (escape(&place.service), escape(&place.backend));
        let (verb, body) = match to {
            Override::Drain => ("drain", Vec::new()),
            Override::Disable => ("disable", Vec::new()),
            Override::Enable => ("enable", Vec::new()),
            Override::Weight(weight) => ("weight", serde_json::to_vec(&Weight { weight })?),
        };
        let path = format!("/v1/services/{service}/backends/{backend}/{verb}");
        self.send(Method::POST, &path, body).await
    }

    /// What a reload would change if the file had this text.
    ///
    /// # Errors
    /// When the daemon is not reachable or refuses; [`ClientError::InvalidConfig`] when the text is
    /// not valid.
    pub async fn diff(&self, text: String, file: &Path) -> Result<Diff, ClientError> {
        let path = format!("/v1/diff?file={}", escape(&file.display().to_string()));
        self.send(Method::POST, &path, text.into_bytes()).await
    }

    /// # Errors
    /// When the daemon is not reachable or refuses.
    pub async fn detach(&self) -> Result<Detached, ClientError> {
        self.ask(Method::POST, "/v1/detach").await
    }

    /// What would become of a packet.
    ///
    /// # Errors
    /// When the daemon is not reachable or refuses.
    pub async fn explain(&self, query: &ExplainQuery) -> Result<Explanation, ClientError> {
        let parts = [
            ("client", Some(query.client.clone())),
            ("vip", Some(query.vip.clone())),
            ("protocol", query.protocol.clone()),
            ("interface", query.interface.clone()),
            ("size", query.size.map(|size| size.to_string())),
        ];
        self.ask(Method::GET, &format!("/v1/explain?{}", written(parts)))
            .await
    }

    /// What becomes of sampled packets, until the stream is dropped.
    ///
    /// # Errors
    /// When the daemon is not reachable or refuses.
    pub async fn trace(&self, filter: &TraceFilter) -> Result<Lines<TraceLine>, ClientError> {
        let every = filter
            .every
            .map_or_else(String::new, |every| format!("&every={every}"));
        let path = format!("/v1/trace?service={}{every}", escape(&filter.service));
        let response = timeout(ANSWER_TIME, self.request(Method::GET, &path, Vec::new()));
        let response = response.await.map_err(|_| ClientError::Slow)??;
        if !response.status().is_success() {
            return Err(refusal(response).await?);
        }
        Ok(Lines {
            body: response.into_body(),
            buffer: Vec::new(),
            kind: PhantomData,
        })
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str) -> Result<T, ClientError> {
        self.send(method, path, Vec::new()).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        timeout(ANSWER_TIME, self.exchange(method, path, body))
            .await
            .map_err(|_| ClientError::Slow)?
    }

    /// A connection. Where the socket's queue is full, the kernel has a call that may wait stand in line;
    /// one that may not is sent away. So a thread waits, and is left behind if that takes too long.
    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let (connected, waiting) = oneshot::channel();
        let socket = self.socket.clone();
        thread::spawn(move || connected.send(StdUnixStream::connect(socket)));
        let stream = async {
            let stream = waiting.await.map_err(io::Error::other)??;
            stream.set_nonblocking(true)?;
            UnixStream::from_std(stream)
        };
        stream.await.map_err(|source| ClientError::Unreachable {
            path: self.socket.clone(),
            source,
        })
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let response = self.request(method, path, body).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await?);
        }
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "divvy")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .expect("paths and queries are escaped");
        Ok(sender.send_request(request).await?)
    }
}

/// What an answer that says no says.
async fn refusal(response: Response<Incoming>) -> Result<ClientError, ClientError> {
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let message = serde_json::from_slice::<ErrorBody>(&body).map_or_else(
        |_| format!("the daemon answered {status}"),
        |body| body.error,
    );
    Ok(match status {
        StatusCode::UNPROCESSABLE_ENTITY => ClientError::InvalidConfig(message),
        _ => ClientError::Refused(message),
    })
}

/// An answer of one JSON value a line, as they come.
pub struct Lines<T> {
    body: Incoming,
    buffer: Vec<u8>,
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    /// The next one; `None` once the daemon has ended the answer.
    ///
    /// # Errors
    /// When the answer breaks off, or is not what was expected.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let value = serde_json::from_slice(&self.buffer[..end])?;
                self.buffer.drain(..=end);
                return Ok(Some(value));
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

/// A query of the parts that there are.
fn written<const N: usize>(parts: [(&str, Option<String>); N]) -> String {
    let there = (parts.into_iter())
        .filter_map(|(name, value)| value.map(|value| format!("{name}={}", escape(&value))));
    there.collect::<Vec<_>>().join("&")
}

fn unreachable(path: &Path, source: &io::Error) -> String {
    let path = path.display();
    match source.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "this user may not ask the daemon on {path}: {source}; run as root, or as a member of the \
             group that its --socket-group names"
        ),
        _ => format!(
            "no daemon answers on {path}: {source}; start it with `divvy run`, or name its --run-dir"
        ),
    }
}

/// Percent-encoding (RFC 3986, section 2.1) of everything but unreserved characters.
fn escape(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
