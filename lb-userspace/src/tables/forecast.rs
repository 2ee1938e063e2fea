//! What other tables would mean for flows: how much of a ring moves, and whose flows end. Pure: the
//! tables are compared as they are.

use std::collections::BTreeMap;

use lb_common::backend::{Backend, flows, state};

use super::{Tables, ring::Ring};

/// What becomes of a backend's flows when other tables take the place of those in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Their next packet is answered with a reset.
    Reset,
    /// They run on, and no new ones come.
    Drained,
}

/// The fate of backends' flows, by index. Those that are missing have their flows as before.
#[must_use]
pub fn fates(before: &Tables, after: &Tables) -> BTreeMap<u32, Fate> {
    let mut fates = BTreeMap::new();
    for (idx, was) in &before.backends {
        let is = after.backends.get(idx).unwrap_or(&Backend::FREE);
        let fate = if was.flows == flows::FORWARD && is.flows == flows::RESET {
            Fate::Reset
        } else if takes_new(was) && !takes_new(is) {
            Fate::Drained
        } else {
            continue;
        };
        fates.insert(*idx, fate);
    }
    fates
}

fn takes_new(backend: &Backend) -> bool {
    backend.state == state::UP && backend.weight > 0
}

/// How many slots of a ring lead elsewhere than before.
#[must_use]
pub fn moved(before: &Ring, after: &Ring) -> usize {
    (before.slots.iter())
        .zip(after.slots.iter())
        .filter(|(before, after)| before != after)
        .count()
}
