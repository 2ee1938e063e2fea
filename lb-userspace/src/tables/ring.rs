//! The rings of services, as the tables hold them.

use std::{collections::HashMap, sync::Arc};

use lb_common::RING_SLOTS;

use super::{
    maglev::{self, Member},
    turns,
};
use crate::config::Scheduler;

/// A service's ring, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Backend indices by slot, [`RING_SLOTS`] of them.
    pub slots: Arc<[u32]>,
    /// Which half of the service's map holds it ([`lb_common::service::Service::ring_half`]).
    pub half: u8,
}

impl Ring {
    /// The ring with these slots that takes the place of the one before: it must not be written over
    /// a ring that packets are looking into.
    pub(super) fn after(before: Option<&Self>, slots: Arc<[u32]>) -> Self {
        let half = match before {
            Some(before) if before.slots == slots => before.half,
            Some(before) => 1 - before.half,
            None => 0,
        };
        Self { slots, half }
    }
}

/// How a ring's slots are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// For looking up by a hash or at random.
    Maglev,
    /// For going from slot to slot.
    Turns,
}

impl Order {
    pub(super) const fn of(scheduler: Scheduler) -> Self {
        match scheduler {
            Scheduler::Maglev | Scheduler::Random | Scheduler::LeastConn => Self::Maglev,
            Scheduler::RoundRobin => Self::Turns,
        }
    }
}

/// What a ring is made of.
type Recipe = (Order, Vec<Member>);

/// Rings built before, so that a change elsewhere does not build them again.
#[derive(Clone, Default)]
pub struct RingCache {
    by_service: HashMap<u32, (Recipe, Arc<[u32]>)>,
}

impl RingCache {
    /// The slots of a service with these members.
    pub(super) fn slots(
        &mut self,
        service_idx: u32,
        order: Order,
        mut members: Vec<Member>,
    ) -> Arc<[u32]> {
        members.sort_by_key(|member| member.identity);
        let recipe = (order, members);
        match self.by_service.get(&service_idx) {
            Some((of, slots)) if *of == recipe => Arc::clone(slots),
            _ => {
                let slots: Arc<[u32]> = match order {
                    Order::Maglev => maglev::build(&recipe.1, RING_SLOTS),
                    Order::Turns => turns::build(&recipe.1, RING_SLOTS),
                }
                .into();
                self.by_service
                    .insert(service_idx, (recipe, Arc::clone(&slots)));
                slots
            }
        }
    }
}
