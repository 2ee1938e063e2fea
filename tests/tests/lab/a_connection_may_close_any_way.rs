//! Either side may close first, half-close, or reset: the other side sees just that, and the flow
//! follows.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use lb_tests::lab::{Divvy, EchoServer, Lab, Manner, VIP4, wait_until};

const PORT: u16 = 700;
const SOON: Duration = Duration::from_secs(5);

/// A lab whose one service is an echo server in the first backend.
fn echo_lab(title: &'static str, manner: Manner) -> (Lab, EchoServer, Divvy) {
    let lab = Lab::routed(title).backends(1).start();
    let server = EchoServer::start(lab.backend("web-1").host(), PORT, manner);
    let config = lab
        .config()
        .with_default("timeouts: { fin: 2s, reset: 1s }");
    let yaml = (config.yaml())
        .replace("10.0.1.2:80", &format!("10.0.1.2:{PORT}"))
        .replace("type: http, path: /healthz,", "type: none,");
    let divvy = lab.divvy_not_running(&yaml);
    divvy.start_again();
    divvy.wait_for_all_up();
    (lab, server, divvy)
}

fn connect(lab: &Lab) -> TcpStream {
    lab.client().inside(|| {
        let stream = TcpStream::connect((VIP4, 80)).expect("the vip accepts");
        stream.set_read_timeout(Some(SOON)).expect("a valid time");
        stream
    })
}

fn states(divvy: &Divvy) -> Vec<String> {
    (divvy.flows()["flows"].as_array().into_iter().flatten())
        .map(|flow| flow["state"].as_str().unwrap_or_default().to_owned())
        .collect()
}

fn read_all(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).map(|_| text)
}

#[test]
fn the_client_closes_first() {
    let (lab, _server, divvy) = echo_lab("close_c", Manner::Echo);
    let mut stream = connect(&lab);
    stream.write_all(b"ping").expect("sent");
    let mut four = [0; 4];
    stream.read_exact(&mut four).expect("echoed");
    assert_eq!(states(&divvy), ["established"]);
    drop(stream);
    wait_until("both ends have closed", SOON, || {
        states(&divvy) == ["closed"]
    });
    wait_until("the flow is swept", SOON, || states(&divvy).is_empty());
}

#[test]
fn the_backend_closes_first() {
    let (lab, _server, divvy) = echo_lab("close_b", Manner::CloseFirst);
    let mut stream = connect(&lab);
    assert_eq!(read_all(&mut stream).expect("greeted"), "hello");
    wait_until("one end has closed", SOON, || states(&divvy) == ["fin"]);
    drop(stream);
    wait_until("both ends have closed", SOON, || {
        states(&divvy) == ["closed"]
    });
}

#[test]
fn a_half_closed_connection_still_answers() {
    let (lab, _server, _divvy) = echo_lab("half_close", Manner::AnswerAfterClose);
    let mut stream = connect(&lab);
    stream.write_all(&[b'x'; 100_000]).expect("sent");
    stream.shutdown(Shutdown::Write).expect("half closed");
    assert_eq!(read_all(&mut stream).expect("answered").len(), 100_000);
}

#[test]
fn a_reset_by_the_backend_reaches_the_client() {
    let (lab, _server, divvy) = echo_lab("reset_b", Manner::Reset);
    let mut stream = connect(&lab);
    stream.write_all(b"ping").expect("sent");
    let error = read_all(&mut stream).expect_err("reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(states(&divvy), ["reset"]);
    wait_until("the flow is swept", SOON, || states(&divvy).is_empty());
}

#[test]
fn a_segment_without_a_flow_is_reset() {
    let (lab, _server, divvy) = echo_lab("no_flow", Manner::Echo);
    let mut stream = connect(&lab);
    stream.write_all(b"ping").expect("sent");
    // The balancer forgets everything; the client does not know.
    divvy.must(&["detach"]);
    assert!(divvy.wait_for_its_end().success());
    divvy.start_again();
    divvy.wait_for_all_up();
    let mut four = [0; 4];
    // What came before the program was taken off may still be there to read.
    let _ = stream.read(&mut four);
    let written = stream
        .write_all(b"pong")
        .and_then(|()| read_all(&mut stream).map(drop));
    assert_eq!(
        written.expect_err("reset").kind(),
        ErrorKind::ConnectionReset
    );
}
