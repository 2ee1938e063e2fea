//! Whatever is done to the API's socket, `status` answers: silence, slowness, floods and garbage.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use lb_tests::{
    lab::{Divvy, Lab, wait_until},
    number_from_env,
};

const SOON: Duration = Duration::from_secs(20);

fn running(title: &'static str) -> (Lab, Divvy) {
    let lab = Lab::routed(title).backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    (lab, divvy)
}

/// A connection, once there is room in the queue.
fn connect(divvy: &Divvy) -> UnixStream {
    loop {
        match divvy.api_connection() {
            Ok(stream) => return stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("cannot connect: {error}"),
        }
    }
}

/// The daemon has closed it.
fn is_closed(stream: &mut UnixStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    match stream.read(&mut [0; 64]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn to_the_operator_beside_a_thousand_connections_that_say_nothing() {
    let (_lab, divvy) = running("thousand");
    let mut idle: Vec<UnixStream> = (0..1000).map(|_| connect(&divvy)).collect();
    for _ in 0..5 {
        divvy.must(&["status"]);
    }
    wait_until("those that came first have made room", SOON, || {
        idle.iter_mut()
            .map(is_closed)
            .filter(|closed| *closed)
            .count()
            >= 872
    });
    wait_until("the others' time is over", SOON, || {
        idle.iter_mut().all(is_closed)
    });
    divvy.must(&["drain", "web/web-1"]);
}

#[test]
fn while_connections_come_without_end() {
    let (_lab, divvy) = running("storm");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut held = std::collections::VecDeque::new();
                while !over.load(Ordering::Relaxed) {
                    held.push_back(connect(&divvy));
                    if held.len() > 500 {
                        held.pop_front();
                    }
                }
            });
        }
        for _ in 0..10 {
            let output = divvy.cli(&["status"]);
            if !output.status.success() {
                over.store(true, Ordering::Relaxed);
                panic!("{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn to_one_who_asks_beside_slow_ones() {
    let (_lab, divvy) = running("slowloris");
    let begun = Instant::now();
    let mut slow: Vec<UnixStream> = (0..200).map(|_| connect(&divvy)).collect();
    let mut rest = "GET /v1/status HTTP/1.1\r\nhost: x\r\nx-slow: "
        .bytes()
        .chain(std::iter::repeat(b'a'));
    let mut bodies: Vec<UnixStream> = (0..20).map(|_| connect(&divvy)).collect();
    for stream in &mut bodies {
        let head = b"POST /v1/diff HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n";
        let _ = stream.write_all(head);
    }
    // A byte now and then, for longer than a head may take.
    while begun.elapsed() < Duration::from_secs(7) {
        let byte = [rest.next().expect("it has no end")];
        for stream in &mut slow {
            let _ = stream.write_all(&byte);
        }
        divvy.must(&["status"]);
        thread::sleep(Duration::from_millis(100));
    }
    for stream in &mut slow {
        stream.set_nonblocking(false).expect("a socket");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "it never asked");
    }
    divvy.must(&["flows"]);
}

#[test]
fn to_one_who_asks_beside_others_that_do_not_read() {
    let (_lab, divvy) = running("unread");
    let mut asked: Vec<UnixStream> = (0..300).map(|_| connect(&divvy)).collect();
    for stream in &mut asked {
        let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n");
    }
    for _ in 0..5 {
        divvy.must(&["status"]);
    }
}

#[test]
fn and_what_is_too_large_is_refused() {
    let (_lab, divvy) = running("large");
    let long = "x".repeat(64 * 1024);
    let weight = "/v1/services/web/backends/web-1/weight";
    let large = [b' '; 64 * 1024 + 1];
    let head = |more: &str| format!("GET /v1/status HTTP/1.1\r\nhost: x\r\n{more}\r\n");
    let many: String = (0..100).map(|n| format!("x-{n}: y\r\n")).collect();
    for (what, answer, statuses) in [
        (
            "a path",
            divvy.say(format!("GET /{long} HTTP/1.1\r\n\r\n").as_bytes()),
            &[400, 414, 431][..],
        ),
        (
            "a header",
            divvy.say(head(&format!("x-long: {long}\r\n")).as_bytes()),
            &[431][..],
        ),
        ("headers", divvy.say(head(&many).as_bytes()), &[431][..]),
        (
            "a body",
            Some(divvy.ask("POST", weight, "application/json", &large)),
            &[413][..],
        ),
    ] {
        let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
        assert!(statuses.contains(&answer.status), "{what}: {answer:?}");
        assert_eq!(answer.content_type, "application/json", "{what}");
        assert!(answer.json()["error"].is_string(), "{what}: {answer:?}");
    }
    // A file may be as large as one that is read from the disk.
    let yaml = vec![b'#'; 4 << 20];
    let answer = divvy.ask("POST", "/v1/diff", "text/yaml", &yaml);
    assert_eq!(answer.status, 422, "{answer:?}");
    let yaml = vec![b'#'; (4 << 20) + 1];
    assert_eq!(
        divvy.ask("POST", "/v1/diff", "text/yaml", &yaml).status,
        413
    );
    divvy.must(&["status"]);
}

/// A generator by Marsaglia (xorshift64), so that a run is the same each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).expect("below a usize")
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.next(most)).map(|_| self.next(256) as u8).collect()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.next(of.len())]
    }
}

