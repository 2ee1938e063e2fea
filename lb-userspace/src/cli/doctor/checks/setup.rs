//! Whether there is a configuration and a daemon.

use super::{Issue, Judgement};
use crate::cli::doctor::{
    facts::{Daemon, Facts, NoConfig},
    finding::Severity,
};

pub(super) fn config(facts: &Facts) -> Judgement {
    let file = facts.file.display();
    let issue = match &facts.config {
        Ok(config) => {
            let services = super::count(config.services.len(), "service");
            return Judgement::Passed(format!("{file} is valid: {services}"));
        }
        Err(NoConfig::Missing) => Issue {
            severity: Severity::Warning,
            subject: String::new(),
            message: format!("there is no {file}: the host is checked alone"),
            effect: "`divvy run` does not start without one".to_owned(),
            remedy: format!("divvy init --output {file}"),
        },
        Err(NoConfig::Wrong(words)) => Issue {
            severity: Severity::Problem,
            subject: String::new(),
            message: format!("{words}: the host is checked alone"),
            effect: "`divvy run` does not start with it, and `divvy reload` refuses it".to_owned(),
            remedy: format!("divvy check {file}   # tells every problem; correct these"),
        },
    };
    Judgement::Found(vec![issue])
}

pub(super) fn daemon(facts: &Facts) -> Judgement {
    let run_dir = facts.run_dir.display();
    match &facts.daemon {
        Daemon::Runs(version) => Judgement::Passed(format!("divvy {version} runs on {run_dir}")),
        Daemon::Silent if facts.attached() => Judgement::Found(vec![Issue {
            severity: Severity::Warning,
            subject: String::new(),
            message: format!("packets are balanced, but no daemon runs on {run_dir}"),
            effect: "connections go on, but a backend that dies keeps its share of new ones"
                .to_owned(),
            remedy: "systemctl start divvy   # or, by hand: divvy run".to_owned(),
        }]),
        Daemon::Silent => Judgement::Passed(format!("not started yet on {run_dir}")),
        Daemon::Unknown(words) => Judgement::Found(vec![Issue {
            severity: Severity::Warning,
            subject: String::new(),
            message: words.clone(),
            effect: "none; but what the daemon has attached is not known here".to_owned(),
            remedy: "sudo divvy doctor   # or as a member of the group that --socket-group names"
                .to_owned(),
        }]),
    }
}
