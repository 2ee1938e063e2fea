//! The half-open tables, entry by entry.

use aya::{
    Pod,
    maps::{Array, MapData},
};
use lb_common::{
    flow::{Flow, FlowKey},
    half_open::{Bucket, Entry, Place, stamp},
    hash,
};

use super::{Rig, entry::Family};

impl Rig {
    pub(super) fn half_open_entry<A: Family>(&self, key: &FlowKey<A>) -> Option<Flow<A>>
    where
        Bucket<A>: Pod,
    {
        let table = self.half_open::<A>();
        let place = Place::of(hash::flow(key), table.len());
        let bucket = table.get(&place.bucket_idx, 0).expect("a bucket there is");
        way_of(&bucket, place.tag, key).map(|way| bucket.entries[way].flow)
    }

    pub(super) fn half_open_entries<A: Family>(&self) -> Vec<Entry<A>>
    where
        Bucket<A>: Pod,
    {
        let mut entries = Vec::new();
        for bucket in self.half_open::<A>().iter() {
            let bucket: Bucket<A> = bucket.expect("the kernel reads every bucket");
            let held = bucket.entries.iter().zip(bucket.tags);
            entries.extend(held.filter(|(_, tag)| *tag != 0).map(|(entry, _)| *entry));
        }
        entries
    }

    /// Writes an entry; `None` removes it.
    pub(super) fn write_half_open<A: Family>(&mut self, key: FlowKey<A>, flow: Option<Flow<A>>)
    where
        Bucket<A>: Pod,
    {
        let mut table = self.half_open_mut::<A>();
        let place = Place::of(hash::flow(&key), table.len());
        let mut bucket = table.get(&place.bucket_idx, 0).expect("a bucket there is");
        let way = way_of(&bucket, place.tag, &key)
            .or_else(|| bucket.tags.iter().position(|tag| *tag == 0))
            .expect("the bucket has room");
        match flow {
            Some(flow) => {
                bucket.tags[way] = place.tag;
                bucket.stamps[way] = stamp(flow.last_seen_ns);
                bucket.entries[way] = Entry { key, flow };
            }
            None => bucket.tags[way] = 0,
        }
        table
            .set(place.bucket_idx, bucket, 0)
            .expect("buckets take their entries");
    }

    pub(super) fn clear_buckets<A: Family>(&mut self)
    where
        Bucket<A>: Pod,
    {
        let mut table = self.half_open_mut::<A>();
        for bucket_idx in 0..table.len() {
            let mut bucket = table.get(&bucket_idx, 0).expect("a bucket there is");
            if bucket.tags != [0; 8] {
                bucket.tags = [0; 8];
                table.set(bucket_idx, bucket, 0).expect("it takes it back");
            }
        }
    }

    fn half_open<A: Family>(&self) -> Array<&MapData, Bucket<A>>
    where
        Bucket<A>: Pod,
    {
        let map = self.ebpf.map(A::HALF_OPEN).expect("flow tables exist");
        map.try_into().expect("half-open tables hold buckets")
    }

    fn half_open_mut<A: Family>(&mut self) -> Array<&mut MapData, Bucket<A>>
    where
        Bucket<A>: Pod,
    {
        let map = self.ebpf.map_mut(A::HALF_OPEN).expect("flow tables exist");
        map.try_into().expect("half-open tables hold buckets")
    }
}

fn way_of<A: Family>(bucket: &Bucket<A>, tag: u16, key: &FlowKey<A>) -> Option<usize> {
    (bucket.tags.iter().zip(&bucket.entries))
        .position(|(held, entry)| *held == tag && entry.key == *key)
}
