//! What a check found, and all of it together.

use serde::Serialize;

use super::facts::Facts;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Traffic suffers, or will.
    Problem,
    /// It works, but less well than it could, or not at every moment.
    Warning,
    Ok,
}

impl Severity {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Ok => "ok",
        }
    }
}

/// What checks are about, in the order in which they are told where nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Theme {
    Setup,
    Kernel,
    Interfaces,
    Forwarding,
    Mtu,
    Backends,
    Vips,
    Limits,
    Clock,
}

impl Theme {
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Setup => "Configuration and daemon",
            Self::Kernel => "Kernel and rights",
            Self::Interfaces => "Interfaces and XDP",
            Self::Forwarding => "Forwarding by the kernel",
            Self::Mtu => "MTU",
            Self::Backends => "Backends",
            Self::Vips => "Vips",
            Self::Limits => "Limits",
            Self::Clock => "Clock",
        }
    }
}

/// One finding, as in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// Its name, by which docs/operations.md has a section.
    pub(super) check: &'static str,
    pub(super) theme: Theme,
    pub(super) severity: Severity,
    /// What it is about: an interface, `service/backend`, a vip; empty for the host.
    pub(super) subject: String,
    /// What is so.
    pub(super) message: String,
    /// What it does to traffic; null where all is well.
    pub(super) effect: Option<String>,
    /// What to do, a command where one does; null where all is well.
    pub(super) remedy: Option<String>,
}

/// The answer as JSON.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    /// The configuration's path.
    pub(super) config: String,
    /// The host was checked against that; without it, the host alone.
    pub(super) config_read: bool,
    pub(super) daemon_runs: bool,
    pub(super) findings: Vec<Finding>,
    pub(super) problems: usize,
    pub(super) warnings: usize,
    pub(super) passed: usize,
}

impl Report {
    /// The worst theme first, and in it the worst finding.
    pub(super) fn new(facts: &Facts, mut findings: Vec<Finding>) -> Self {
        let worst = |theme: Theme, all: &[Finding]| {
            let of_theme = all.iter().filter(|finding| finding.theme == theme);
            of_theme.map(|finding| finding.severity).min()
        };
        let all = findings.clone();
        findings.sort_by_key(|finding| {
            let theme = finding.theme;
            (worst(theme, &all), theme, finding.severity)
        });
        let count = |severity| {
            let such = findings.iter().filter(|one| one.severity == severity);
            such.count()
        };
        Self {
            config: facts.file.display().to_string(),
            config_read: facts.config.is_ok(),
            daemon_runs: facts.daemon.runs(),
            problems: count(Severity::Problem),
            warnings: count(Severity::Warning),
            passed: count(Severity::Ok),
            findings,
        }
    }
}
