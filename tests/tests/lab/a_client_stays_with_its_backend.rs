//! With `affinity: client_ip` all connections of a client go to one backend: while backends are added,
//! over a restart, and until that backend is down.

use lb_tests::lab::{Backend, Config, Host, Lab, Report, URL4, URL6};

/// The one backend that answers so many requests in a row.
#[track_caller]
fn only(client: &Host, url: &str, among: &[&str]) -> String {
    let report: Report = client.get_many(30, url);
    let all: Vec<&&str> = (among.iter())
        .filter(|name| report.answered_by(name) == 30)
        .collect();
    assert_eq!(all.len(), 1, "{url}: {report}");
    (*all[0]).to_owned()
}

fn stays(mode: &str, title: &'static str) {
    let lab = Lab::routed(title).backends(6).start();
    lab.backends().iter().for_each(Backend::hold_vips);
    let names: Vec<&str> = lab.backends().iter().map(Backend::name).collect();
    let client = lab.client();
    let all = (lab.config().mode(mode)).with_default("affinity: client_ip");
    // It begins with two of six: what would be chosen anew among all is another one for most.
    let two = names[2..]
        .iter()
        .fold(all.clone(), |config: Config, name| config.without(name));
    let divvy = lab.divvy(&two);
    divvy.wait_for_all_up();
    let first = [URL4, URL6].map(|url| only(client, url, &names));
    divvy.apply(&all);
    divvy.wait_for_all_up();
    assert_eq!([URL4, URL6].map(|url| only(client, url, &names)), first);
    divvy.kill9();
    divvy.start_again();
    divvy.wait_for_all_up();
    assert_eq!([URL4, URL6].map(|url| only(client, url, &names)), first);

    lab.backend(&first[0]).set_healthy(false);
    divvy.wait_for_state(&format!("web/{}", first[0]), "down");
    let next = only(client, URL4, &names);
    assert_ne!(next, first[0]);
    lab.backend(&first[0]).set_healthy(true);
    divvy.wait_for_all_up();
    assert_eq!(only(client, URL4, &names), next, "it stays where it went");

    divvy.apply(&lab.config().mode(mode));
    let report = client.get_many(60, URL4);
    let answering = names.iter().filter(|name| report.answered_by(name) > 0);
    assert!(
        answering.count() > 2,
        "without affinity they spread: {report}"
    );
}

#[test]
fn in_mode_nat() {
    stays("nat", "affinity");
}

#[test]
fn in_mode_dsr() {
    stays("dsr", "affinity_dsr");
}
