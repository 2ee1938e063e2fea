//! Reading and changing the flow tables.

use std::net::{IpAddr, SocketAddr};

use super::{
    Rig,
    entry::{Entry, Family as _, Table, by_family, key},
};

impl Rig {
    /// The entry that matches packets from `source` to `destination`.
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
            let flow = self.flow(table, &key::<A>(self.protocol, source, destination));
            flow.map(|flow| Entry::of(table, &flow))
        })
    }

    /// Writes an entry for packets from `source` to `destination`.
    ///
    /// # Panics
    /// When the table is full.
    pub fn write_entry(&mut self, source: SocketAddr, destination: SocketAddr, entry: &Entry) {
        by_family!(source, A => {
            let key = key::<A>(self.protocol, source, destination);
            self.put(entry.table, [(key, Some(entry.flow()))]);
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
        let protocol = self.protocol;
        by_family!(first, A => {
            self.put(
                Table::Confirmed,
                entries.map(|(source, destination, entry)| {
                    assert_eq!(entry.table, Table::Confirmed);
                    (key::<A>(protocol, source, destination), Some(entry.flow()))
                }),
            );
        });
    }

    /// Changes the entry for packets from `source` to `destination`.
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

    /// Deletes the entry for packets from `source` to `destination`, as the sweeper would.
    ///
    /// # Panics
    /// When there is none.
    pub fn delete_entry(&mut self, source: SocketAddr, destination: SocketAddr) {
        let entry = self
            .entry(source, destination)
            .expect("there is such an entry");
        by_family!(source, A => {
            self.put(entry.table, [(key::<A>(self.protocol, source, destination), None)]);
        });
    }

    /// All entries of one table, of the family that `family` is of.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn entries(&self, family: IpAddr, table: Table) -> Vec<Entry> {
        by_family!(family, A => {
            let flows = self.all::<A>(table);
            flows.iter().map(|flow| Entry::of(table, flow)).collect()
        })
    }

    /// All that one table holds, heads of its buckets and entries, to tell whether anything changed.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[must_use]
    pub fn image(&self, family: IpAddr, table: Table) -> (Vec<[u8; 64]>, Vec<Entry>) {
        let heads = by_family!(family, A => {
            let heads = self.read::<[u8; 64]>(A::HEADS);
            heads.iter().collect::<Result<_, _>>()
        });
        (heads.expect("heads are read"), self.entries(family, table))
    }

    /// Empties both tables of the family that `family` is of.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn clear_flows(&mut self, family: IpAddr) {
        by_family!(family, A => {
            self.clear::<A>(Table::HalfOpen);
            self.clear::<A>(Table::Confirmed);
        });
    }

    /// Empties the half-open table of the family that `family` is of.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn clear_half_open(&mut self, family: IpAddr) {
        by_family!(family, A => self.clear::<A>(Table::HalfOpen));
    }
}
