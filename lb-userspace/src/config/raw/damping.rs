//! The key `damping` of health checks: `none`, or a section.

use std::{ops::RangeInclusive, time::Duration};

use crate::config::{check::Damping, field::Field};

const CHANGES: RangeInclusive<u32> = 2..=100;
const WITHIN: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const HOLD: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// Reads it.
pub(super) fn damping(field: &Field<'_>) -> Option<Option<Damping>> {
    if !field.is_section() {
        return field.word(&[()], |()| "none", &[]).map(|()| None);
    }
    let mut keys = field.section()?;
    let changes = keys.required("changes", |field| field.number(CHANGES));
    let within = keys.required("within", |field| field.duration(WITHIN));
    let hold = keys.required("hold", |field| field.duration(HOLD));
    keys.finish();
    Some(Some(Damping {
        changes: changes?,
        within: within?,
        hold: hold?,
    }))
}
