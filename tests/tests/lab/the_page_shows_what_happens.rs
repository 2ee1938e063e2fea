//! The status page in a real browser: what happens shows without a reload, and nothing is asked of anybody else.

use std::{collections::BTreeSet, fs, io::ErrorKind, net::TcpListener, path::PathBuf};

use lb_tests::lab::{Browser, Divvy, Lab, METRICS, Theme, URL4, many_services};

const PAGE: &str = "http://127.0.0.1:9127/";

fn running(lab: &Lab) -> Divvy {
    let divvy = lab.divvy(&lab.config().with(METRICS));
    divvy.wait_for_all_up();
    divvy
}

fn open(lab: &Lab) -> Browser {
    let browser = Browser::start(lab.balancer(), lab.folder());
    browser.resize(1360, 900, Theme::Light);
    browser.open(PAGE);
    browser.wait_until("the page is live", LIVE);
    browser
}

const LIVE: &str = "return document.querySelector('#link').textContent === 'live'";

/// JavaScript that is true once a backend's row has these words.
fn row_says(backend: &str, words: &[&str]) -> String {
    let words = serde_json::to_string(words).expect("words");
    format!(
        "const row = [...document.querySelectorAll('.backends tbody tr')]
             .find((row) => row.querySelector('strong').textContent === '{backend}');
         return Boolean(row) && {words}.every((word) => row.textContent.includes(word))"
    )
}

/// JavaScript that is true once an element has these words.
fn says(selector: &str, words: &str) -> String {
    format!("return document.querySelector('{selector}')?.textContent.includes({words:?}) ?? false")
}

