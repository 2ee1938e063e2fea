//! What the flow tables may hold, at any time, and when all time has passed.

use std::collections::HashMap;

use lb_common::{
    flow::{flag, side, state},
    service::Timeouts,
};

use super::{judge::Fault, world::World};
use crate::rig::{Placed, Table};

/// Entries of each kind that were there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Census {
    pub half_open: u64,
    pub confirmed: u64,
    /// By state.
    pub states: [u64; 8],
}

/// Looks at every entry.
///
/// # Errors
/// When one stands where it does not belong, twice, or without its twin.
pub fn check(world: &World) -> Result<Census, Fault> {
    let mut census = Census::default();
    for v6 in [false, true] {
        let held = world.rig.placed(v6);
        let mut by_key = HashMap::with_capacity(held.len());
        for one in &held {
            if by_key
                .insert((one.protocol, one.source, one.destination), one)
                .is_some()
            {
                return Err(format!("one key has two entries: {one:?}"));
            }
        }
        for one in &held {
            entry(world, one)?;
            census.states[usize::from(one.entry.state)] += 1;
            if one.entry.table == Table::HalfOpen {
                census.half_open += 1;
                continue;
            }
            census.confirmed += 1;
            if one.entry.flags & flag::ONE_WAY != 0 {
                continue;
            }
            let twin = (one.protocol, one.entry.destination, one.entry.source);
            let twin = by_key.get(&twin).filter(|twin| {
                (twin.entry.destination, twin.entry.source) == (one.source, one.destination)
                    && twin.entry.table == Table::Confirmed
                    && twin.entry.side != one.entry.side
            });
            if twin.is_none() {
                return Err(format!("a confirmed entry has no twin: {one:?}"));
            }
        }
    }
    Ok(census)
}

fn entry(world: &World, one: &Placed) -> Result<(), Fault> {
    let entry = &one.entry;
    let plausible = one.at_home
        && (entry.backend_idx as usize) < world.backends.len()
        && (state::HALF_OPEN..=state::RESET).contains(&entry.state)
        && matches!(entry.side, side::CLIENT | side::BACKEND);
    if plausible {
        Ok(())
    } else {
        Err(format!("an entry that cannot be: {one:?}"))
    }
}

/// Lets all time pass: no flow may be left.
///
/// # Errors
/// When one is.
pub fn sweep(world: &mut World) -> Result<(), Fault> {
    let at_once = Timeouts {
        half_open_ms: 0,
        established_ms: 0,
        fin_ms: 0,
        reset_ms: 0,
    };
    for idx in 0..world.services.len() as u32 {
        world
            .rig
            .change_service(idx, |service| service.timeouts = at_once);
    }
    world.wait(1);
    for v6 in [false, true] {
        world.rig.sweep_all(v6);
        let left = world.rig.placed(v6);
        if let Some(one) = left.first() {
            return Err(format!("{} entries are left, such as {one:?}", left.len()));
        }
    }
    Ok(())
}
