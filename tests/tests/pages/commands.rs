//! Commands of the pages, run one after the other by a lab's balancer.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use lb_tests::lab::{Divvy, Lab, METRICS};

use crate::{
    kinds::{Kind, Run, kind},
    page::Block,
    root,
};

/// Longest that a command may take.
const SECONDS: &str = "60";

/// Commands that are not run, wherever they stand, by their beginning, and why.
const NOT_RUN: [(&str, &str); 8] = [
    (
        "divvy run",
        "the daemon runs in the foreground, and runs here already",
    ),
    (
        "divvy prepare --user",
        "needs the user: tests/lab/it_runs_as_a_user_of_its_own.rs runs it",
    ),
    ("cargo build", "what it builds is what runs here"),
    (
        "cargo test",
        "it is what runs here; what it names is looked for",
    ),
    (
        "cargo xtask",
        "sets the host up and takes minutes; its verb and options are looked for",
    ),
    ("apt-get install", "would change this host"),
    ("apt install", "would change this host"),
    ("systemctl", "there is no systemd in the lab"),
];

/// What is wrong with the commands of all these blocks, page by page.
pub(crate) fn problems(blocks: &[Block]) -> Vec<String> {
    let lab = Lab::routed("pages").backends(3).start();
    let mut problems = Vec::new();
    let mut ran = 0;
    let mut stage: Option<(String, Stage<'_>)> = None;
    for block in blocks {
        let Ok(Kind::Commands(how)) = kind(block) else {
            continue;
        };
        for step in steps(block) {
            let name = format!("{block}: `{}`", step.command);
            if let Some(said) = named_things(&step.command) {
                problems.push(format!("{name}: {said}"));
            }
            let listed = NOT_RUN
                .iter()
                .any(|(beginning, _)| begins(&step.command, beginning));
            let (Run::Exits(code), false) = (&how, listed) else {
                continue;
            };
            if stage.as_ref().is_none_or(|(page, _)| *page != block.file) {
                // Two daemons cannot have the same interfaces.
                if let Some((_, before)) = stage.take() {
                    before.end();
                }
                stage = Some((block.file.clone(), Stage::new(&lab)));
            }
            let (_, stage) = stage.as_ref().expect("it was made");
            ran += 1;
            if let Some(said) = stage.run(&step, *code) {
                problems.push(format!("{name}: {said}"));
            }
        }
    }
    println!("{ran} commands were run");
    assert!(ran > 15, "{ran}");
    problems
}

/// A command, and lines that it must print.
struct Step {
    command: String,
    prints: Vec<String>,
}

fn steps(block: &Block) -> Vec<Step> {
    let console = block.kind == "console";
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        let line = line.trim_end();
        let command = match (console, line.strip_prefix("$ ")) {
            (false, _) => Some(line),
            (true, command) => command,
        };
        match command {
            _ if goes_on => {
                let step = steps.last_mut().expect("one was begun");
                step.command
                    .push_str(line.trim_start().trim_end_matches('\\'));
                goes_on = line.ends_with('\\');
            }
            Some(command) if command.is_empty() || command.starts_with('#') => {}
            Some(command) => {
                goes_on = command.ends_with('\\');
                steps.push(Step {
                    command: command.trim_end_matches('\\').to_owned(),
                    prints: Vec::new(),
                });
            }
            None => {
                let step = steps.last_mut().expect("output follows a command");
                step.prints.push(line.to_owned());
            }
        }
    }
    steps
}

/// The command begins with these words, settings of variables apart.
fn begins(command: &str, beginning: &str) -> bool {
    let is_setting =
        |word: &&str| word.contains('=') && word.starts_with(|c: char| c.is_ascii_uppercase());
    let words: Vec<&str> = command.split_whitespace().skip_while(is_setting).collect();
    let wanted: Vec<&str> = beginning.split_whitespace().collect();
    words.starts_with(&wanted)
}

/// Its words, without the comment behind it, and those of the first of several commands in a line.
fn words(command: &str) -> Vec<&str> {
    let command = command.split(" #").next().unwrap_or_default();
    (command.split_whitespace())
        .skip_while(|word| word.contains('=') && word.starts_with("DIVVY_"))
        .take_while(|word| !["|", "||", "&&", ";", ">"].contains(word))
        .collect()
}

/// What is wrong with the verbs, options, tests and files that a command names, run or not.
fn named_things(command: &str) -> Option<String> {
    let words = words(command);
    match words.as_slice() {
        ["divvy", rest @ ..] => unknown_options(&env_binary("divvy"), rest),
        ["cargo", "xtask", rest @ ..] => unknown_options(&env_binary("xtask"), rest),
        ["cargo", "test", rest @ ..] => unknown_test(rest),
        ["install", rest @ ..] => {
            // From the repository to the host.
            let sources = rest.iter().filter(|word| word.starts_with("packaging/"));
            let missing: Vec<&str> = sources
                .copied()
                .filter(|file| !root().join(file).exists())
                .collect();
            (!missing.is_empty()).then(|| format!("{} is not there", missing.join(", ")))
        }
        _ => None,
    }
}

fn env_binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let folder = test
        .ancestors()
        .nth(2)
        .expect("tests are in target/debug/deps");
    folder.join(name)
}

