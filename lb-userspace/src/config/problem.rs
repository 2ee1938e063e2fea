//! What can be wrong with a configuration, said in one line for each problem.

use std::{
    fmt::{self, Display},
    io,
    path::PathBuf,
    string::FromUtf8Error,
};

use thiserror::Error;

use super::{
    Writable,
    path::one_line,
    shape::{MAX_DEPTH, MAX_FILE_BYTES, MAX_MARKS, MAX_VALUES},
};

/// Why there is no [`Config`](super::Config). Displayed, each problem is exactly one line that
/// starts with the file's name: `FILE:LINE: services[0].name: what is wrong; what to do`.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {cause}; {}", file(path), remedy(cause))]
    Read { path: PathBuf, cause: io::Error },

    /// Others may write the file.
    #[error(transparent)]
    Writable(#[from] Writable),

    /// The file holds nothing, or comments only.
    #[error("{}: is empty; it needs `interfaces` and `services`", one_line(file))]
    Empty { file: String },

    /// The file is larger than [`MAX_FILE_BYTES`].
    #[error("{}: is larger than {} MiB; is it a configuration?", one_line(file), MAX_FILE_BYTES >> 20)]
    TooLarge { file: String },

    /// The file consists of little but punctuation.
    #[error(
        "{}: holds more than {MAX_MARKS} brackets, commas, colons and the like; make it smaller",
        one_line(file)
    )]
    TooManyMarks { file: String },

    /// The file is not text.
    #[error(
        "{}:{line}: is not UTF-8; save the file in that encoding",
        one_line(file)
    )]
    NotUtf8 { file: String, line: usize },

    /// The file, its aliases replaced by what they stand for, holds too many values.
    #[error(
        "{}: holds more than {MAX_VALUES} values once each alias (`*name`) is replaced by what it \
         stands for; make it smaller",
        one_line(file)
    )]
    TooManyValues { file: String },

    /// Lists and mappings stand inside one another without end.
    #[error(
        "{}:{line}: is nested more than {MAX_DEPTH} deep; the format needs six",
        one_line(file)
    )]
    TooDeep { file: String, line: usize },

    /// The file is not one YAML document.
    #[error("{}: {message}; correct the YAML", place(file, *line))]
    Syntax {
        file: String,
        line: Option<usize>,
        message: String,
    },

    /// The same, where a tab is to blame: what the parser says of it names no tab.
    #[error(
        "{}:{line}: a tab stands where YAML wants spaces; indent with spaces only",
        one_line(file)
    )]
    Tab { file: String, line: usize },

    /// The file is YAML but no valid configuration: all that is wrong with it, by line.
    #[error("{}", listed(file, problems, *more))]
    Invalid {
        file: String,
        problems: Vec<Problem>,
        /// How many there are beyond those.
        more: usize,
    },
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the key: `services[0].backends[2].weight`; empty for the file as a whole.
    pub path: String,
    /// Line it stands on, from 1. A key that is missing, or that comes from an alias, has the
    /// line of what it is missing in or that uses the alias.
    pub line: Option<usize>,
    /// What is wrong and what to do, in one line.
    pub message: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl ConfigError {
    pub(super) fn not_utf8(file: &str, error: &FromUtf8Error) -> Self {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        Self::NotUtf8 {
            file: file.to_owned(),
            line: 1 + valid.iter().filter(|byte| **byte == b'\n').count(),
        }
    }

    pub(super) fn syntax(file: &str, text: &str, error: &serde_yaml::Error) -> Self {
        let error_text = error.to_string();
        let line = error.location().map(|location| location.line());
        if let Some(line) = line.filter(|line| begins_with_a_tab(text, *line)) {
            let file = file.to_owned();
            return Self::Tab { file, line };
        }
        let message = if error_text.contains("more than one document") {
            "goes on after the end of its YAML document"
        } else {
            &error_text
        };
        Self::Syntax {
            file: file.to_owned(),
            line,
            message: message.replace(char::is_control, " "),
        }
    }
}

/// A tab stands among the blanks at the start of a line, counted from 1.
fn begins_with_a_tab(text: &str, line: usize) -> bool {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    line[..line.len() - line.trim_start().len()].contains('\t')
}

fn file(path: &std::path::Path) -> String {
    one_line(&path.display().to_string())
}

fn remedy(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::NotFound => "write it (`divvy init` does), or name another with --config",
        io::ErrorKind::PermissionDenied => "run as a user who may read it, root for example",
        io::ErrorKind::IsADirectory => "name a file in it",
        _ => "check the file and its disk",
    }
}

fn place(file: &str, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", one_line(file)),
        None => one_line(file),
    }
}

fn listed(file: &str, problems: &[Problem], more: usize) -> String {
    let mut lines: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {problem}", place(file, problem.line)))
        .collect();
    if more > 0 {
        let file = one_line(file);
        lines.push(format!(
            "{file}: has {more} more problems; correct these first"
        ));
    }
    lines.join("\n")
}
