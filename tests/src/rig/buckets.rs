//! The flow tables, entry by entry: heads and entries lie in two arrays each.

use std::collections::HashMap;

use aya::{
    Pod,
    maps::{Array, MapData},
};
use lb_common::{
    flow::{Flow, FlowKey},
    hash,
    table::{Entry, FLOW_WAYS, FlowHead, HALF_OPEN_WAYS, HalfOpenHead, Head, Place},
};

use super::{
    Rig,
    entry::{Family, Table},
};

/// A bucket, read from its table.
#[derive(Clone, Copy)]
struct Bucket<A: Family, H, const WAYS: usize> {
    head: H,
    entries: [Entry<A>; WAYS],
}

impl<A: Family, H: Head, const WAYS: usize> Bucket<A, H, WAYS> {
    fn held(&self) -> impl Iterator<Item = (usize, &Entry<A>)> {
        let tagged = self.entries.iter().enumerate();
        tagged.filter(|(way, _)| self.head.tags()[*way] != 0)
    }

    fn way_of(&self, key: &FlowKey<A>) -> Option<usize> {
        self.held()
            .find(|(_, entry)| entry.key == *key)
            .map(|(way, _)| way)
    }

    /// Writes an entry; without a flow it is removed.
    fn put(&mut self, tag: u16, key: FlowKey<A>, flow: Option<Flow<A>>) {
        let way = self
            .way_of(&key)
            .or_else(|| self.head.tags().iter().position(|tag| *tag == 0))
            .expect("the bucket has room");
        match flow {
            Some(flow) => {
                let pad = A::EntryPad::default();
                self.entries[way] = Entry { key, flow, pad };
                self.head.note(way, flow.last_seen_ns);
                self.head.tags_mut()[way] = tag;
            }
            None => self.head.tags_mut()[way] = 0,
        }
    }
}

impl Rig {
    pub(super) fn flow<A: Family>(&self, table: Table, key: &FlowKey<A>) -> Option<Flow<A>>
    where
        Entry<A>: Pod,
    {
        match table {
            Table::Confirmed => self.flow_in::<A, FlowHead, FLOW_WAYS>(table, key),
            Table::HalfOpen => self.flow_in::<A, HalfOpenHead, HALF_OPEN_WAYS>(table, key),
        }
    }

    pub(super) fn all<A: Family>(&self, table: Table) -> Vec<Flow<A>>
    where
        Entry<A>: Pod,
    {
        match table {
            Table::Confirmed => self.all_in::<A, FlowHead, FLOW_WAYS>(table),
            Table::HalfOpen => self.all_in::<A, HalfOpenHead, HALF_OPEN_WAYS>(table),
        }
    }

    /// Writes entries; those without a flow are removed.
    pub(super) fn put<A: Family>(
        &mut self,
        table: Table,
        changes: impl IntoIterator<Item = (FlowKey<A>, Option<Flow<A>>)>,
    ) where
        Entry<A>: Pod,
    {
        match table {
            Table::Confirmed => self.put_in::<A, FlowHead, FLOW_WAYS>(table, changes),
            Table::HalfOpen => self.put_in::<A, HalfOpenHead, HALF_OPEN_WAYS>(table, changes),
        }
    }

    /// Empties a table.
    pub(super) fn clear<A: Family>(&mut self, table: Table) {
        match table {
            Table::Confirmed => self.clear_in::<A, FlowHead>(table),
            Table::HalfOpen => self.clear_in::<A, HalfOpenHead>(table),
        }
    }

    fn flow_in<A: Family, H: Head + Pod, const WAYS: usize>(
        &self,
        table: Table,
        key: &FlowKey<A>,
    ) -> Option<Flow<A>>
    where
        Entry<A>: Pod,
    {
        let buckets = self.read::<H>(A::heads(table)).len();
        let bucket_idx = Place::of(hash::flow(key), buckets).bucket_idx;
        let bucket = self.bucket::<A, H, WAYS>(table, bucket_idx);
        bucket.way_of(key).map(|way| bucket.entries[way].flow)
    }

    fn all_in<A: Family, H: Head + Pod, const WAYS: usize>(&self, table: Table) -> Vec<Flow<A>>
    where
        Entry<A>: Pod,
    {
        let heads: Array<_, H> = self.read(A::heads(table));
        (0..heads.len())
            .filter(|idx| {
                let head = heads.get(idx, 0).expect("a bucket there is");
                head.tags().iter().any(|tag| *tag != 0)
            })
            .flat_map(|idx| {
                let bucket = self.bucket::<A, H, WAYS>(table, idx);
                let flows: Vec<Flow<A>> = bucket.held().map(|(_, entry)| entry.flow).collect();
                flows
            })
            .collect()
    }

    fn put_in<A: Family, H: Head + Pod, const WAYS: usize>(
        &mut self,
        table: Table,
        changes: impl IntoIterator<Item = (FlowKey<A>, Option<Flow<A>>)>,
    ) where
        Entry<A>: Pod,
    {
        let buckets = self.read::<H>(A::heads(table)).len();
        let mut changed: HashMap<u32, Bucket<A, H, WAYS>> = HashMap::new();
        for (key, flow) in changes {
            let place = Place::of(hash::flow(&key), buckets);
            changed
                .entry(place.bucket_idx)
                .or_insert_with(|| self.bucket(table, place.bucket_idx))
                .put(place.tag, key, flow);
        }
        for (idx, bucket) in &changed {
            let mut entries: Array<_, [Entry<A>; WAYS]> = self.array(A::entries(table));
            entries
                .set(*idx, bucket.entries, 0)
                .expect("they are taken");
        }
        for (idx, bucket) in &changed {
            let mut heads: Array<_, H> = self.array(A::heads(table));
            heads.set(*idx, bucket.head, 0).expect("heads are taken");
        }
    }

    fn clear_in<A: Family, H: Head + Pod>(&mut self, table: Table) {
        let mut heads: Array<_, H> = self.array(A::heads(table));
        for idx in 0..heads.len() {
            let mut head = heads.get(&idx, 0).expect("a bucket there is");
            if head.tags().iter().any(|tag| *tag != 0) {
                head.tags_mut().fill(0);
                heads.set(idx, head, 0).expect("heads are taken");
            }
        }
    }

    fn bucket<A: Family, H: Head + Pod, const WAYS: usize>(
        &self,
        table: Table,
        bucket_idx: u32,
    ) -> Bucket<A, H, WAYS>
    where
        Entry<A>: Pod,
    {
        let head = self.read(A::heads(table)).get(&bucket_idx, 0);
        let entries = self.read(A::entries(table)).get(&bucket_idx, 0);
        Bucket {
            head: head.expect("a bucket there is"),
            entries: entries.expect("and its entries"),
        }
    }

    pub(super) fn read<T: Pod>(&self, name: &str) -> Array<&MapData, T> {
        let map = self.ebpf.map(name).expect("flow tables exist");
        map.try_into().expect("flow tables are arrays")
    }
}
