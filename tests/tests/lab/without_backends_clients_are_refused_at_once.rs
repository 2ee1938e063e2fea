//! When all backends are down, new connections are refused by a RST at once, and the first backend
//! that comes back serves again.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use lb_tests::lab::{Backend, Lab, Load, URL4, wait_until};

const ATTEMPTS: usize = 500;
/// A SYN that is lost is sent again after a second; what took less was answered.
const ANSWERED: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(200);
const RISE: u32 = 2;

#[test]
fn under_load() {
    let lab = Lab::routed("all_down").backends(3).start();
    let check = format!(
        "{{ type: http, path: /healthz, interval: {INTERVAL:?}, timeout: {INTERVAL:?}, \
         rise: {RISE}, fall: 2 }}"
    );
    let divvy = lab.divvy(&lab.config().health_check(&check));
    divvy.wait_for_all_up();
    let load = Load::on(URL4).from(lab.client());
    load.wait_for(200);
    lab.backends().iter().for_each(Backend::kill);
    for backend in lab.backends() {
        divvy.wait_for_state(&format!("web/{}", backend.name()), "down");
    }

    let before = divvy.reason("no_backend");
    let mut times: Vec<Duration> = (0..ATTEMPTS)
        .map(|_| {
            let begun = Instant::now();
            let error = lab.client().get(URL4).expect_err("nobody is up");
            // By a RST: after silence it would be a timeout.
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
            begun.elapsed()
        })
        .collect();
    drop(load.stop());
    assert!(divvy.reason("no_backend") >= before + ATTEMPTS as u64);
    times.sort();
    let of = |percent: usize| times[ATTEMPTS * percent / 100];
    eprintln!(
        "{ATTEMPTS} connections refused: median {:?}, 99 % within {:?}",
        of(50),
        of(99)
    );
    assert!(of(99) < ANSWERED, "{:?}", of(99));

    let begun = Instant::now();
    lab.backend("web-2").start();
    let limit = INTERVAL * RISE + Duration::from_secs(1);
    let back = || lab.client().get(URL4).is_ok();
    wait_until("the backend serves again", Duration::from_secs(10), back);
    let took = begun.elapsed();
    eprintln!("back after {took:?}");
    assert!(took < limit, "{took:?}, and should be at most {limit:?}");
}
