//! Lists of sources are obeyed by real connections, and a reload changes them: at once, whole, and for
//! new connections only.

use std::{fmt::Write as _, io::ErrorKind, time::Instant};

use aya::maps::{LpmTrie, Map, MapData};
use lb_common::{V4, names, sources::Source};
use lb_tests::lab::{Backend, Divvy, Host, IdleConnections, Lab, METRICS, URL4, URL6};

const DENIED: &str = "divvy_drops_total{reason=\"source_denied\"}";

/// The client gets no answer at all, in either family.
#[track_caller]
fn kept_out(client: &Host) {
    for url in [URL4, URL6] {
        let error = client.get(url).expect_err("it is denied");
        let silent = [ErrorKind::TimedOut, ErrorKind::WouldBlock];
        assert!(silent.contains(&error.kind()), "{url}: {error}");
    }
}

#[track_caller]
fn let_in(client: &Host) {
    for url in [URL4, URL6] {
        let answer = client.get(url);
        assert!(answer.is_ok(), "{url}: {answer:?}");
    }
}

fn denied(divvy: &Divvy) -> f64 {
    divvy.metrics().get(DENIED).copied().unwrap_or(0.0)
}

#[test]
fn and_a_reload_changes_who() {
    for mode in ["nat", "dsr"] {
        let lab = Lab::routed("lists").backends(2).start();
        lab.backends().iter().for_each(Backend::hold_vips);
        let client = lab.client();
        let config = lab.config().mode(mode).with(METRICS);
        let (v4, v6) = (client.v4(), client.v6());
        let allow = format!("allow: [\"{v4}\", \"{v6}\"]");
        let divvy = lab.divvy(&config.clone().with_default(&allow));
        divvy.wait_for_all_up();
        let_in(client);
        assert_eq!(denied(&divvy), 0.0);

        let mut open = IdleConnections::open(client, URL4, 10);
        divvy.apply(&config.clone().with_default("allow: [192.0.2.0/24]"));
        kept_out(client);
        assert!(denied(&divvy) >= 2.0);
        assert_eq!(open.broken(), Vec::<String>::new());

        // The longest prefix decides, over a restart too.
        let deny = format!("{allow}\n  deny: [\"0.0.0.0/0\", \"::/0\"]");
        divvy.apply(&config.clone().with_default(&deny));
        let_in(client);
        divvy.kill9();
        divvy.start_again();
        divvy.wait_for_all_up();
        let_in(client);
        let deny = format!("deny: [\"{v4}\", \"{v6}\"]");
        divvy.apply(&config.clone().with_default(&deny));
        kept_out(client);
        divvy.apply(&config);
        let_in(client);
        assert_eq!(open.broken(), Vec::<String>::new());
    }
}

/// Entries of IPv4 in force.
fn entries(divvy: &Divvy) -> usize {
    let map = MapData::from_pin(divvy.pins().join(names::SOURCES4)).expect("it is pinned");
    let map = Map::from_map_data(map).expect("a trie");
    let trie = LpmTrie::<_, Source<V4>, u32>::try_from(map).expect("of sources");
    trie.keys().count()
}

#[test]
fn by_ten_thousand_entries_as_well() {
    let lab = Lab::routed("many_lists").backends(1).start();
    let client = lab.client();
    let listed = |last: &str| {
        let mut yaml = "deny:\n".to_owned();
        for n in 0..10_000_u32 {
            writeln!(
                yaml,
                "    - 100.{}.{}.{}/32",
                64 + (n >> 16),
                n >> 8 & 255,
                n & 255
            )
            .unwrap();
        }
        yaml + last
    };
    let (v4, v6) = (client.v4(), client.v6());
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    for (last, may_come) in [
        ("    - 192.0.2.1".to_owned(), true),
        (format!("    - \"{v4}\"\n    - \"{v6}\""), false),
    ] {
        let begun = Instant::now();
        divvy.apply(&lab.config().with_default(&listed(&last)));
        println!(
            "10,000 entries of two services: reloaded in {:?}",
            begun.elapsed()
        );
        // Service `web6` has no IPv4 vips.
        assert_eq!(entries(&divvy), 10_000 + 1);
        if may_come {
            let_in(client);
        } else {
            kept_out(client);
        }
    }
    let begun = Instant::now();
    divvy.apply(&lab.config());
    println!("and removed in {:?}", begun.elapsed());
    assert_eq!(entries(&divvy), 0);
    let_in(client);
}
