//! What a block is, and what its comment says.

use crate::page::Block;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Commands(Run),
    Other,
}

/// What becomes of a block of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    /// Each must end with this code.
    Exits(i32),
    /// They are not run, for a reason; divvy's own are parsed.
    Not,
}

/// Words with which a command begins in blocks that have no kind, such as the README's.
const BEGINNINGS: [&str; 8] = [
    "divvy",
    "cargo",
    "curl",
    "ip",
    "systemctl",
    "install",
    "apt-get",
    "apt",
];

pub(crate) fn kind(block: &Block) -> Result<Kind, String> {
    match block.kind.as_str() {
        "sh" | "console" => run(block).map(Kind::Commands),
        "yaml" | "json" | "text" => Ok(Kind::Other),
        "" if block.file == "README.md" && begins_as_command(block) => {
            run(block).map(Kind::Commands)
        }
        "" if block.file == "README.md" => Ok(Kind::Other),
        "" => Err(format!(
            "{block}: say behind the fence what it is: sh, console, yaml, json or text"
        )),
        other => Err(format!(
            "{block}: `{other}` is no kind that this test knows"
        )),
    }
}

fn begins_as_command(block: &Block) -> bool {
    let first = block.text.split_whitespace().next().unwrap_or_default();
    BEGINNINGS.contains(&first) || first.starts_with("DIVVY_")
}

fn run(block: &Block) -> Result<Run, String> {
    let Some(note) = &block.note else {
        return Ok(Run::Exits(0));
    };
    if let Some(reason) = note.strip_prefix("not run:") {
        return match reason.trim().is_empty() {
            true => Err(format!("{block}: give a reason for not running it")),
            false => Ok(Run::Not),
        };
    }
    match note.strip_prefix("exits:") {
        Some(code) => (code.trim().parse().map(Run::Exits))
            .map_err(|_| format!("{block}: `{note}` names no exit code")),
        None => Ok(Run::Exits(0)),
    }
}

#[test]
fn kinds_are_told() {
    let block = |file: &str, kind: &str, note: Option<&str>, text: &str| Block {
        file: file.to_owned(),
        line: 1,
        kind: kind.to_owned(),
        note: note.map(str::to_owned),
        text: text.to_owned(),
    };
    let told =
        |block: &Block| kind(block).map_err(|error| error.split(": ").nth(1).map(str::to_owned));
    let runs = |code| Ok(Kind::Commands(Run::Exits(code)));
    assert_eq!(told(&block("docs/a.md", "sh", None, "ls")), runs(0));
    assert_eq!(
        told(&block("docs/a.md", "sh", Some("exits: 3"), "ls")),
        runs(3)
    );
    assert_eq!(
        told(&block(
            "docs/a.md",
            "sh",
            Some("not run: it reboots"),
            "reboot"
        )),
        Ok(Kind::Commands(Run::Not))
    );
    assert!(told(&block("docs/a.md", "sh", Some("not run:"), "reboot")).is_err());
    assert!(told(&block("docs/a.md", "", None, "ls")).is_err());
    assert!(told(&block("docs/a.md", "rust", None, "ls")).is_err());
    assert_eq!(told(&block("README.md", "", None, "divvy status")), runs(0));
    assert_eq!(
        told(&block("README.md", "", None, "  ┌──┐")),
        Ok(Kind::Other)
    );
}
