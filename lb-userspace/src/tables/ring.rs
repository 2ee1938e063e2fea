//! The rings of services, as the tables hold them.

use std::{collections::HashMap, sync::Arc};

use lb_common::RING_SLOTS;

use super::maglev::{self, Member};

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

/// Rings built before, so that a change elsewhere does not build them again.
#[derive(Default)]
pub struct RingCache {
    by_service: HashMap<u32, (Vec<Member>, Arc<[u32]>)>,
}

impl RingCache {
    /// The slots of a service with these members.
    pub(super) fn slots(&mut self, service_idx: u32, mut members: Vec<Member>) -> Arc<[u32]> {
        members.sort_by_key(|member| member.identity);
        match self.by_service.get(&service_idx) {
            Some((of, slots)) if *of == members => Arc::clone(slots),
            _ => {
                let slots: Arc<[u32]> = maglev::build(&members, RING_SLOTS).into();
                self.by_service
                    .insert(service_idx, (members, Arc::clone(&slots)));
                slots
            }
        }
    }
}
