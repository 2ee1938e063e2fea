//! Probes of type `udp` against sockets on 127.0.0.1.

use tokio::net::UdpSocket;

use super::*;

fn udp(address: SocketAddr, expect: Option<&[u8]>, timeout: Duration) -> Target {
    let datagram = Datagram {
        send: b"are you well?".to_vec(),
        expect: expect.map(<[u8]>::to_vec),
    };
    Target {
        address,
        kind: Kind::Udp(datagram),
        timeout,
    }
}

/// Answers one datagram so; returns what it was.
async fn answering(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut question = vec![0; 2048];
        let (length, client) = socket.recv_from(&mut question).await.unwrap();
        socket.send_to(answer, client).await.unwrap();
        question.truncate(length);
        question
    });
    (address, server)
}

#[tokio::test]
async fn any_answer_is_good_where_none_is_expected() {
    let (address, server) = answering(b"").await;
    let success = probe(&udp(address, None, AMPLE)).await.unwrap();
    assert_eq!(success.detail, "answered");
    assert_eq!(server.await.unwrap(), b"are you well?");
}

#[tokio::test]
async fn the_answer_must_contain_what_is_expected() {
    let (address, _server) = answering(b"I am well").await;
    probe(&udp(address, Some(b"am w"), AMPLE)).await.unwrap();

    let (address, _server) = answering(b"ill\x00\xff").await;
    let failure = probe(&udp(address, Some(b"well\r\n"), AMPLE)).await;
    assert_eq!(
        failure.unwrap_err().to_string(),
        "answered \"ill\\x00\\xff\", which does not contain \"well\\r\\n\""
    );
}

#[tokio::test]
async fn silence_fails_when_the_time_is_over() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let failure = probe(&udp(address, None, SHORT)).await.unwrap_err();
    assert_eq!(failure.to_string(), "no answer within 100ms");
    assert!(failure.suggests_stale_neighbour());
}

#[tokio::test]
async fn a_port_that_nobody_has_refuses() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let failure = probe(&udp(address, None, AMPLE)).await.unwrap_err();
    assert_eq!(failure.to_string(), "connection refused");
}
