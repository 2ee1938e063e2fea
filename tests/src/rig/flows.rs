//! Reading and changing the flow tables.

use std::net::{IpAddr, SocketAddr};

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};
use lb_common::flow::{Flow, FlowKey};

use super::{
    Rig,
    entry::{Entry, Family, Table, by_family, key},
};

impl Rig {
    /// The entry that matches TCP packets from `source` to `destination`.
    ///
    /// # Panics
    /// When both tables hold one: the program would never see the second.
    #[must_use]
    pub fn entry(&self, source: SocketAddr, destination: SocketAddr) -> Option<Entry> {
        let confirmed = self.entry_in(Table::Confirmed, source, destination);
        let half_open = self.entry_in(Table::HalfOpen, source, destination);
        assert!(
            confirmed.is_none() || half_open.is_none(),
            "one flow in both tables: {confirmed:?} and {half_open:?}"
        );
        confirmed.or(half_open)
    }

    fn entry_in(&self, table: Table, source: SocketAddr, destination: SocketAddr) -> Option<Entry> {
        by_family!(source, A => {
            let key = key::<A>(source, destination);
            let flow = match table {
                Table::HalfOpen => self.half_open_entry(&key),
                Table::Confirmed => match self.confirmed::<A>().get(&key, 0) {
                    Ok(flow) => Some(flow),
                    Err(MapError::KeyNotFound) => None,
                    Err(error) => panic!("{table:?}: {error}"),
                },
            };
            flow.map(|flow| Entry::of(table, &flow))
        })
    }

    /// Writes an entry for TCP packets from `source` to `destination`.
    ///
    /// # Panics
    /// When the table is full.
    pub fn write_entry(&mut self, source: SocketAddr, destination: SocketAddr, entry: &Entry) {
        by_family!(source, A => {
            let key = key::<A>(source, destination);
            match entry.table {
                Table::HalfOpen => self.write_half_open(key, Some(entry.flow())),
                Table::Confirmed => self
                    .confirmed_mut()
                    .insert(key, entry.flow::<A>(), 0)
                    .expect("the table has room"),
            }
        });
    }

    /// Writes many entries for packets from the first address to the second, all confirmed and of
    /// one family.
    ///
    /// # Panics
    /// When the table is full.
    pub fn write_entries(
        &mut self,
        entries: impl IntoIterator<Item = (SocketAddr, SocketAddr, Entry)>,
    ) {
        let mut entries = entries.into_iter().peekable();
        let Some((first, ..)) = entries.peek() else {
            return;
        };
        by_family!(first, A => {
            let mut flows = self.confirmed_mut::<A>();
            for (source, destination, entry) in entries {
                assert_eq!(entry.table, Table::Confirmed);
                flows
                    .insert(key(source, destination), entry.flow(), 0)
                    .expect("the table has room");
            }
        });
    }

    /// Changes the entry for TCP packets from `source` to `destination`.
    ///
    /// # Panics
    /// When there is none.
    pub fn change_entry(
        &mut self,
        source: SocketAddr,
        destination: SocketAddr,
        change: impl FnOnce(&mut Entry),
    ) {
        let mut entry = self
            .entry(source, destination)
            .expect("there is such an entry");
        change(&mut entry);
        self.write_entry(source, destination, &entry);
    }

    /// Deletes the entry for TCP packets from `source` to `destination`, as the sweeper would.
    ///
    /// # Panics
    /// When there is none.
    pub fn delete_entry(&mut self, source: SocketAddr, destination: SocketAddr) {
        let entry = self
            .entry(source, destination)
            .expect("there is such an entry");
        by_family!(source, A => {
            let key = key::<A>(source, destination);
            match entry.table {
                Table::HalfOpen => self.write_half_open(key, None),
                Table::Confirmed => self
                    .confirmed_mut::<A>()
                    .remove(&key)
                    .expect("the entry was there just now"),
            }
        });
    }

    /// All entries of one table, of the family that `family` is of.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn entries(&self, family: IpAddr, table: Table) -> Vec<Entry> {
        by_family!(family, A => match table {
            Table::HalfOpen => (self.half_open_entries::<A>().iter())
                .map(|entry| Entry::of(table, &entry.flow))
                .collect(),
            Table::Confirmed => (self.confirmed::<A>().iter())
                .map(|item| Entry::of(table, &item.expect("nobody else changes the table").1))
                .collect(),
        })
    }

    /// Empties the half-open table of the family that `family` is of.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn clear_half_open(&mut self, family: IpAddr) {
        by_family!(family, A => self.clear_buckets::<A>());
    }

    fn confirmed<A: Family>(&self) -> HashMap<&MapData, FlowKey<A>, Flow<A>>
    where
        FlowKey<A>: Pod,
        Flow<A>: Pod,
    {
        let map = self.ebpf.map(A::FLOWS).expect("flow tables exist");
        (map.try_into()).expect("tables of confirmed flows are hashes")
    }

    fn confirmed_mut<A: Family>(&mut self) -> HashMap<&mut MapData, FlowKey<A>, Flow<A>>
    where
        FlowKey<A>: Pod,
        Flow<A>: Pod,
    {
        let map = self.ebpf.map_mut(A::FLOWS).expect("flow tables exist");
        (map.try_into()).expect("tables of confirmed flows are hashes")
    }
}
