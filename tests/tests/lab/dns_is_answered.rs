//! UDP, by way of DNS: real servers answer a real load tool in every mode, and lose no question but
//! those that a backend takes with it.

use std::{
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use lb_tests::lab::{Answers, Backend, Config, Decap, Divvy, Dns, IN_FLIGHT, Lab, VIP4, VIP6};

use crate::tunnel::GUE_PORT;

const QUESTIONS: u32 = 10_000;
const PER_SECOND: u32 = 2_000;

fn serve(lab: &Lab) -> Vec<Dns> {
    lab.backends().iter().map(Backend::serve_dns).collect()
}

fn flows(divvy: &Divvy, place: &str) -> u64 {
    divvy.backend(place)["flows_total"]
        .as_u64()
        .expect("a number")
}

/// Both vips answer every question, by all backends.
fn answers(lab: &Lab, divvy: &Divvy, config: &Config) {
    divvy.apply(&config.clone().dns());
    divvy.wait_for_all_up();
    for (vip, service) in [(IpAddr::from(VIP4), "dns"), (VIP6.into(), "dns6")] {
        let places: Vec<String> = (lab.backends().iter())
            .map(|backend| format!("{service}/{}", backend.name()))
            .collect();
        let before: Vec<u64> = places.iter().map(|place| flows(divvy, place)).collect();
        let answers = lab.client().ask(vip, 1_000, PER_SECOND).wait();
        let all = Answers {
            sent: 1_000,
            completed: 1_000,
            lost: 0,
        };
        assert_eq!(answers, all, "{service}");
        for (place, before) in places.iter().zip(before) {
            assert!(flows(divvy, place) > before, "{place} was asked");
        }
    }
}

#[test]
fn in_modes_whose_answers_come_back() {
    let lab = Lab::routed("dns_back").backends(2).start();
    let _dns = serve(&lab);
    let divvy = lab.divvy(&lab.config());
    for mode in ["nat", "route"] {
        answers(&lab, &divvy, &lab.config().mode(mode));
    }
    answers(&lab, &divvy, &lab.config().crossed());
}

#[test]
fn in_modes_whose_answers_go_past_us() {
    let lab = Lab::one_arm("dns_past").backends(2).start();
    lab.backends().iter().for_each(Backend::hold_vips);
    let _far_ends: Vec<Decap> = (lab.backends().iter())
        .map(|backend| backend.decapsulate(GUE_PORT))
        .collect();
    let _dns = serve(&lab);
    let divvy = lab.divvy(&lab.config());
    for mode in ["dsr", "ipip", "gue"] {
        let config = lab.config().mode(mode);
        answers(&lab, &divvy, &config);
        answers(&lab, &divvy, &config.crossed());
    }
}

/// Under load; beyond what is on its way to or from the backend, nothing is lost.
fn while_a_backend_is_removed(lab: &Lab, mode: &str) {
    lab.backends().iter().for_each(Backend::hold_vips);
    let _dns = serve(lab);
    let config = lab.config().mode(mode).dns();
    let divvy = lab.divvy(&config);
    divvy.wait_for_all_up();
    let questions = lab.client().ask(VIP4.into(), QUESTIONS, PER_SECOND);
    thread::sleep(Duration::from_millis(1_500));
    assert!(flows(&divvy, "dns/web-3") > 0, "web-3 is asked");
    divvy.apply(&config.without("web-3"));
    let answers = questions.wait();
    println!("{mode}: {answers:?}");
    assert_eq!(answers.sent, u64::from(QUESTIONS));
    assert!(answers.lost <= IN_FLIGHT, "{answers:?}");
}

#[test]
fn while_a_backend_is_removed_in_mode_nat() {
    let lab = Lab::routed("dns_removed").backends(3).start();
    while_a_backend_is_removed(&lab, "nat");
}

#[test]
fn while_a_backend_is_removed_in_mode_dsr() {
    let lab = Lab::routed("dns_gone").backends(3).start();
    while_a_backend_is_removed(&lab, "dsr");
}

/// What was asked of the dead before it is known to be dead is lost, and no more.
#[test]
fn while_a_backend_dies() {
    let lab = Lab::routed("dns_dies").backends(3).start();
    let mut dns = serve(&lab);
    let divvy = lab.divvy(&lab.config().dns());
    divvy.wait_for_all_up();
    let questions = lab.client().ask(VIP4.into(), QUESTIONS, PER_SECOND);
    thread::sleep(Duration::from_millis(500));
    let died = Instant::now();
    drop(dns.remove(2));
    divvy.wait_for_state("dns/web-3", "down");
    let unknown = died.elapsed();
    let answers = questions.wait();
    println!("down after {unknown:?}: {answers:?}");
    let asked = unknown.as_secs_f64() * f64::from(PER_SECOND);
    assert!(
        answers.lost as f64 <= asked + IN_FLIGHT as f64,
        "{answers:?}"
    );
    assert!(answers.lost < answers.sent / 5, "{answers:?}");
}