/// Something like a request: valid pieces, one of them spoilt now and then.
fn request(dice: &mut Dice) -> Vec<u8> {
    let methods = [
        "GET", "POST", "HEAD", "OPTIONS", "CONNECT", "get", "", "G\0T", "PRI",
    ];
    let paths = [
        "/v1/status",
        "/v1/flows?limit=1",
        "/v1/flows?limit=99999999999999999999",
        "/v1/flows?client=%00&state=%ff",
        "/v1/flows?service=web&service=web6",
        "/v1/services/web/backends/web-9/weight",
        "/v1/services/%2e%2e/backends/%2F/enable",
        "/v1/diff?file=%0a%0dx",
        "/v1/diff",
        "*",
        "http://[::1/v1/status",
        "//v1//status",
        "/v1/status\x01",
    ];
    let versions = ["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "", "ICY"];
    let headers = [
        "host: x",
        "content-length: 5",
        "content-length: -1",
        "content-length: 18446744073709551616",
        "transfer-encoding: chunked",
        "transfer-encoding: gzip, chunked",
        "expect: 100-continue",
        "connection: upgrade\r\nupgrade: websocket",
        "content-type: application/json",
        "content-type: \u{7f}",
        ": empty",
        "no colon",
        " folded",
    ];
    let bodies = [
        "",
        "{\"weight\": 5}",
        "{\"weight\":",
        "5\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\n",
        "a: [",
        "\u{0}",
    ];
    let mut bytes = format!(
        "{} {} {}\r\n",
        dice.pick(&methods),
        dice.pick(&paths),
        dice.pick(&versions)
    )
    .into_bytes();
    for _ in 0..dice.next(4) {
        bytes.extend_from_slice(dice.pick(&headers).as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(dice.pick(&bodies).as_bytes());
    match dice.next(6) {
        0 => dice.bytes(300),
        1 => {
            let at = dice.next(bytes.len());
            bytes[at] = dice.next(256) as u8;
            bytes
        }
        2 => {
            let at = dice.next(bytes.len());
            bytes.truncate(at);
            bytes
        }
        3 => {
            let at = dice.next(bytes.len());
            let more = dice.bytes(40);
            bytes.splice(at..at, more);
            bytes
        }
        _ => bytes,
    }
}

#[test]
fn and_garbage_is_refused_and_changes_nothing() {
    const REQUESTS: usize = 3_000;
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    let requests = number_from_env("DIVVY_API_REQUESTS", REQUESTS);
    let seed = number_from_env("DIVVY_API_SEED", SEED);
    assert_ne!(seed, 0, "of 0 comes nothing but 0");
    let (_lab, divvy) = running("garbage");
    let weights = || {
        divvy.status()["services"]
            .clone()
            .to_string()
            .matches("\"override\":null")
            .count()
    };
    let before = weights();
    let mut dice = Dice(seed);
    let mut statuses = std::collections::BTreeMap::new();
    for number in 0..requests {
        let bytes = request(&mut dice);
        let answer = divvy.say(&bytes);
        let shown = || format!("seed {seed}, request {number}: {}", bytes.escape_ascii());
        if let Some(answer) = &answer {
            assert!(
                answer.status < 500 || answer.status == 503,
                "{}: {answer:?}",
                shown()
            );
            if answer.status >= 400 && !bytes.starts_with(b"HEAD") {
                assert_eq!(answer.content_type, "application/json", "{}", shown());
                assert!(
                    answer.json()["error"].is_string(),
                    "{}: {answer:?}",
                    shown()
                );
            }
        }
        *statuses
            .entry(answer.map(|answer| answer.status))
            .or_insert(0) += 1;
    }
    println!("{statuses:?}");
    for status in [Some(200), Some(400), Some(404), Some(405), Some(422), None] {
        assert!(
            statuses.contains_key(&status),
            "{status:?} never came: {statuses:?}"
        );
    }
    assert_eq!(
        weights(),
        before,
        "nobody asked for an override that exists"
    );
    let log = divvy.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn only_to_its_group() {
    let lab = Lab::routed("group").backends(1).start();
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    divvy.also(&["--socket-group", "no-such-group"]);
    let output = divvy.run_to_its_end();
    crate::refusal::refused(
        &output,
        1,
        &["no such group", "groupadd --system no-such-group"],
    );
    divvy.also(&["--socket-group", "daemon"]);
    divvy.start_again();
    let socket = divvy.run_dir().join("divvy.sock");
    let listed = lab
        .balancer()
        .must_run(&["stat", "-c", "%a %U %G", &socket.to_string_lossy()]);
    assert_eq!(listed.trim(), "660 root daemon");
    let mode = std::fs::metadata(&socket)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let by = |group: &str| {
        let words = [
            "setpriv",
            "--reuid=65534",
            "--clear-groups",
            "--bounding-set=-all",
            "--inh-caps=-all",
            group,
        ];
        divvy.cli_by(&words, &["status"])
    };
    let output = by("--regid=daemon");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let output = by("--regid=65534");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
}
