//! Whatever is done to the page's address, the daemon goes on: streams without end, readers that do not read, silence.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use lb_tests::lab::{Divvy, Lab, METRICS, many_services, wait_until};

const STREAMS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(20);

/// A request that nothing has been read of.
fn ask(lab: &Lab, path: &str) -> TcpStream {
    lab.balancer().inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9127").expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("there is room");
        stream
    })
}

/// The status of the answer.
fn status(stream: &mut TcpStream) -> u16 {
    let mut line = [0; 12];
    stream.read_exact(&mut line).expect("an answer");
    let text = String::from_utf8_lossy(&line).into_owned();
    text.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .expect("a status")
}

fn running(lab: &Lab) -> Divvy {
    let divvy = lab.divvy(&lab.config().with(METRICS));
    divvy.wait_for_all_up();
    divvy
}

#[test]
fn to_so_many_streams_and_to_scrapes_beside_them() {
    let lab = Lab::routed("streams").backends(1).start();
    let divvy = running(&lab);
    let mut streams: Vec<TcpStream> = (0..STREAMS).map(|_| ask(&lab, "/events")).collect();
    for stream in &mut streams {
        assert_eq!(status(stream), 200);
    }
    let mut one_more = ask(&lab, "/events");
    assert_eq!(status(&mut one_more), 503);
    let mut words = String::new();
    let mut reader = BufReader::new(one_more);
    while reader.read_line(&mut words).is_ok_and(|read| read > 0) && !words.contains("close one") {}
    assert!(
        words.contains("32 pages are open already; close one"),
        "{words}"
    );
    assert_eq!(status(&mut ask(&lab, "/")), 200);
    assert!(!divvy.metrics().is_empty());
    // One that leaves makes room.
    streams.pop();
    wait_until("there is room again", PATIENCE, || {
        status(&mut ask(&lab, "/events")) == 200
    });
}

#[test]
fn beside_connections_that_say_nothing() {
    let lab = Lab::routed("silence").backends(1).start();
    let divvy = running(&lab);
    let silent: Vec<TcpStream> = lab.balancer().inside(|| {
        let open = || TcpStream::connect("127.0.0.1:9127").expect("it listens");
        (0..300).map(|_| open()).collect()
    });
    assert_eq!(status(&mut ask(&lab, "/")), 200);
    assert!(!divvy.metrics().is_empty());
    drop(silent);
}

#[test]
fn beside_readers_that_do_not_read() {
    let lab = Lab::routed("unread").backends(1).start();
    let yaml = many_services(&lab, 1_000, 10, &format!("{METRICS}\n"));
    let divvy = lab.divvy_not_running(&yaml);
    divvy.start_again();
    divvy.wait_for_all_up();
    let before = memory(&divvy);
    // Each answer is larger than what the kernel holds for a connection.
    let open: String = (0..20).map(|n| format!("s{n},")).collect();
    let streams: Vec<TcpStream> = (0..STREAMS)
        .map(|_| ask(&lab, &format!("/events?open={open}")))
        .collect();
    let scrapes: Vec<TcpStream> = (0..8).map(|_| ask(&lab, "/metrics")).collect();
    for _ in 0..10 {
        // The control loop and the API do not wait for them.
        divvy.must(&["weight", "s1/b1", "3"]);
        divvy.must(&["enable", "s1/b1"]);
        assert_eq!(status(&mut ask(&lab, "/")), 200);
    }
    // Scrapes that are not read take the few turns there are, for a while and no longer.
    wait_until(
        "a scrape is answered again",
        Duration::from_secs(60),
        || status(&mut ask(&lab, "/metrics")) == 200,
    );
    let grown = memory(&divvy).saturating_sub(before);
    println!("memory grew by {grown} kB for {STREAMS} streams and 8 scrapes that nobody reads");
    assert!(grown < 200_000, "{grown} kB");
    drop((streams, scrapes));
}

/// Resident, in kB.
fn memory(divvy: &Divvy) -> u64 {
    let path = format!("/proc/{}/status", divvy.id());
    let text = std::fs::read_to_string(path).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("a number")
}
