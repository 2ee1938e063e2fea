//! A backend with `max_flows` never has more connections than that; when every backend has as many as it
//! may, further clients are refused at once, until a connection ends.

use std::{
    io::ErrorKind,
    net::TcpStream,
    sync::{Barrier, Mutex},
    thread,
    time::Duration,
};

use lb_tests::lab::{Divvy, IdleConnections, Lab, TIMEOUT, URL4, URL6, Url, wait_until};

const LIMITS: [(&str, usize); 3] = [("web-1", 5), ("web-2", 10), ("web-3", 20)];
const IN_ALL: usize = 35;

fn start(name: &'static str, scheduler: &str) -> (Lab, Divvy) {
    let lab = Lab::routed(name).backends(3).start();
    let mut config = (lab.config()).with_default(&format!("scheduler: {scheduler}"));
    for (backend, most) in LIMITS {
        config = config.backend_key(backend, &format!("max_flows: {most}"));
    }
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    (lab, divvy)
}

fn refused(lab: &Lab, url: &str) {
    let error = lab.client().get(url).expect_err("all backends are full");
    // By a RST, and not by a timeout of the client's.
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn with_any_scheduler() {
    for (name, scheduler) in [
        ("full_hash", "maglev"),
        ("full_turns", "round_robin"),
        ("full_random", "random"),
        ("full_least", "least_conn"),
    ] {
        let (lab, divvy) = start(name, scheduler);
        for url in [URL4, URL6] {
            let mut idle = IdleConnections::open(lab.client(), url, IN_ALL);
            for (backend, most) in LIMITS {
                assert_eq!(idle.to_backend(backend), most, "{scheduler}, {backend}");
            }
            refused(&lab, url);
            assert_eq!(idle.broken(), Vec::<String>::new());
            drop(idle);
            wait_until("a connection may be opened again", TIMEOUT, || {
                lab.client().get(url).is_ok()
            });
        }
        let refusals = divvy.reason("backends_full");
        assert!(refusals >= 2, "{refusals}");
    }
}

/// Clients come on all CPUs at once, and a restarted daemon knows what there is.
#[test]
fn however_many_come_at_once() {
    const THREADS: usize = 8;
    const EACH: usize = 25;
    let (lab, divvy) = start("full_rush", "random");
    let vip = Url::parse(URL4).address;
    let (ready, open) = (Barrier::new(THREADS), Mutex::new(Vec::new()));
    let client = lab.client();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                ready.wait();
                let mine: Vec<TcpStream> = client.inside(|| {
                    (0..EACH)
                        .filter_map(|_| match TcpStream::connect_timeout(&vip, TIMEOUT) {
                            Ok(stream) => Some(stream),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                                None
                            }
                        })
                        .collect()
                });
                open.lock().expect("no thread failed").extend(mine);
            });
        }
    });
    let open = open.into_inner().expect("no thread failed");
    assert_eq!(open.len(), IN_ALL, "of {} attempts", THREADS * EACH);
    divvy.kill9();
    divvy.start_again();
    divvy.wait_for_all_up();
    refused(&lab, URL4);
    drop(open);
    wait_until("all may be opened again", Duration::from_secs(10), || {
        let again = client.inside(|| {
            (0..IN_ALL)
                .map(|_| TcpStream::connect_timeout(&vip, TIMEOUT))
                .collect::<Result<Vec<_>, _>>()
        });
        again.is_ok()
    });
}

/// Those of before are counted by the sweeper alone.
#[test]
fn a_first_limit_finds_the_connections_that_are_there() {
    let lab = Lab::routed("full_late").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    let mut idle = IdleConnections::open(lab.client(), URL4, 10);
    divvy.apply(&lab.config().backend_key("web-1", "max_flows: 10"));
    wait_until("the backend is full", Duration::from_secs(20), || {
        lab.client().get(URL4).is_err()
    });
    refused(&lab, URL4);
    divvy.apply(&lab.config().backend_key("web-1", "max_flows: 11"));
    wait_until("there is room for one", TIMEOUT, || {
        lab.client().get(URL4).is_ok()
    });
    assert_eq!(idle.broken(), Vec::<String>::new());
}
