//! `divvy completions`, `man` and `schema`: what shells, packages and editors get is what the command line
//! knows.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Output},
};

fn divvy(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_divvy"));
    command.args(words).output().expect("it starts")
}

fn said(words: &[&str]) -> String {
    let output = divvy(words);
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// As `divvy --help` lists them.
fn verbs() -> BTreeSet<String> {
    let help = said(&["--help"]);
    let (_, rest) = help.split_once("Commands:\n").expect("a list");
    let (list, _) = rest.split_once("\n\n").expect("it ends");
    (list.lines())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> BTreeSet<String> {
    let last = words.len() - 1;
    let script = format!(
        "source <('{}' completions bash); COMP_WORDS=({}); COMP_CWORD={last}; \
         _divvy divvy '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        env!("CARGO_BIN_EXE_divvy"),
        words.join(" "),
        words[last],
        words[last - 1]
    );
    let output = Command::new("bash").args(["-c", &script]).output();
    let output = output.expect("bash is there");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_and_options() {
    assert_eq!(
        offered(&["divvy", "sta"]),
        BTreeSet::from(["status".to_owned()])
    );
    let all = offered(&["divvy", "''"]);
    assert!(verbs().is_subset(&all), "{all:?}");
    let options = offered(&["divvy", "flows", "--ba"]);
    assert_eq!(options, BTreeSet::from(["--backend".to_owned()]));
    for shell in ["zsh", "fish"] {
        assert!(said(&["completions", shell]).contains("divvy"), "{shell}");
    }
}

#[test]
fn every_verb_has_a_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().to_str().expect("text");
    let told = said(&["man", "--to", to]);
    let names: BTreeSet<String> = fs::read_dir(folder.path())
        .expect("it is there")
        .map(|file| {
            file.expect("a file")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    assert_eq!(told, format!("wrote {} pages to {to}\n", names.len()));
    let expected: BTreeSet<String> = (verbs().iter())
        .map(|verb| format!("divvy-{verb}.8"))
        .chain(["divvy.8".to_owned()])
        .collect();
    assert_eq!(names, expected);
    for name in &names {
        let page = fs::read_to_string(folder.path().join(name)).expect("text");
        let title = format!(".TH {} 8", name.trim_end_matches(".8"));
        for part in [&*title, ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(part), "{name} has no {part}:\n{page}");
        }
        // One that is printed is the same.
        let printed = match name.strip_prefix("divvy-") {
            Some(verb) => said(&["man", verb.trim_end_matches(".8")]),
            None => said(&["man"]),
        };
        assert_eq!(printed, page, "{name}");
    }
    let run = said(&["man", "run"]);
    for words in ["divvy run", "\\-\\-socket\\-group", "\\-\\-run\\-dir"] {
        assert!(run.contains(words), "{words}:\n{run}");
    }
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(&said(&["schema"])).expect("JSON");
    assert_eq!(schema["title"], "divvy.yaml");
}

#[test]
fn what_cannot_be_done_is_named() {
    let output = divvy(&["man", "fly"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(
        text.starts_with("divvy: there is no verb fly; there are run, init, check,"),
        "{text}"
    );
    let output = divvy(&["man", "--to", "/proc/none"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).expect("text");
    assert!(text.contains("cannot write /proc/none/divvy.8: "), "{text}");
}