/// The verb must be known to `--help`, and so must each option of the verb.
fn unknown_options(program: &Path, words: &[&str]) -> Option<String> {
    let verb = words.iter().find(|word| !word.starts_with('-'))?;
    let output = Command::new(program).args([verb, "--help"]).output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return Some(format!("cannot start {}: {error}", program.display())),
    };
    if !output.status.success() {
        return Some(format!("there is no verb {verb}"));
    }
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    // What a verb hands on to another program is that one's.
    if help.contains("Handed on") {
        return None;
    }
    let unknown = |word: &&str| {
        let option = word.split('=').next().unwrap_or_default();
        option.starts_with('-') && option.len() > 1 && !help.contains(option)
    };
    let unknown: Vec<&str> = words.iter().copied().filter(|word| unknown(word)).collect();
    (!unknown.is_empty()).then(|| format!("{verb} has no {}", unknown.join(", ")))
}

/// `-p PACKAGE --test TARGET NAME` must be there.
fn unknown_test(words: &[&str]) -> Option<String> {
    let after = |option: &str| {
        let place = words.iter().position(|word| *word == option)?;
        words.get(place + 1).copied()
    };
    let target = after("--test")?;
    let folder = root().join("tests/tests").join(target);
    if !folder.join("main.rs").exists() {
        return Some(format!("there is no test target {target}"));
    }
    let name = words.iter().skip_while(|word| **word != target).nth(1)?;
    if name.starts_with('-') {
        return None;
    }
    let part = name.trim_end_matches("::");
    let found = fs::read_dir(&folder).expect("a folder").any(|file| {
        let path = file.expect("a file").path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        text.contains(part)
            || path
                .file_stem()
                .is_some_and(|stem| stem.to_string_lossy().contains(part))
    });
    (!found).then(|| format!("no test of {target} is called {name}"))
}

/// A daemon for the commands of one page.
struct Stage<'a> {
    lab: &'a Lab,
    divvy: Divvy,
    path: String,
}

impl<'a> Stage<'a> {
    fn new(lab: &'a Lab) -> Self {
        let divvy = lab.divvy(&lab.config().with(METRICS));
        divvy.wait_for_all_up();
        // Commands find a divvy that knows where this one lives.
        let folder = divvy
            .config_path()
            .parent()
            .expect("a file is in a folder")
            .join("bin");
        fs::create_dir_all(&folder).expect("a folder can be made");
        let wrapper = folder.join("divvy");
        let text = format!(
            "#!/bin/sh\nexec {} \"$@\" --config {} --run-dir {}\n",
            env_binary("divvy").display(),
            divvy.config_path().display(),
            divvy.run_dir().display()
        );
        fs::write(&wrapper, text).expect("a file can be written");
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let path = format!(
            "{}:{}",
            folder.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        Self { lab, divvy, path }
    }

    /// Leaves nothing for the next one to trip over.
    fn end(&self) {
        self.revive();
        self.divvy.must(&["detach"]);
        self.divvy.wait_for_its_end();
    }

    /// A command before may have ended the daemon, as `divvy detach` does.
    fn revive(&self) {
        if !self.divvy.cli(&["status", "-o", "json"]).status.success() {
            self.divvy.wait_for_its_end();
            self.divvy.start_again();
            self.divvy.wait_for_all_up();
        }
    }

    /// What is wrong with what a command did.
    fn run(&self, step: &Step, code: i32) -> Option<String> {
        self.revive();
        let command = (step.command)
            .replace(
                "/etc/divvy/divvy.yaml",
                &self.divvy.config_path().to_string_lossy(),
            )
            .replace("/run/divvy", &self.divvy.run_dir().to_string_lossy());
        let path = format!("PATH={}", self.path);
        // What a command writes is gone with the lab.
        let folder = format!("--chdir={}", self.lab.folder().display());
        let words = [
            "timeout", SECONDS, "env", &folder, &path, "bash", "-c", &command,
        ];
        let output = self.lab.balancer().run(&words);
        if output.status.code() != Some(code) {
            return Some(format!(
                "exit code {:?} and not {code}: {}",
                output.status.code(),
                printed(&output)
            ));
        }
        let all = shape(&printed(&output));
        let missing: Vec<&str> = (step.prints.iter())
            .map(String::as_str)
            .filter(|line| !line.trim().is_empty() && line.trim() != "…")
            .filter(|line| !all.contains(shape(line).trim()))
            .collect();
        (!missing.is_empty()).then(|| {
            format!(
                "does not print\n{}\nbut\n{}",
                missing.join("\n"),
                printed(&output)
            )
        })
    }
}

fn printed(output: &Output) -> String {
    let text = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A text without what differs from run to run: figures, and how columns are filled up.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        let c = if c.is_whitespace() { ' ' } else { c };
        if !((c == '0' || c == ' ') && shape.ends_with(c)) {
            shape.push(c);
        }
    }
    shape
}

#[test]
fn what_is_named_is_looked_for() {
    assert_eq!(named_things("divvy status -o json # all"), None);
    assert_eq!(named_things("divvy drain web/web-1 --wait"), None);
    let said = |command: &str| named_things(command).unwrap_or_else(|| panic!("{command} is good"));
    assert!(said("divvy fly").contains("no verb fly"));
    assert!(said("divvy status --wait").contains("has no --wait"));
    assert!(said("cargo xtask fly").contains("no verb fly"));
    assert!(said("cargo test -p lb-tests --test lab nothing_is_called_so_zz").contains("no test"));
    assert!(said("cargo test -p lb-tests --test nowhere").contains("no test target"));
    assert!(said("install -m 644 packaging/nothing /etc").contains("not there"));
    assert!(begins("DIVVY_X=1 cargo test -p x", "cargo test"));
    assert_eq!(shape("web-1   12.3k\n"), shape("web-2 4.5k "));
}