#[track_caller]
fn nothing_is_wrong(browser: &Browser) {
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn without_a_reload_and_without_asking_others() {
    let lab = Lab::routed("page").backends(3).start();
    let divvy = running(&lab);
    let browser = open(&lab);
    // A mark that a reload of the page would wipe out.
    assert!(browser.run("window.mark = 'here'").is_null());
    browser.wait_until(
        "the backend is up",
        &row_says("web-1", &["up", "HTTP 200", "10.0.1.2:80"]),
    );

    lab.backend("web-1").kill();
    browser.wait_until(
        "the backend is down, with the reason",
        &row_says("web-1", &["down", "connection refused"]),
    );
    browser.wait_until(
        "the change is listed",
        &says("#changes", "web-1 is down: connection refused"),
    );
    lab.backend("web-1").start();
    browser.wait_until("it is up again", &row_says("web-1", &["up", "HTTP 200"]));

    divvy.must(&["drain", "web/web-2"]);
    divvy.must(&["weight", "web/web-3", "7"]);
    browser.wait_until(
        "it drains",
        &row_says("web-2", &["drain", "by uid 0", "drained by the operator"]),
    );
    browser.wait_until(
        "the weight shows",
        &row_says("web-3", &["7", "weight 7 for 1"]),
    );

    assert_eq!(lab.client().get_many(50, URL4).failed().len(), 0);
    browser.wait_until(
        "the rate shows",
        "return [...document.querySelectorAll('.service .summary')].some((row) => \
             row.textContent.includes('web') && !row.children[4].textContent.startsWith('0') && \
             row.querySelectorAll('svg path[d^=M]').length === 4)",
    );

    divvy.apply(&lab.config().with(METRICS).without("web-3"));
    browser.wait_until(
        "a backend that left is gone",
        "return ![...document.querySelectorAll('.backends strong')].some((name) => name.textContent === 'web-3')",
    );
    browser.wait_until("the reload is listed", &says("#changes", "removed web-3"));
    divvy.write_config("interfaces: []");
    assert!(!divvy.reload().status.success());
    browser.wait_until(
        "the refused file is told",
        &says("#config.bad", "The last reload failed and changed nothing."),
    );
    browser.wait_until(
        "with what is wrong",
        &says("#config.bad", "divvy.yaml:1: interfaces"),
    );
    nothing_is_wrong(&browser);

    // The daemon ends and another one comes: the stream goes on by itself.
    divvy.write_config(&lab.config().with(METRICS).yaml());
    divvy.terminate();
    browser.wait_until(
        "the page says that nobody answers",
        &says("#link", "no answer"),
    );
    divvy.start_again();
    browser.wait_until("it is live again", LIVE);
    browser.wait_until("it knows the new file", &row_says("web-3", &["up"]));
    browser.wait_until(
        "the file is in order",
        "return !document.querySelector('#config.bad')",
    );
    assert_eq!(
        browser.run("return window.mark"),
        "here",
        "the page was reloaded"
    );
    // The browser itself complained that nobody answered, and nobody else did.
    for complaint in browser.complaints() {
        assert!(complaint.contains("/events"), "{complaint}");
    }
    assert_eq!(
        browser.asked(),
        BTreeSet::from([PAGE.trim_end_matches('/').to_owned()])
    );
}

#[test]
fn and_a_page_that_others_would_put_in_a_frame_or_feed_with_scripts_is_protected() {
    let lab = Lab::routed("policy").backends(1).start();
    let divvy = running(&lab);
    let browser = open(&lab);
    let elsewhere = lab
        .balancer()
        .inside(|| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    elsewhere.set_nonblocking(true).expect("a socket");
    let address = elsewhere.local_addr().expect("it is bound");
    // What the policy forbids does not happen: scripts in the page, requests elsewhere.
    let script = format!(
        "const script = document.createElement('script');
         script.textContent = 'window.injected = true';
         document.body.append(script);
         const image = document.createElement('img');
         const failed = new Promise((done) => image.addEventListener('error', () => done(true)));
         image.src = 'http://{address}/pixel';
         document.body.append(image);
         return failed.then(() => window.injected === undefined)"
    );
    assert_eq!(browser.run(&script), true);
    let asked = elsewhere.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(asked, Err(ErrorKind::WouldBlock));
    let complaints = browser.complaints().join("\n");
    assert!(
        complaints.contains("Content Security Policy"),
        "{complaints}"
    );
    // A name is text, whatever it holds.
    let refused = "<img src=x onerror=alert(1)>: 1";
    divvy.write_config(refused);
    assert!(!divvy.reload().status.success());
    browser.wait_until("markup shows as it is", &says("#config.bad", "<img src=x"));
    assert_eq!(
        browser.run("return document.querySelectorAll('main img').length"),
        0
    );
}

#[test]
fn of_a_thousand_services_what_is_wrong_first() {
    let lab = Lab::routed("manypage").backends(1).start();
    let yaml = many_services(&lab, 1_000, 10, &format!("{METRICS}\n"));
    let divvy = lab.divvy_not_running(&yaml);
    divvy.start_again();
    divvy.wait_for_all_up();
    let browser = open(&lab);
    browser.wait_until("they are counted", &says("#services-count", "1,000"));
    let shown = "return document.querySelectorAll('tbody.service').length";
    assert_eq!(browser.run(shown), 100, "the rest comes when asked for");
    let details = "return document.querySelectorAll('.backends tbody tr').length";
    assert_eq!(browser.run(details), 0, "nothing is wrong");

    divvy.must(&["disable", "s777/b3"]);
    let first = "return document.querySelector('tbody.service strong').textContent === 's777'";
    browser.wait_until("the one with a problem is first", first);
    browser.wait_until(
        "with its backend",
        &row_says("b3", &["maint", "disabled by the operator"]),
    );
    assert_eq!(browser.run(details), 1);
    assert!(
        browser
            .run("document.querySelector('tbody.service .toggle').click()")
            .is_null()
    );
    browser.wait_until(
        "all its backends show",
        "return document.querySelectorAll('.backends tbody tr').length === 10",
    );

    let find = |words: &str| {
        let script = format!(
            "const find = document.querySelector('#find');
             find.value = {words:?};
             find.dispatchEvent(new Event('input'))"
        );
        assert!(browser.run(&script).is_null());
    };
    find("s94");
    assert_eq!(browser.run(shown), 11);
    find("203.0.113.10:10123");
    assert_eq!(browser.run(shown), 1);
    find("nobody");
    assert_eq!(
        browser.run("return document.querySelector('#services-none').hidden"),
        false
    );
    find("");
    assert!(
        browser
            .run("document.querySelector('#more').click()")
            .is_null()
    );
    assert_eq!(browser.run(shown), 200);
    nothing_is_wrong(&browser);
}

/// Two pictures for `docs/images`, where `DIVVY_IMAGES` names that folder; none otherwise.
#[test]
fn and_it_has_its_picture_taken() {
    let lab = Lab::routed("pictures").backends(4).start();
    let divvy = running(&lab);
    let browser = open(&lab);
    divvy.must(&["drain", "web/web-2"]);
    lab.backend("web-4").kill();
    divvy.wait_for_state("web/web-4", "down");
    let seconds = if std::env::var_os("DIVVY_IMAGES").is_some() {
        40
    } else {
        2
    };
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < seconds {
        let more = 5 + begun.elapsed().as_secs() % 17;
        let _ = lab
            .client()
            .get_many(usize::try_from(more).expect("small"), URL4);
        std::thread::sleep(std::time::Duration::from_millis(80));
    }
    for (name, width, height, theme) in [
        ("status-page.png", 1_280, 860, Theme::Light),
        ("status-page-phone.png", 375, 760, Theme::Dark),
    ] {
        browser.resize(width, height, theme);
        // Charts are drawn anew with the next update.
        let _ = browser.run("window.scrollTo(0, 0)");
        let wide = "return document.documentElement.scrollWidth <= window.innerWidth";
        browser.wait_until("nothing sticks out at the side", wide);
        let image = browser.screenshot();
        assert!(image.len() < 200_000, "{name} has {} bytes", image.len());
        if let Some(folder) = std::env::var_os("DIVVY_IMAGES") {
            let path = PathBuf::from(folder).join(name);
            fs::write(&path, image).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
}
