//! The host's clocks.

use std::time::{Duration, SystemTime};

use super::{Issue, Judgement};
use crate::cli::doctor::{facts::Facts, finding::Severity};

/// Sources that take a trip to a slow device for each reading.
const SLOW: [&str; 4] = ["acpi_pm", "hpet", "jiffies", "refined-jiffies"];
/// 2026-01-01, before which this version was not made, in seconds.
const NOT_BEFORE: u64 = 1_767_225_600;
/// 2100-01-01.
const NOT_AFTER: u64 = 4_102_444_800;

pub(super) fn source(facts: &Facts) -> Judgement {
    let Some(source) = &facts.clock.source else {
        return Judgement::DoesNotApply;
    };
    if !SLOW.contains(&source.as_str()) {
        return Judgement::Passed(format!("the clock source is {source}"));
    }
    Judgement::Found(vec![Issue {
        severity: Severity::Warning,
        subject: String::new(),
        message: format!("the clock source is {source}, which is slow to read"),
        effect: "none on balanced packets, whose program counts ticks; the host's own traffic and the \
                 daemon take more time"
            .to_owned(),
        remedy: "cat /sys/devices/system/clocksource/clocksource0/available_clocksource   # write a \
                 faster one (tsc, kvm-clock) into current_clocksource; dmesg tells why it was not taken"
            .to_owned(),
    }])
}

pub(super) fn synchronised(facts: &Facts) -> Judgement {
    match facts.clock.synchronised {
        None => Judgement::DoesNotApply,
        Some(true) => Judgement::Passed("the clock is kept right".to_owned()),
        Some(false) => Judgement::Found(vec![Issue {
            severity: Severity::Warning,
            subject: String::new(),
            message: "nobody keeps the clock right (no NTP)".to_owned(),
            effect:
                "none on packets; times in `status` and logs may be wrong, and certificates of \
                     https checks count as expired or not yet valid"
                    .to_owned(),
            remedy: "timedatectl set-ntp true   # or install chrony".to_owned(),
        }]),
    }
}

pub(super) fn date(facts: &Facts) -> Judgement {
    let since = facts.clock.now.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    // Seconds suffice here.
    let told = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let told = humantime::format_rfc3339_seconds(told);
    if (NOT_BEFORE..NOT_AFTER).contains(&seconds) {
        return Judgement::Passed(format!("it is {told}"));
    }
    Judgement::Found(vec![Issue {
        severity: Severity::Warning,
        subject: String::new(),
        message: format!("the clock says {told}, which cannot be"),
        effect: "none on packets; times in `status` and logs are wrong, and https checks fail"
            .to_owned(),
        remedy: "date --set='YYYY-MM-DD HH:MM:SS'   # or let NTP do it: timedatectl set-ntp true"
            .to_owned(),
    }])
}
