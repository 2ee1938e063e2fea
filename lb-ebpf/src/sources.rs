//! Which sources may open flows of a service. Flows that are open are not asked.

use aya_ebpf::maps::lpm_trie::Key;
use lb_common::{
    Address as _,
    service::{Service, flag},
    sources::{SERVICE_BITS, Source, access},
};

use crate::family::Family;

/// The service has lists, and they keep this source out.
#[inline(always)]
pub fn deny<F: Family>(service_idx: u32, service: &Service, source: &F::Address) -> bool {
    if service.flags & flag::SOURCES == 0 {
        return false;
    }
    let key = Key::new(
        SERVICE_BITS + u8::BITS * size_of::<F::Address>() as u32,
        Source {
            service_idx,
            address: source.copied(),
        },
    );
    (F::sources().get(&key)).is_some_and(|found| *found != access::ALLOW)
}
