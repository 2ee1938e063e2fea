//! The lab itself works, without a balancer: the balancer's kernel forwards, and nothing stays.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_tests::lab::{
    Backend, EchoServer, IdleConnections, Lab, Load, Manner, SynFlood, ten_megabytes, wait_until,
};

const SOON: Duration = Duration::from_secs(5);

fn urls(backend: &Backend, path: &str) -> [String; 2] {
    [
        format!("http://{}{path}", backend.v4()),
        format!("http://{}{path}", backend.v6()),
    ]
}

fn every_backend_answers(lab: &Lab) {
    for backend in lab.backends() {
        for url in urls(backend, "/") {
            let response = lab.client().get(&url).expect("the backend answers");
            assert_eq!(response.status, 200);
            assert_eq!(response.backend, backend.name());
            assert_eq!(response.body, format!("{}\n", backend.name()).into_bytes());
        }
        for url in urls(backend, "/10mb") {
            let response = lab.client().get(&url).expect("the backend sends the file");
            assert!(response.body == ten_megabytes(), "{url} came changed");
        }
    }
}

#[test]
fn routed() {
    every_backend_answers(&Lab::routed("self_routed").backends(3).start());
}

#[test]
fn one_arm() {
    every_backend_answers(&Lab::one_arm("self_arm").backends(2).port(8080).start());
}

#[test]
fn a_hundred_megabytes_are_told_by_their_digest() {
    let lab = Lab::routed("self_large").backends(1).start();
    let [url, _] = urls(lab.backend("web-1"), "/100mb");
    let error = lab.client().digest(&url).expect_err("nobody asked for it");
    assert!(error.to_string().contains("404"), "{error}");
    let offered = lab.offer_hundred_megabytes();
    assert_eq!(offered.length(), 100_000_000);
    assert_eq!(lab.client().digest(&url).expect("the file comes"), offered);
}

#[test]
fn backends_come_go_and_fall_ill() {
    let mut lab = Lab::routed("self_backend").backends(1).start();
    lab.add_backend();
    every_backend_answers(&lab);

    let backend = lab.backend("web-2");
    let [root, _] = urls(backend, "/");
    let [health, _] = urls(backend, "/healthz");
    let answer = |url: &str| lab.client().get(url).map(|response| response.status);
    assert_eq!(answer(&health).expect("nginx runs"), 200);
    backend.set_healthy(false);
    assert_eq!(answer(&health).expect("nginx runs"), 503);
    backend.set_healthy(true);
    assert_eq!(answer(&health).expect("nginx runs"), 200);
    backend.kill();
    assert!(answer(&root).is_err());
    backend.start();
    assert_eq!(answer(&root).expect("nginx runs again"), 200);

    backend.set_mac("02:00:00:00:00:99");
    lab.balancer().flush_neighbours();
    assert_eq!(answer(&root).expect("the new address is asked for"), 200);
    let entry = lab
        .balancer()
        .must_run(&["ip", "neigh", "show", "dev", "web-2"]);
    assert!(entry.contains("02:00:00:00:00:99"), "{entry}");
}

#[test]
fn load_counts_answers_and_failures() {
    let lab = Lab::routed("self_load").backends(1).start();
    let backend = lab.backend("web-1");
    let [url, _] = urls(backend, "/");
    let load = Load::on(&url).clients(4).per_second(500).from(lab.client());
    load.wait_for(100);
    assert_eq!(load.so_far().failed().len(), 0, "{}", load.so_far());
    backend.kill();
    wait_until("a request fails", SOON, || {
        !load.so_far().failed().is_empty()
    });
    backend.start();
    load.wait_for(100);
    let report = load.stop();
    let last = report.last_failure().expect("one failed above");
    assert!(
        report.since(last.ended()).answered_by("web-1") > 50,
        "{report}"
    );

    let mut idle = IdleConnections::open(lab.client(), &url, 100);
    assert_eq!(idle.to_backend("web-1"), 100);
    assert_eq!(idle.broken(), Vec::<String>::new());
    backend.kill();
    assert_eq!(idle.broken().len(), 100);
}

#[test]
fn flood_arrives() {
    let lab = Lab::routed("self_flood").backends(1).start();
    let backend = lab.backend("web-1");
    for target in [
        SocketAddr::from(backend.v4()),
        SocketAddr::from(backend.v6()),
    ] {
        // The kernel counts a SYN only when its checksums are right.
        let opens = || {
            let table = backend.host().must_run(&["cat", "/proc/net/netstat"]);
            let value = |name: &str| {
                let mut rows = table.lines().filter(|row| row.starts_with("TcpExt:"));
                let names = rows.next().unwrap_or_default().split(' ');
                let values = rows.next().unwrap_or_default().split(' ');
                names
                    .zip(values)
                    .find(|(key, _)| *key == name)
                    .and_then(|(_, value)| value.parse::<u64>().ok())
                    .unwrap_or_default()
            };
            value("TCPReqQFullDoCookies") + value("SyncookiesSent")
        };
        let before = opens();
        SynFlood::at(target).count(20_000).from(lab.client());
        wait_until("the flood fills the backlog", SOON, || opens() > before);
    }
}

#[test]
fn echo_servers_close_in_their_manner() {
    use std::io::{Read as _, Write as _};

    let lab = Lab::routed("self_echo").backends(1).start();
    let backend = lab.backend("web-1");
    let talk = |port: u16, manner: Manner| {
        let _server = EchoServer::start(backend.host(), port, manner);
        lab.client().inside(|| {
            let mut stream = std::net::TcpStream::connect((backend.host().v4(), port))
                .expect("the server listens");
            stream.write_all(b"ping").expect("the connection stands");
            if manner != Manner::Reset {
                stream
                    .shutdown(std::net::Shutdown::Write)
                    .expect("the connection stands");
            }
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        })
    };
    assert_eq!(talk(7001, Manner::Echo).expect("echoed"), "ping");
    assert_eq!(talk(7002, Manner::CloseFirst).expect("greeted"), "hello");
    assert_eq!(
        talk(7003, Manner::AnswerAfterClose).expect("answered"),
        "ping"
    );
    let error = talk(7004, Manner::Reset).expect_err("reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// What the lab of this title has left on the host.
fn traces(title: &str) -> Vec<PathBuf> {
    [Path::new("/run/netns"), &std::env::temp_dir()]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(title))
        .collect()
}

#[test]
fn nothing_stays() {
    let lab = Lab::one_arm("self_gone").backends(1).start();
    assert_eq!(traces("self_gone").len(), 5, "a folder and four namespaces");
    drop(lab);
    assert_eq!(traces("self_gone"), Vec::<PathBuf>::new());
}

#[test]
fn nothing_stays_after_a_panic() {
    let panic = std::panic::catch_unwind(|| {
        let _lab = Lab::routed("self_panic").backends(1).start();
        panic!("on purpose");
    });
    assert!(panic.is_err());
    assert_eq!(traces("self_panic"), Vec::<PathBuf>::new());
}
