//! Which sources may open flows of a service. Flows that are open are not asked.

use aya_ebpf::maps::lpm_trie::Key;
use lb_common::{
    Address as _,
    sources::{SERVICE_BITS, Source, access},
};

use crate::family::Family;

/// The lists of a service that has some keep this source out.
#[inline(never)]
pub fn deny<F: Family>(service_idx: u32, source: &F::Address) -> bool {
    let key = Key::new(
        SERVICE_BITS + u8::BITS * size_of::<F::Address>() as u32,
        Source {
            service_idx,
            address: source.copied(),
        },
    );
    (F::sources().get(&key)).is_some_and(|found| *found != access::ALLOW)
}
