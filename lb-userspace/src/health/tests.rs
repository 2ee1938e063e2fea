//! The checker against a server on 127.0.0.1 whose answers the test chooses.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const ID: u64 = 7;

/// An HTTP server that answers every request with the status set last.
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU16>,
    /// Requests that came so far.
    probes: Arc<AtomicUsize>,
    tally: Tally,
}

impl Server {
    async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(status));
        let current = Arc::clone(&status);
        let probes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&probes);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 1024]).await;
                let status = current.load(Ordering::SeqCst);
                let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self {
            address,
            status,
            probes,
            tally: Tally::default(),
        }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// How to watch it: rise 2, fall 3, every 5 ms.
    fn wanted(&self, initial: Initial) -> Wanted {
        Wanted {
            id: ID,
            target: Some(Target {
                address: self.address,
                kind: Kind::Http(Http {
                    path: "/".into(),
                    host: None,
                    expect: vec![200..=299],
                }),
                timeout: Duration::from_secs(20),
            }),
            interval: Duration::from_millis(5),
            fast_interval: Duration::from_millis(5),
            through: None,
            jitter_percent: 10,
            rules: rules(2, 3),
            initial,
            tally: self.tally.clone(),
        }
    }
}

fn rules(rise: u32, fall: u32) -> Rules {
    Rules {
        rise,
        fall,
        damping: None,
    }
}

fn checker() -> (Checker, mpsc::Receiver<Event>) {
    let (sender, events) = mpsc::channel(16);
    (Checker::new(sender), events)
}

async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
    let wait = tokio::time::timeout(Duration::from_secs(20), events.recv());
    wait.await
        .expect("an event within 20 s")
        .expect("the checker to be alive")
}

fn adopted_up() -> Initial {
    Initial::Up {
        since: SystemTime::UNIX_EPOCH,
    }
}

#[tokio::test]
async fn the_first_result_decides_when_nothing_was_known() {
    for (status, to) in [(200, State::Up), (503, State::Down)] {
        let server = Server::start(status).await;
        let (mut checker, mut events) = checker();
        checker.apply(vec![server.wanted(Initial::Unknown)]);
        assert_eq!(checker.snapshot(ID).unwrap().reason, "not probed yet");
        assert_eq!(checker.snapshot(ID).unwrap().probed, Probed::Unknown);

        let event = next(&mut events).await;
        let transition = event.transition.expect("a decision");
        assert_eq!((transition.from, transition.to), (State::Unknown, to));
        assert_eq!((event.id, event.up), (ID, to == State::Up));
        let probed = if status == 200 {
            Probed::Ok
        } else {
            Probed::Failed
        };
        assert_eq!(checker.snapshot(ID).unwrap().probed, probed);
    }
}

#[tokio::test]
async fn it_goes_down_after_exactly_fall_failures_and_up_after_exactly_rise_successes() {
    let server = Server::start(200).await;
    let (mut checker, mut events) = checker();
    checker.apply(vec![server.wanted(Initial::Unknown)]);
    assert!(next(&mut events).await.up);

    // Every result that brings a change nearer changes the words, so none goes unseen.
    server.answer(500);
    let bad = "HTTP 500, expected 200-299";
    for step in ["(1 of 3 to go down)", "(2 of 3 to go down)"] {
        let event = next(&mut events).await;
        assert_eq!(event.reason, format!("{bad} {step}"));
        assert!(event.up && event.transition.is_none());
    }
    let event = next(&mut events).await;
    assert_eq!((event.up, event.reason.as_str()), (false, bad));
    assert_eq!(event.transition.unwrap().to, State::Down);

    server.answer(200);
    let event = next(&mut events).await;
    assert!(
        event.reason.starts_with("HTTP 200 (1 of 2 to go up)"),
        "{}",
        event.reason
    );
    assert!(!event.up && event.transition.is_none());
    let event = next(&mut events).await;
    assert_eq!(event.transition.unwrap().to, State::Up);
    assert!(
        event.up && event.reason.starts_with("HTTP 200 in "),
        "{}",
        event.reason
    );
}

#[tokio::test]
async fn an_adopted_backend_keeps_its_state_until_results_say_otherwise() {
    let server = Server::start(200).await;
    let (mut checker, mut events) = checker();
    checker.apply(vec![server.wanted(adopted_up())]);
    let snapshot = checker.snapshot(ID).unwrap();
    assert!(snapshot.up);
    assert_eq!(snapshot.probed, Probed::Unknown);
    assert_eq!(snapshot.since, SystemTime::UNIX_EPOCH);

    // The first result is told even though it decides nothing.
    let event = next(&mut events).await;
    assert!(event.up && event.transition.is_none());
    assert_eq!(event.since, SystemTime::UNIX_EPOCH);
}

#[tokio::test]
async fn without_a_health_check_it_is_up_at_once() {
    let server = Server::start(503).await;
    let (mut checker, mut events) = checker();
    checker.apply(vec![server.wanted(Initial::Unknown)]);
    assert!(!next(&mut events).await.up);

    checker.apply(vec![Wanted {
        target: None,
        ..server.wanted(Initial::Unknown)
    }]);
    let event = next(&mut events).await;
    assert_eq!((event.up, event.reason.as_str()), (true, "no health check"));
    assert_eq!(event.transition.unwrap().to, State::Up);
}

