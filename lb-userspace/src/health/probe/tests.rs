//! Probes against listeners on 127.0.0.1.

mod tls;
mod udp;

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::failure::in_words;
use super::http::BODY_LIMIT;
use super::*;

/// Long enough for a slow machine, where the test does not wait for it.
const AMPLE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn tcp(address: SocketAddr, timeout: Duration) -> Target {
    Target {
        address,
        kind: Kind::Tcp,
        timeout,
    }
}

fn http(address: SocketAddr, timeout: Duration) -> Target {
    Target {
        address,
        kind: Kind::Http(healthz()),
        timeout,
    }
}

fn healthz() -> Http {
    Http {
        path: "/healthz".into(),
        host: None,
        expect: vec![200..=299],
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers one request with these bytes, keeps the connection open until the client hangs up,
/// and returns the request.
async fn answer_once(listener: TcpListener, answer: Vec<u8>) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        assert_ne!(
            stream.read_buf(&mut request).await.unwrap(),
            0,
            "request cut short"
        );
    }
    // The client may hang up before it has taken everything.
    let _ = stream.write_all(&answer).await;
    let _ = stream.read(&mut [0]).await;
    String::from_utf8(request).unwrap()
}

/// Probes a server that gives this answer; returns the result and the request.
async fn http_probe_answered(answer: &[u8]) -> (Result<Success, Failure>, String) {
    let (listener, address) = listener().await;
    let server = tokio::spawn(answer_once(listener, answer.to_vec()));
    let result = probe(&http(address, AMPLE)).await;
    (result, server.await.unwrap())
}

#[tokio::test]
async fn an_accepted_connection_is_a_tcp_success_and_ends_in_a_reset() {
    let (listener, address) = listener().await;
    let success = probe(&tcp(address, AMPLE)).await.unwrap();
    assert_eq!(success.detail, "connected");
    let (mut stream, _) = listener.accept().await.unwrap();
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_closed_port_refuses() {
    let (listener, address) = listener().await;
    drop(listener);
    let failure = probe(&tcp(address, AMPLE)).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused), "{failure:?}");
    assert_eq!(failure.to_string(), "connection refused");
    assert!(!failure.suggests_stale_neighbour());
}

#[tokio::test]
async fn a_host_that_drops_our_packets_times_out() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // Once the queue of connections to be accepted is full, Linux drops SYNs.
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
        queued.push(stream);
    }
    let failure = probe(&tcp(address, SHORT)).await.unwrap_err();
    assert!(matches!(failure, Failure::TimedOut { .. }), "{failure:?}");
    assert_eq!(failure.to_string(), "timed out after 100ms");
    assert!(failure.suggests_stale_neighbour());
}

#[tokio::test]
async fn a_server_that_accepts_but_never_answers_is_told_apart() {
    let (_listener, address) = listener().await;
    let failure = probe(&http(address, SHORT)).await.unwrap_err();
    assert_eq!(failure.to_string(), "connected, but no answer within 100ms");
    assert!(!failure.suggests_stale_neighbour());
}

#[tokio::test]
async fn an_expected_status_is_a_success() {
    let (result, request) =
        http_probe_answered(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
    assert_eq!(result.unwrap().detail, "HTTP 204");
    let request = request.to_lowercase();
    assert!(
        request.starts_with("get /healthz http/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("\r\nhost: 127.0.0.1:"), "{request}");
    assert!(request.contains("\r\nuser-agent: divvy/"), "{request}");
    assert!(request.contains("\r\nconnection: close\r\n"), "{request}");
}

#[tokio::test]
async fn a_given_host_is_sent_instead_of_the_address() {
    let (listener, address) = listener().await;
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    let server = tokio::spawn(answer_once(listener, answer));
    let mut target = http(address, AMPLE);
    target.kind = Kind::Http(Http {
        host: Some("www.example.com".into()),
        ..healthz()
    });
    probe(&target).await.unwrap();
    assert!(
        server
            .await
            .unwrap()
            .to_lowercase()
            .contains("\r\nhost: www.example.com\r\n")
    );
}

#[tokio::test]
async fn another_status_fails_and_names_both() {
    let (result, _) = http_probe_answered(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "HTTP 500, expected 200-299"
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (result, _) = http_probe_answered(
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(
        result.unwrap_err().to_string(),
        "HTTP 302, expected 200-299"
    );
}

#[tokio::test]
async fn a_reply_that_is_not_http_is_named_so() {
    let (result, _) = http_probe_answered(b"220 mail.example.com ESMTP\r\n\r\n").await;
    let words = result.unwrap_err().to_string();
    assert!(words.starts_with("not an HTTP answer: "), "{words}");
}

#[tokio::test]
async fn hanging_up_instead_of_answering_is_a_failure() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
    });
    let words = probe(&http(address, AMPLE)).await.unwrap_err().to_string();
    assert!(
        words.starts_with("closed the connection before answering"),
        "{words}"
    );
    server.await.unwrap();
}

#[tokio::test]
async fn a_body_that_stops_short_is_a_failure() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            .await
            .unwrap();
    });
    assert!(matches!(
        probe(&http(address, AMPLE)).await,
        Err(Failure::Protocol { .. })
    ));
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 2 * BODY_LIMIT, b'x');
    let (result, _) = http_probe_answered(&answer).await;
    assert_eq!(result.unwrap().detail, "HTTP 200");
}

#[tokio::test]
async fn a_path_that_cannot_be_sent_is_a_failure_and_no_panic() {
    let (_listener, address) = listener().await;
    let mut target = http(address, AMPLE);
    target.kind = Kind::Http(Http {
        path: "/with a blank".into(),
        ..healthz()
    });
    assert!(matches!(probe(&target).await, Err(Failure::Request { .. })));
}

#[test]
fn only_faults_of_this_host_are_local() {
    let failure = |errno| Failure::from_connect(io::Error::from_raw_os_error(errno), SHORT);
    assert!(failure(libc::EMFILE).is_local());
    assert!(failure(libc::EADDRNOTAVAIL).is_local());
    for errno in [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ETIMEDOUT,
        libc::EACCES,
    ] {
        assert!(!failure(errno).is_local(), "{errno}");
    }
    assert_eq!(failure(libc::EHOSTUNREACH).to_string(), "host unreachable");
    assert!(failure(libc::EHOSTUNREACH).suggests_stale_neighbour());
    assert!(failure(libc::ENETUNREACH).suggests_stale_neighbour());
}

#[test]
fn ranges_read_as_people_write_them() {
    assert_eq!(in_words(&[200..=299, 304..=304]), "200-299 or 304");
}
