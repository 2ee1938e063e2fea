//! The report for people: by theme, the worst first, and a line at the end that sums it up.

use super::finding::{Finding, Report, Severity, Theme};

/// Findings of one check that are told one by one; JSON has them all.
const MANY: usize = 5;
/// `problem` and two spaces.
const COLUMN: usize = 9;

pub(super) fn render(report: &Report) -> String {
    let mut lines = vec![head(report)];
    let mut theme: Option<Theme> = None;
    let mut findings = report.findings.iter().peekable();
    while let Some(finding) = findings.next() {
        if theme != Some(finding.theme) {
            theme = Some(finding.theme);
            lines.push(String::new());
            lines.push(finding.theme.title().to_owned());
        }
        lines.extend(finding_lines(finding));
        let same =
            |other: &&Finding| other.check == finding.check && other.severity == finding.severity;
        let mut told = 1;
        let mut more = 0;
        while let Some(other) = findings.next_if(same) {
            if told < MANY {
                lines.extend(finding_lines(other));
                told += 1;
            } else {
                more += 1;
            }
        }
        if more > 0 {
            lines.push(format!(
                "  {:COLUMN$}and {more} more of the check {}; `-o json` has them all",
                "", finding.check
            ));
        }
    }
    lines.push(String::new());
    lines.push(sum(report));
    lines.join("\n")
}

fn head(report: &Report) -> String {
    let against = if report.config_read {
        format!("against {}", report.config)
    } else {
        format!("alone, without {}", report.config)
    };
    let daemon = if report.daemon_runs {
        "the daemon runs"
    } else {
        "no daemon answers"
    };
    format!("this host {against}; {daemon}")
}

fn finding_lines(finding: &Finding) -> Vec<String> {
    let subject = match finding.subject.as_str() {
        "" => String::new(),
        subject => format!("{subject}: "),
    };
    let mut lines = vec![format!(
        "  {:COLUMN$}{subject}{} [{}]",
        finding.severity.name(),
        finding.message,
        finding.check
    )];
    let parts = [("effect", &finding.effect), ("remedy", &finding.remedy)];
    for (name, text) in parts {
        if let Some(text) = text {
            lines.push(format!("  {:COLUMN$}{name}: {text}", ""));
        }
    }
    lines
}

/// `2 problems, 1 warning; 14 checks passed`.
fn sum(report: &Report) -> String {
    let counted = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        _ => Some(format!("{n} {what}s")),
    };
    let bad: Vec<String> = [
        counted(report.problems, Severity::Problem.name()),
        counted(report.warnings, Severity::Warning.name()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let passed = counted(report.passed, "check").unwrap_or_else(|| "no check".to_owned());
    if bad.is_empty() {
        return format!("no problem; {passed} passed");
    }
    format!("{}; {passed} passed", bad.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(problems: usize, warnings: usize, passed: usize) -> Report {
        let one = |severity, check| Finding {
            check,
            theme: Theme::Backends,
            severity,
            subject: "web/web-1".to_owned(),
            message: "no route".to_owned(),
            effect: Some("it is down".to_owned()),
            remedy: Some("ip route".to_owned()),
        };
        let mut findings = Vec::new();
        findings.extend((0..problems).map(|_| one(Severity::Problem, "backend_route")));
        findings.extend((0..warnings).map(|_| one(Severity::Warning, "backend_neighbour")));
        Report {
            config: "divvy.yaml".to_owned(),
            config_read: true,
            daemon_runs: false,
            findings,
            problems,
            warnings,
            passed,
        }
    }

    #[test]
    fn the_last_line_sums_up() {
        for (problems, warnings, passed, said) in [
            (2, 1, 14, "2 problems, 1 warning; 14 checks passed"),
            (0, 2, 1, "2 warnings; 1 check passed"),
            (0, 0, 14, "no problem; 14 checks passed"),
            (1, 0, 0, "1 problem; no check passed"),
        ] {
            let text = render(&report(problems, warnings, passed));
            assert_eq!(text.lines().last(), Some(said));
        }
    }

    #[test]
    fn many_of_one_kind_are_told_in_short() {
        let text = render(&report(1_000, 1, 0));
        assert_eq!(text.matches("remedy: ").count(), 6);
        assert!(
            text.contains("and 995 more of the check backend_route; `-o json`"),
            "{text}"
        );
        assert!(text.contains("[backend_neighbour]"), "{text}");
    }
}
