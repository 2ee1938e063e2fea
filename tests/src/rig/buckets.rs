//! The flow tables, entry by entry: heads and entries lie in two arrays.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use aya::{
    Pod,
    maps::{Array, MapData},
};
use lb_common::{
    flow::{Flow, FlowKey},
    hash,
    table::{Entries, Entry, HALF_OPEN_WAYS, Head, Place, WAYS, stamp},
};

use super::{
    Rig,
    entry::{Entry as Shown, Family, Table, by_family, key},
};

/// Places of a bucket for entries of either kind.
pub const HALF_OPEN_PLACES: usize = HALF_OPEN_WAYS;
/// The others.
pub const CONFIRMED_PLACES: usize = WAYS - HALF_OPEN_WAYS;

/// An entry, and the packets that it is for.
#[derive(Clone, Debug)]
pub struct Held {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub entry: Shown,
}

impl Table {
    /// Which entries of a bucket are for such flows.
    const fn ways(self) -> Range<usize> {
        match self {
            Self::HalfOpen => 0..HALF_OPEN_WAYS,
            Self::Confirmed => HALF_OPEN_WAYS..WAYS,
        }
    }
}

/// A bucket, read from its table.
#[derive(Clone, Copy)]
struct Bucket<A: Family> {
    head: Head,
    entries: Entries<A>,
}

impl<A: Family> Bucket<A> {
    fn held(&self, table: Table) -> impl Iterator<Item = (usize, &Entry<A>)> {
        table
            .ways()
            .filter(|way| self.head.tags[*way] != 0)
            .map(|way| (way, &self.entries[way]))
    }

    fn way_of(&self, table: Table, key: &FlowKey<A>) -> Option<usize> {
        self.held(table)
            .find(|(_, entry)| entry.key == *key)
            .map(|(way, _)| way)
    }

    /// Writes an entry; without a flow it is removed.
    fn put(&mut self, table: Table, tag: u8, key: FlowKey<A>, flow: Option<Flow<A>>) {
        let way = self
            .way_of(table, &key)
            .or_else(|| table.ways().find(|way| self.head.tags[*way] == 0))
            .expect("the bucket has room");
        match flow {
            Some(flow) => {
                let pad = A::EntryPad::default();
                self.entries[way] = Entry { key, flow, pad };
                self.head.tags[way] = tag;
                if let Some(held) = self.head.stamps.get_mut(way) {
                    *held = stamp(flow.last_seen_ns);
                }
            }
            None => self.head.tags[way] = 0,
        }
    }
}

impl Rig {
    pub(super) fn flow<A: Family>(&self, table: Table, key: &FlowKey<A>) -> Option<Flow<A>>
    where
        Entry<A>: Pod,
    {
        let bucket = self.bucket::<A>(self.place(key).bucket_idx);
        (bucket.way_of(table, key)).map(|way| bucket.entries[way].flow)
    }

    pub(super) fn all<A: Family>(&self, table: Table) -> Vec<Flow<A>>
    where
        Entry<A>: Pod,
    {
        let heads: Array<_, Head> = self.read(A::HEADS);
        (0..heads.len())
            .filter(|idx| heads.get(idx, 0).expect("a bucket there is").tags != [0; WAYS])
            .flat_map(|idx| {
                let bucket = self.bucket::<A>(idx);
                let flows: Vec<_> = bucket.held(table).map(|(_, entry)| entry.flow).collect();
                flows
            })
            .collect()
    }

    /// Every entry with its key, and whether it lies where its key's hash says.
    pub(super) fn all_keyed<A: Family>(&self) -> Vec<(Table, FlowKey<A>, Flow<A>, bool)>
    where
        Entry<A>: Pod,
    {
        let heads: Array<_, Head> = self.read(A::HEADS);
        let mut all = Vec::new();
        for idx in 0..heads.len() {
            if heads.get(&idx, 0).expect("a bucket there is").tags == [0; WAYS] {
                continue;
            }
            let bucket = self.bucket::<A>(idx);
            for table in [Table::HalfOpen, Table::Confirmed] {
                for (way, entry) in bucket.held(table) {
                    let place = Place::of(hash::flow(&entry.key), heads.len());
                    let at_home = place.bucket_idx == idx && place.tag == bucket.head.tags[way];
                    all.push((table, entry.key, entry.flow, at_home));
                }
            }
        }
        all
    }

    /// Writes entries; those without a flow are removed.
    pub(super) fn put<A: Family>(
        &mut self,
        table: Table,
        changes: impl IntoIterator<Item = (FlowKey<A>, Option<Flow<A>>)>,
    ) where
        Entry<A>: Pod,
    {
        let mut changed: HashMap<u32, Bucket<A>> = HashMap::new();
        for (key, flow) in changes {
            let place = self.place(&key);
            changed
                .entry(place.bucket_idx)
                .or_insert_with(|| self.bucket(place.bucket_idx))
                .put(table, place.tag, key, flow);
        }
        for (idx, bucket) in &changed {
            let mut entries: Array<_, Entries<A>> = self.array(A::ENTRIES);
            entries
                .set(*idx, bucket.entries, 0)
                .expect("entries are taken");
            let mut heads: Array<_, Head> = self.array(A::HEADS);
            heads.set(*idx, bucket.head, 0).expect("heads are taken");
        }
    }

    /// Removes every entry of such flows.
    pub(super) fn clear<A: Family>(&mut self, table: Table) {
        let mut heads: Array<_, Head> = self.array(A::HEADS);
        for idx in 0..heads.len() {
            let mut head = heads.get(&idx, 0).expect("a bucket there is");
            let tags = &mut head.tags[table.ways()];
            if tags.iter().any(|tag| *tag != 0) {
                tags.fill(0);
                heads.set(idx, head, 0).expect("heads are taken");
            }
        }
    }

    /// All that the tables of one family hold.
    ///
    /// # Panics
    /// When an entry's tag is not that of its key, or the kernel refuses.
    #[must_use]
    pub fn held(&self, family: IpAddr) -> Vec<Held> {
        let held = self.placed(family.is_ipv6()).into_iter().map(|placed| {
            assert!(placed.at_home, "an entry lies where its key says");
            Held {
                source: placed.source,
                destination: placed.destination,
                entry: placed.entry,
            }
        });
        held.collect()
    }

    /// The bucket for packets from `source` to `destination`.
    #[must_use]
    pub fn bucket_idx(&self, source: SocketAddr, destination: SocketAddr) -> u32 {
        by_family!(source, A => {
            self.place(&key::<A>(self.protocol, source, destination)).bucket_idx
        })
    }

    fn place<A: Family>(&self, key: &FlowKey<A>) -> Place {
        let buckets = self.read::<Head>(A::HEADS).len();
        Place::of(hash::flow(key), buckets)
    }

    fn bucket<A: Family>(&self, bucket_idx: u32) -> Bucket<A>
    where
        Entry<A>: Pod,
    {
        let head = self.read(A::HEADS).get(&bucket_idx, 0);
        let entries = self.read(A::ENTRIES).get(&bucket_idx, 0);
        Bucket {
            head: head.expect("a bucket there is"),
            entries: entries.expect("and its entries"),
        }
    }

    pub(super) fn read<T: Pod>(&self, name: &str) -> Array<&MapData, T> {
        let map = self.loaded.ebpf.map(name).expect("flow tables exist");
        map.try_into().expect("flow tables are arrays")
    }
}