#[tokio::test]
async fn another_target_keeps_the_state_and_other_rules_do_not_restart_the_probes() {
    let good = Server::start(200).await;
    let bad = Server::start(500).await;
    let (mut checker, mut events) = checker();
    checker.apply(vec![good.wanted(Initial::Unknown)]);
    let since = next(&mut events).await.since;

    // Up still: the failures of the new target have to reach `fall` first.
    checker.apply(vec![Wanted {
        rules: rules(2, 100_000),
        ..bad.wanted(Initial::Unknown)
    }]);
    let event = next(&mut events).await;
    assert_eq!((event.up, event.since), (true, since));
    assert!(
        event.reason.ends_with("(1 of 100000 to go down)"),
        "{}",
        event.reason
    );

    // The counts go on, so the second failure or a later one is the first under other rules.
    checker.apply(vec![Wanted {
        rules: rules(2, 200_000),
        ..bad.wanted(Initial::Unknown)
    }]);
    let first = loop {
        let reason = next(&mut events).await.reason;
        if reason.ends_with("of 200000 to go down)") {
            break reason;
        }
    };
    assert!(!first.contains("(1 of "), "{first}");
    assert!(checker.snapshot(ID).unwrap().up);
}

#[tokio::test]
async fn a_change_under_way_is_decided_faster() {
    let server = Server::start(200).await;
    let (mut checker, mut events) = checker();
    checker.apply(vec![Wanted {
        // A day would not be over before the test gives up.
        interval: Duration::from_secs(86_400),
        rules: rules(2, 50),
        ..server.wanted(Initial::Down {
            since: SystemTime::UNIX_EPOCH,
        })
    }]);
    // The first result contradicts what was adopted, so that the second comes soon.
    assert!(!next(&mut events).await.up);
    assert!(next(&mut events).await.up);
    // Then nothing contradicts.
    let seen = server.probes.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.probes.load(Ordering::SeqCst), seen);
}

#[tokio::test]
async fn the_same_result_again_is_not_told() {
    let server = Server::start(200).await;
    let (mut checker, mut events) = checker();
    checker.apply(vec![server.wanted(Initial::Unknown)]);
    next(&mut events).await;
    // A probe begins after the result before it was taken in.
    let seen = server.probes.load(Ordering::SeqCst);
    while server.probes.load(Ordering::SeqCst) < seen + 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(events.try_recv(), Err(mpsc::error::TryRecvError::Empty));
}

#[test]
fn a_fault_of_this_host_takes_no_backend_down() {
    let mut record = Record::new(rules(1, 1), adopted_up(), SystemTime::now());
    let no_descriptors = io::Error::from_raw_os_error(libc::EMFILE);
    let local = Err(Failure::Local(no_descriptors));
    assert_eq!(record.observe(&local, SystemTime::now()), None);
    let snapshot = record.snapshot();
    assert!(snapshot.up);
    assert!(
        snapshot.reason.starts_with("cannot probe from this host: "),
        "{}",
        snapshot.reason
    );
    assert_eq!(
        (snapshot.probed, snapshot.last_error),
        (Probed::Unknown, None)
    );
    let decision = record.observe(&Err(Failure::Refused), SystemTime::now());
    assert_eq!(decision.expect("a decision").to, State::Down);
}

#[test]
fn the_last_error_is_remembered_when_all_is_well_again() {
    let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
    let mut record = Record::new(rules(1, 3), adopted_up(), at(0));
    let success = Ok(Success {
        detail: "connected".into(),
        took: Duration::from_millis(1),
        note: Some("not probed through dsr: the reason".into()),
    });
    record.observe(&Err(Failure::Refused), at(1));
    let vip = "203.0.113.10:80".parse().unwrap();
    record.observe(&Err(through::Trouble::NoVip { vip }.into()), at(2));
    assert_eq!(record.snapshot().probed, Probed::DirectOnly);
    record.observe(&success, at(3));
    let Snapshot {
        probed,
        last_error,
        reason,
        ..
    } = record.snapshot();
    assert_eq!(
        reason,
        "connected in 1.0 ms; not probed through dsr: the reason"
    );
    assert_eq!(probed, Probed::Ok);
    let words = "answers directly but not for the vip: is 203.0.113.10 on its loopback?".into();
    assert_eq!(last_error, Some(Problem { words, at: at(2) }));
}

#[tokio::test]
async fn a_backend_no_longer_wanted_is_forgotten() {
    let server = Server::start(200).await;
    let (mut checker, mut events) = checker();
    checker.apply(vec![server.wanted(Initial::Unknown)]);
    next(&mut events).await;
    checker.apply(vec![]);
    assert_eq!(checker.snapshot(ID), None);
    drop(checker);
    // All senders are gone: the task has ended.
    let closed = async { while events.recv().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(20), closed)
        .await
        .expect("the task to end");
}
