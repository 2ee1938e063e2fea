//! The page's blocks, in order.

/// What a block of the page stands for.
#[derive(Debug)]
pub enum Step {
    Install {
        script: &'static str,
    },
    Run {
        host: &'static str,
        until: bool,
        script: &'static str,
        /// Lines that it prints.
        shows: Vec<&'static str>,
    },
    Background {
        script: &'static str,
    },
    Server {
        host: &'static str,
        up: bool,
    },
    Edit {
        file: &'static str,
        diff: &'static str,
    },
    File {
        file: &'static str,
        text: &'static str,
    },
    NotRun {
        why: &'static str,
    },
}

/// The steps. Panics at a block that says nothing of itself.
pub fn steps(page: &'static str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut parts = page.split("```");
    let mut before = parts.next().unwrap_or_default();
    while let (Some(block), after) = (parts.next(), parts.next().unwrap_or_default()) {
        let (kind, text) = block.split_once('\n').expect("a block has lines");
        if kind == "text" {
            let Some(Step::Run { shows, .. }) = steps.last_mut() else {
                panic!("what prints this? {text}");
            };
            shows.extend(text.lines());
        } else {
            let last = before.trim_end().lines().last().unwrap_or_default();
            let marker = last
                .strip_prefix("<!-- ")
                .and_then(|rest| rest.strip_suffix(" -->"));
            let marker = marker.unwrap_or_else(|| panic!("no marker before {text}"));
            steps.push(step(marker, text));
        }
        before = after;
    }
    steps
}

fn step(marker: &'static str, text: &'static str) -> Step {
    let (what, of) = marker.split_once(": ").expect(marker);
    match what {
        "install" => Step::Install { script: text },
        "edit" => Step::Edit {
            file: of,
            diff: text,
        },
        "file" => Step::File { file: of, text },
        "not run" => Step::NotRun { why: of },
        "on" => {
            let (host, how) = of.split_once(", ").unwrap_or((of, ""));
            match how {
                "" | "until" => Step::Run {
                    host,
                    until: how == "until",
                    script: text,
                    shows: Vec::new(),
                },
                "in the background" => Step::Background { script: text },
                "stops its server" => Step::Server { host, up: false },
                "starts its server" => Step::Server { host, up: true },
                _ => panic!("what is {marker}?"),
            }
        }
        _ => panic!("what is {marker}?"),
    }
}

/// One of the lines that were printed is as this one, in which `…` stands for anything. Blanks count once.
pub fn shown(pattern: &str, said: &str) -> bool {
    said.lines().any(|line| fits(&words(pattern), &words(line)))
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn fits(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else {
        return pattern == line;
    };
    let Some(mut line) = line.strip_prefix(start.trim_end()) else {
        return false;
    };
    let mut parts = rest.split('…').map(str::trim).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return line.ends_with(part);
        }
        let Some(at) = line.find(part) else {
            return false;
        };
        line = &line[at + part.len()..];
    }
    true
}

#[test]
fn lines_with_gaps_are_recognised() {
    for (pattern, line, is_one) in [
        (
            "web  …  2 of 2 up…",
            "web  tcp/nat  2 of 2 up, announced: x",
            true,
        ),
        ("web … 2 of 2 up…", "web tcp/nat 1 of 2 up", false),
        ("… checks passed", "2 warnings; 9 checks passed", true),
        ("… checks passed", "9 checks passed, said he", false),
        ("web-1", "web-1", true),
        ("web-1", "web-10", false),
        ("a … b … c", "a x c", false),
    ] {
        assert_eq!(shown(pattern, line), is_one, "{pattern} / {line}");
    }
}
