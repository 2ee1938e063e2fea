use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::{collection::btree_map, prelude::*};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use super::{
    PATIENCE, QUEUE, UPDATE_BYTES, Wish,
    listener::{Listener, Sent},
};
use crate::web::picture::{Picture, Piece, hash};

/// Key, what is urgent, and the rest.
type Shown = BTreeMap<String, (u64, String)>;

fn pieces(shown: &Shown) -> Vec<Piece> {
    (shown.iter())
        .map(|(key, (urgent, rest))| {
            let json = serde_json::json!([urgent, rest]).to_string();
            Piece {
                key: key.clone(),
                hash: hash(&json),
                json,
                urgent: *urgent,
            }
        })
        .collect()
}

/// What a page knows.
#[derive(Default)]
struct Page(BTreeMap<String, Value>);

impl Page {
    /// Takes in an update; returns its size.
    fn take(&mut self, update: &str) -> usize {
        let data = update
            .strip_prefix("data: ")
            .and_then(|rest| rest.strip_suffix("\n\n"));
        let data: Value = serde_json::from_str(data.expect("an event")).expect("JSON");
        for key in data["gone"].as_array().expect("keys") {
            self.0.remove(key.as_str().expect("a key"));
        }
        for (key, piece) in data["set"].as_object().expect("pieces") {
            self.0.insert(key.clone(), piece.clone());
        }
        update.len()
    }

    fn knows(&self, shown: &Shown) -> bool {
        let expected: BTreeMap<String, Value> = (shown.iter())
            .map(|(key, (urgent, rest))| (key.clone(), serde_json::json!([urgent, rest])))
            .collect();
        self.0 == expected
    }
}

fn told(sent: &mut Sent, page: &mut Page, shown: &Shown) -> usize {
    let pieces = pieces(shown);
    let visible: Vec<&Piece> = pieces.iter().collect();
    page.take(&sent.update(7, &visible))
}

fn shown() -> impl Strategy<Value = Shown> {
    btree_map("[a-d]/[a-z\"\\\\]{0,2}", (0..3_u64, "[a-z\"]{0,3}"), 0..20)
}

proptest! {
    #[test]
    fn a_page_knows_what_is_shown(pictures in proptest::collection::vec(shown(), 1..8)) {
        let (mut sent, mut page) = (Sent::default(), Page::default());
        for shown in &pictures {
            told(&mut sent, &mut page, shown);
            prop_assert!(page.knows(shown));
        }
        // What is known is not told again.
        let last = &pictures[pictures.len() - 1];
        if !last.is_empty() {
            prop_assert!(told(&mut sent, &mut page, last) < 60);
        }
    }
}

/// So many services, all of which count something.
fn busy(count: usize, round: usize) -> Shown {
    (0..count)
        .map(|n| (format!("s/{n:05}"), (0, format!("{round:>100}"))))
        .collect()
}

#[test]
fn an_update_has_its_limit_and_everyone_their_turn() {
    let (mut sent, mut page) = (Sent::default(), Page::default());
    let first = told(&mut sent, &mut page, &busy(2_000, 0));
    assert!(first > 2 * UPDATE_BYTES, "the first holds everything");
    let mut late: BTreeMap<String, usize> = BTreeMap::new();
    for round in 1..30 {
        let shown = busy(2_000, round);
        let size = told(&mut sent, &mut page, &shown);
        assert!(size < UPDATE_BYTES + 1_000, "{size}");
        for (key, value) in &page.0 {
            let known: usize = value[1]
                .as_str()
                .expect("text")
                .trim()
                .parse()
                .expect("a number");
            let longest = late.entry(key.clone()).or_default();
            *longest = (*longest).max(round - known);
        }
    }
    let longest = late.values().max();
    assert!(
        longest.is_some_and(|rounds| (1..=8).contains(rounds)),
        "{longest:?}"
    );
    // Once there is less to tell, all is known.
    let last = busy(2_000, 30);
    for _ in 0..8 {
        told(&mut sent, &mut page, &last);
    }
    assert!(page.knows(&last));
}

#[test]
fn what_is_urgent_does_not_wait() {
    let (mut sent, mut page) = (Sent::default(), Page::default());
    told(&mut sent, &mut page, &busy(2_000, 0));
    for round in 1..20 {
        let mut shown = busy(2_000, round);
        let key = format!("s/{:05}", (round * 797) % 2_000);
        shown.insert(key.clone(), (round as u64, "down".to_owned()));
        told(&mut sent, &mut page, &shown);
        assert_eq!(page.0[&key][1], "down", "{key}");
    }
}

#[test]
fn a_query_names_services() {
    let names = |query: &str| {
        let mut names: Vec<String> = Wish::parse(query).open.into_iter().collect();
        names.sort();
        names
    };
    assert_eq!(names("open=web,api"), ["api", "web"]);
    assert_eq!(names("x=1&open=web&open=,"), ["web"]);
    assert_eq!(names(""), [""; 0]);
    let many: Vec<String> = (0..100).map(|n| format!("s{n}")).collect();
    assert_eq!(
        names(&format!("open={}", many.join(","))).len(),
        super::OPEN
    );
}

#[tokio::test]
async fn one_who_does_not_read_is_sent_away() {
    let (sender, mut queue) = mpsc::channel(QUEUE);
    let too_slow = Arc::new(Notify::new());
    let mut listener = Listener::new(Wish::default(), sender, Arc::clone(&too_slow));
    let sent_away = || futures_util::FutureExt::now_or_never(too_slow.notified()).is_some();
    let picture = Picture {
        at_ms: 7,
        common: Vec::new(),
        inside: Vec::new(),
    };
    let begun = Instant::now();
    for _ in 0..=QUEUE {
        listener.tell(&picture, begun);
    }
    listener.tell(&picture, begun + PATIENCE);
    assert!(!sent_away(), "so long they may take");
    // A little room, and the time begins anew.
    assert!(queue.recv().await.is_some());
    let later = begun + PATIENCE + Duration::from_secs(1);
    listener.tell(&picture, later);
    listener.tell(&picture, later);
    listener.tell(&picture, later + PATIENCE);
    assert!(!sent_away());
    listener.tell(&picture, later + PATIENCE + Duration::from_millis(1));
    assert!(sent_away());
}
