//! What the pages say can be typed, works: each block of README.md and docs/ is run, parsed or, with a reason,
//! left out. A page that is added is covered; a block that no rule knows fails. Needs root.
//!
//! The kind of a block is the word behind its fence:
//!
//! | kind | what becomes of it |
//! | --- | --- |
//! | `sh` | each line is a command, run in a lab as the balancer's operator would: it must succeed |
//! | `console` | the same for the lines that begin with `$ `; the others must be in what the command printed, digits apart |
//! | `yaml` | a divvy.yaml, or a part of one: `divvy check` must like it |
//! | `json` | must be JSON |
//! | `text` | nothing |
//!
//! A comment on the line above changes that: `<!-- not run: REASON -->`, `<!-- exits: 3 -->`, and
//! `<!-- yaml of PROGRAM -->` for a file of somebody else's.

mod commands;
mod kinds;
mod page;
mod yaml;

use std::{collections::BTreeSet, fs, path::PathBuf};

use self::page::{Block, Page};

/// Pages whose commands a test of their own runs, in the surroundings that they need.
const ELSEWHERE: [(&str, &str); 2] = [
    ("docs/guide.md", "tests/tests/lab/"),
    (
        "docs/modes.md",
        "tests/tests/lab/modes_page_prepares_backends.rs",
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All pages, but for the decisions, which tell what was chosen and not what to type.
fn pages() -> Vec<Page> {
    let mut files = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    let mut folders = vec!["docs".to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(root().join(&folder)).expect("the folder is there");
        for entry in entries {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name in UTF-8");
            let path = format!("{folder}/{name}");
            if entry.path().is_dir() {
                folders.push(path);
            } else if name.to_ascii_lowercase().ends_with(".md") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(root().join(&file)).expect("a page");
            Page::read(&file, &text)
        })
        .collect()
}

/// The blocks that this test looks at.
fn blocks() -> Vec<Block> {
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(page, _)| *page).collect();
    (pages().into_iter())
        .filter(|page| !elsewhere.contains(page.file.as_str()))
        .flat_map(|page| page.blocks)
        .collect()
}

/// Fails with all problems at once.
#[track_caller]
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_block_has_a_kind() {
    let found = blocks();
    assert!(found.len() > 20, "{}", found.len());
    let problems: Vec<String> = (found.iter())
        .filter_map(|block| kinds::kind(block).err())
        .collect();
    none(&problems);
}

#[test]
fn pages_that_are_run_elsewhere_are() {
    for (page, test) in ELSEWHERE {
        if !root().join(page).exists() {
            continue;
        }
        let test = root().join(test);
        let files: Vec<PathBuf> = match test.is_dir() {
            true => fs::read_dir(&test)
                .expect("a folder")
                .map(|f| f.expect("a file").path())
                .collect(),
            false => vec![test],
        };
        let name = page.trim_start_matches("docs/");
        let runs = |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| text.contains(name));
        assert!(files.iter().any(runs), "no test runs {page} any more");
    }
}

#[test]
fn links_lead_somewhere() {
    let problems: Vec<String> = (pages().iter())
        .flat_map(|page| {
            let folder = root().join(&page.file);
            let folder = folder.parent().expect("a folder").to_owned();
            (page.links.iter())
                .filter(move |link| !folder.join(link).exists())
                .map(move |link| format!("{} links to {link}, which is not there", page.file))
        })
        .collect();
    none(&problems);
}

#[test]
fn yaml_is_what_divvy_takes() {
    let yaml = (blocks().into_iter()).filter(|block| block.kind == "yaml");
    let mut checked = 0;
    let problems: Vec<String> = yaml
        .filter_map(|block| {
            checked += 1;
            yaml::problem(&block).map(|problem| format!("{block}: {problem}"))
        })
        .collect();
    assert!(checked > 50, "{checked}");
    none(&problems);
}

#[test]
fn json_is_json() {
    let json = (blocks().into_iter()).filter(|block| block.kind == "json");
    let problems: Vec<String> = json
        .filter_map(|block| {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
            parsed.err().map(|error| format!("{block}: {error}"))
        })
        .collect();
    none(&problems);
}

#[test]
fn commands_do_what_they_say() {
    none(&commands::problems(&blocks()));
}
