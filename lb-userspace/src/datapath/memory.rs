//! How much memory the tables take.

use lb_common::{
    V4, V6, names,
    table::{Entries, Head},
};

use super::{Capacity, pins};

/// What the kernel notes beside each entry of a hash table, a little more than a cache line.
const NOTES: u64 = 72;

impl Capacity {
    /// Bytes that tables of this size take on a host with so many processors, within a few percent. They
    /// are taken when the tables are made, and not by flows as they come.
    #[must_use]
    pub fn memory(&self, processors: u64) -> u64 {
        const PERCPU_ARRAY: u32 = 6;
        const HASH: u32 = 1;
        const LRU_HASH: u32 = 9;
        let flow_tables = [
            size_of::<Head>() * 2,
            size_of::<Entries<V4>>(),
            size_of::<Entries<V6>>(),
        ];
        let bucket: usize = flow_tables.iter().sum();
        let others: u64 = (pins::layout().into_iter())
            // Made empty: entries of rings and of these tries come with services and sources.
            .filter(|map| ![names::RINGS, names::SOURCES4, names::SOURCES6].contains(&map.name))
            .filter_map(|map| {
                let value = u64::from(map.value_size.next_multiple_of(8));
                let entry = match map.kind {
                    PERCPU_ARRAY => value * processors,
                    HASH | LRU_HASH => value + u64::from(map.key_size) + NOTES,
                    _ => value,
                };
                Some(u64::from(map.max_entries?) * entry)
            })
            .sum();
        u64::from(self.buckets) * bucket as u64 + others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_the_limits() {
        let of = |flows| Capacity::for_limits(flows, flows / 4).memory(2);
        let (small, large) = (of(262_144), of(1_048_576));
        assert!(large > 3 * small && large < 5 * small, "{small} {large}");
        assert!(
            Capacity::for_limits(262_144, 65_536).memory(64) > small,
            "counters are each processor's own"
        );
    }
}
