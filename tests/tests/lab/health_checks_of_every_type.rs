//! Health checks against real servers: nginx with certificates of all sorts, and servers of UDP.

use lb_tests::lab::{Authority, Certificate, DatagramEcho, Divvy, Lab, TlsServer};

const PORT: u16 = 8443;

/// One backend that is probed so.
fn config(lab: &Lab, check: &str) -> String {
    let backend = lab.backend("web-1");
    format!(
        "interfaces: [client, web-1]\n\
         services:\n\
         \x20 - name: web\n\
         \x20   listen: [\"203.0.113.10:80\"]\n\
         \x20   health_check: {{ interval: 100ms, rise: 1, fall: 1, port: {PORT}, {check} }}\n\
         \x20   backends: [{{ name: web-1, address: \"{}\" }}]\n",
        backend.v4()
    )
}

/// Puts this check into force; the backend is then in this state, for a reason with these words.
fn assert_state(lab: &Lab, divvy: &Divvy, check: &str, state: &str, words: &str) {
    divvy.write_config(&config(lab, check));
    divvy.must(&["reload"]);
    let said = |backend: &serde_json::Value| {
        backend["state"] == state && backend["reason"].as_str().unwrap_or("").starts_with(words)
    };
    lb_tests::lab::wait_until(
        &format!("{state} because of {words:?}, with {check}"),
        std::time::Duration::from_secs(10),
        || said(&divvy.backend("web/web-1")),
    );
}

#[test]
fn https_says_what_is_wrong_with_a_certificate() {
    let lab = Lab::routed("https").backends(1).start();
    let backend = lab.backend("web-1");
    let ours = Authority::new(lab.folder(), "ours");
    let theirs = Authority::new(lab.folder(), "theirs");
    let ca = format!("type: https, ca: {}", ours.certificate().display());
    let for_web = format!("{ca}, server_name: web.example");
    let divvy = lab.divvy_not_running(&config(&lab, "type: none"));
    divvy.start_again();
    let assert = |check: &str, state, words| assert_state(&lab, &divvy, check, state, words);
    let serve = |own: &Certificate, clients| TlsServer::start(backend, PORT, own, clients);

    let right = ours.sign("web.example");
    let server = serve(&right, None);
    assert(&for_web, "up", "HTTP 200 in ");
    assert(
        &format!("{ca}, server_name: other.example"),
        "down",
        "certificate is for web.example, not other.example",
    );
    assert("type: https, verify: false", "up", "HTTP 200 in ");
    let known = theirs.certificate();
    assert(
        &format!(
            "type: https, server_name: web.example, ca: {}",
            known.display()
        ),
        "down",
        "certificate is not signed by a known authority",
    );
    drop(server);

    let server = serve(&ours.sign_expired("web.example"), None);
    assert(&for_web, "down", "certificate expired on 2020-02-29");
    drop(server);

    // A server that asks for a certificate in turn.
    let _server = serve(&right, Some(&theirs));
    assert(&for_web, "down", "HTTP 400, expected 200-299");
    let Certificate { certificate, key } = theirs.sign("divvy.example");
    let client = format!(
        "{for_web}, client_cert: {}, client_key: {}",
        certificate.display(),
        key.display()
    );
    assert(&client, "up", "HTTP 200 in ");
}

#[test]
fn https_names_a_server_without_tls() {
    let lab = Lab::routed("no_tls").backends(1).port(PORT).start();
    let divvy = lab.divvy_not_running(&config(&lab, "type: none"));
    divvy.start_again();
    let check = "type: https, verify: false";
    assert_state(
        &lab,
        &divvy,
        check,
        "down",
        "not TLS: it answers with something else",
    );
}

#[test]
fn udp_wants_its_answer() {
    let lab = Lab::routed("udp_check").backends(1).start();
    let backend = lab.backend("web-1");
    let divvy = lab.divvy_not_running(&config(&lab, "type: none"));
    divvy.start_again();
    let ping = r"type: udp, send: 'ping\x01'";
    // The host says that nobody has the port.
    assert_state(&lab, &divvy, ping, "down", "connection refused");
    let server = DatagramEcho::start(backend.host(), PORT, &[backend.host().v4().into()]);
    assert_state(&lab, &divvy, ping, "up", "answered in ");
    let pong = format!("{ping}, expect: 'pong'");
    assert_state(
        &lab,
        &divvy,
        &pong,
        "down",
        r#"answered "ping\x01", which does not contain "pong""#,
    );
    let echoed = format!(r"{ping}, expect: 'g\x01'");
    assert_state(&lab, &divvy, &echoed, "up", "answered in ");
    drop(server);
    divvy.wait_for_state("web/web-1", "down");
}
