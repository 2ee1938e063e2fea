//! Asking an HTTP server whether it is well.

use std::ops::RangeInclusive;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Failure;

/// How much of a body is read before we hang up.
pub(super) const BODY_LIMIT: usize = 64 * 1024;
const USER_AGENT: &str = concat!("divvy/", env!("CARGO_PKG_VERSION"));

/// Well when it answers GET with an expected status. Redirects are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    pub path: String,
    /// The Host header; address and port if `None`.
    pub host: Option<String>,
    /// Status codes that are well.
    pub expect: Vec<RangeInclusive<u16>>,
}

/// Sends GET, and reads the status and at most [`BODY_LIMIT`] of the body.
pub(super) async fn get<S>(stream: S, http: &Http, host: &str) -> Result<StatusCode, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Http { path, expect, .. } = http;
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::CONNECTION, "close")
        .body(Empty::<&[u8]>::new())
        .map_err(|source| Failure::Request {
            path: path.clone(),
            source,
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(Failure::from_hyper)?;
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(Failure::from_hyper)?;
        let status = response.status();
        if !expect.iter().any(|range| range.contains(&status.as_u16())) {
            return Err(Failure::Status {
                code: status.as_u16(),
                expected: expect.clone(),
            });
        }
        let mut body = response.into_body();
        let mut read = 0;
        while read < BODY_LIMIT
            && let Some(frame) = body.frame().await
        {
            let frame = frame.map_err(Failure::from_hyper)?;
            read += frame.data_ref().map_or(0, hyper::body::Bytes::len);
        }
        Ok(status)
    };
    // The connection has to be driven beside the exchange; how it ended, the exchange learns too.
    let driver = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        result = exchange => result,
        never = driver => match never {},
    }
}
