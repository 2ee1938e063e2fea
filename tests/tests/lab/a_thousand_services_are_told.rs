//! With a thousand services of ten backends each, API, metrics and page tell of them all. How long that takes is printed, and
//! not judged: it depends on the machine.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use lb_tests::lab::{Divvy, Lab, METRICS, many_services};

const SERVICES: usize = 1_000;
const BACKENDS: usize = 10;
const ROUNDS: usize = 9;

fn running(lab: &Lab) -> Divvy {
    let divvy = lab.divvy_not_running(&many_services(
        lab,
        SERVICES,
        BACKENDS,
        &format!("{METRICS}\n"),
    ));
    divvy.start_again();
    divvy.wait_for_all_up();
    divvy
}

/// The durations of some rounds, as told to people.
fn told(mut durations: Vec<Duration>) -> String {
    durations.sort();
    let mut text = String::new();
    let median = durations[durations.len() / 2];
    let worst = durations[durations.len() - 1];
    let _ = write!(text, "median {median:.0?}, longest {worst:.0?}");
    text
}

#[test]
fn by_api_metrics_and_page() {
    let lab = Lab::routed("told").backends(1).start();
    let divvy = running(&lab);
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let answer = divvy.ask("GET", "/v1/status", "application/json", b"");
        took.push(begun.elapsed());
        let status = answer.json();
        let services = status["services"].as_array().expect("services");
        assert_eq!(services.len(), SERVICES);
        let backends = services.iter().filter_map(|s| s["backends"].as_array());
        assert_eq!(backends.map(Vec::len).sum::<usize>(), SERVICES * BACKENDS);
    }
    println!("GET /v1/status: {}", told(took));
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let metrics = divvy.metrics();
        took.push(begun.elapsed());
        let up = (metrics.iter())
            .filter(|(name, value)| name.starts_with("divvy_backend_up{") && **value == 1.0);
        assert_eq!(up.count(), SERVICES * BACKENDS);
    }
    println!("GET /metrics: {}", told(took));
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let first = first_update(&lab);
        took.push(begun.elapsed());
        assert_eq!(first.matches("\"s/s").count(), SERVICES);
    }
    println!("the page's first update: {}", told(took));
}

/// What a page gets to show when it opens.
fn first_update(lab: &Lab) -> String {
    lab.balancer().inside(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9127").expect("it listens");
        let request = b"GET /events HTTP/1.0\r\nHost: x\r\n\r\n";
        stream.write_all(request).expect("there is room");
        let mut lines = BufReader::new(stream)
            .lines()
            .map(|line| line.expect("text"));
        lines
            .find(|line| line.starts_with("data: "))
            .expect("an update")
    })
}
