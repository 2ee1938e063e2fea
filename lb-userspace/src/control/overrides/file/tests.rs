use std::{os::unix::fs::PermissionsExt as _, time::Duration};

use proptest::prelude::*;

use super::*;

fn record(backend: &str) -> Record {
    // Times are kept to the millisecond.
    let since = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    Record {
        service: "web".to_owned(),
        backend: backend.to_owned(),
        protocol: "tcp".to_owned(),
        address: "[2001:db8::1]:80".parse().expect("an address"),
        state: Some(Decided {
            to: "maint".to_owned(),
            since,
            uid: Some(1000),
        }),
        weight: Some(Decided {
            to: 7,
            since,
            uid: None,
        }),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = (fs::read_dir(folder).expect("a folder").flatten())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("made/when/needed");
    let file = StateFile::new(&state, Path::new("/run/divvy"));
    assert_eq!(file.read().expect("nothing"), None);
    assert!(!state.exists(), "reading makes nothing");
    for records in [vec![record("web-1"), record("web-2")], Vec::new()] {
        file.write(records.clone()).expect("written");
        assert_eq!(file.read().expect("read"), Some(records));
    }
    assert_eq!(names(&state), ["overrides-run-divvy.json"]);
    let mode = fs::metadata(file.path()).expect("there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o640);
}

proptest! {
    /// Whatever is in the file, it is read or refused.
    #[test]
    fn nothing_in_it_is_fatal(noise in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        let _ = parse(&noise);
        let good = serde_json::to_vec(&Document {
            version: VERSION,
            run_dir: "/run/divvy".into(),
            overrides: vec![record("web-1")],
        })
        .expect("JSON");
        let at = at.index(good.len());
        let spoilt = [&good[..at], &noise, &good[at..]].concat();
        let _ = parse(&spoilt);
        prop_assert!(parse(&good).is_ok());
    }
}

#[test]
fn instances_do_not_share_a_file() {
    let long = format!("/run/{}", "x".repeat(300));
    let longer = format!("/run/y{}", "x".repeat(300));
    let dirs = [
        "/run/divvy",
        "/run/a/b",
        "/run/a-b",
        "/run/a%2Db",
        "/run/ä",
        &long,
        &longer,
    ];
    let names: std::collections::HashSet<String> =
        dirs.iter().map(|dir| file_name(Path::new(dir))).collect();
    assert_eq!(names.len(), dirs.len(), "{names:?}");
    for name in &names {
        assert!(name.len() < 220 && !name.contains('/'), "{name}");
    }
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = StateFile::new(folder.path(), Path::new("/run/divvy"));
    file.write(vec![record("web-1")]).expect("written");
    // In the way of the new file.
    let next = file.path().with_extension("json.new");
    fs::create_dir(&next).expect("made");
    let error = file.write(Vec::new()).expect_err("it cannot be opened");
    assert!(
        error.to_string().contains("overrides-run-divvy.json"),
        "{error}"
    );
    assert_eq!(file.read().expect("read"), Some(vec![record("web-1")]));
}

#[test]
fn what_nobody_wrote_is_refused_and_set_aside_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = StateFile::new(folder.path(), Path::new("/run/divvy"));
    file.write(vec![record("web-1")]).expect("written");
    let good = fs::read_to_string(file.path()).expect("read");
    let cases = [
        (String::new(), "EOF"),
        (good[..good.len() / 2].to_owned(), "EOF"),
        (
            good.replace("\"version\": 1", "\"version\": 2"),
            "version 2",
        ),
        (good.replace("maint", "paused"), "`paused`"),
        (good.replace("\"to\": 7", "\"to\": 1001"), "1001"),
        (good.replace("\"to\": 7", "\"to\": -7"), "-7"),
        (good.replace("2023-", "yesterday-"), "yesterday"),
        (good.replace("2001:db8::1", "web-1.example"), "address"),
        ("\0".repeat(40), "expected value"),
    ];
    for (count, (text, word)) in cases.iter().enumerate() {
        fs::write(file.path(), text).expect("written");
        let error = file.read().expect_err(text).to_string();
        assert!(error.contains(word), "{word} is missing in {error}");
        let aside = file.set_aside().expect("moved");
        assert_eq!(&fs::read_to_string(aside).expect("there"), text);
        assert_eq!(file.read().expect("nothing"), None);
        assert_eq!(names(folder.path()).len(), count + 1, "none is overwritten");
        std::thread::sleep(Duration::from_millis(2));
    }
}
