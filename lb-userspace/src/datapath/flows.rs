//! Listing tracked flows, from their clients' entries.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
};

use aya::{
    Ebpf, Pod,
    maps::{Array, IterableMap as _, MapData},
};
use lb_common::{
    Address, V4, V6,
    flow::{Flow, FlowKey, side},
    hash, names,
    table::{Entries, Entry, HALF_OPEN_WAYS, Head, Place},
};

use super::{error::DatapathError, pins::Pins, store, sys};

/// The two flow tables.
pub struct FlowTables {
    v4: Table<V4>,
    v6: Table<V6>,
}

/// The two arrays of a flow table.
struct Table<A: Address>
where
    Entry<A>: Pod,
{
    heads: Array<MapData, Head>,
    heads_name: &'static str,
    entries: Array<MapData, Entries<A>>,
    entries_name: &'static str,
}

/// A flow's entries: key, what is done to its packets, and whether it is confirmed.
pub(super) type Pair<A> = Vec<(FlowKey<A>, Flow<A>, bool)>;

/// One flow, as `divvy flows` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    pub client: SocketAddr,
    pub vip: SocketAddr,
    /// Address and port that the backend sees.
    pub source: SocketAddr,
    pub backend: SocketAddr,
    pub backend_idx: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// One of [`lb_common::flow::state`].
    pub state: u8,
    pub confirmed: bool,
    /// It is in the table of IPv6, as those between the families are.
    pub in_v6_table: bool,
    /// When the client's last packet passed, `CLOCK_MONOTONIC`.
    pub last_seen_ns: u64,
}

impl FlowTables {
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        Ok(Self {
            v4: Table::open(pins, names::FLOW_HEADS4, names::FLOWS4)?,
            v6: Table::open(pins, names::FLOW_HEADS6, names::FLOWS6)?,
        })
    }

    /// Those of an object that was just loaded.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        Ok(Self {
            v4: Table::of(ebpf, names::FLOW_HEADS4, names::FLOWS4)?,
            v6: Table::of(ebpf, names::FLOW_HEADS6, names::FLOWS6)?,
        })
    }

    /// The flow of this client's packets, with its entries.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(super) fn pair4(
        &self,
        key: &FlowKey<V4>,
    ) -> Result<Option<(FlowRecord, Pair<V4>)>, DatapathError> {
        self.v4.pair(key)
    }

    /// The same in the table of IPv6, where flows between the families are, too.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(super) fn pair6(
        &self,
        key: &FlowKey<V6>,
    ) -> Result<Option<(FlowRecord, Pair<V6>)>, DatapathError> {
        self.v6.pair(key)
    }

    /// Calls `visit` with every flow, in no order. Those that come or go meanwhile may be missed or
    /// seen twice.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn for_each(&self, mut visit: impl FnMut(&FlowRecord)) -> Result<(), DatapathError> {
        (self.v4).for_each(|entry, confirmed| visit_entry(entry, confirmed, &mut visit))?;
        (self.v6).for_each(|entry, confirmed| visit_entry(entry, confirmed, &mut visit))
    }
}

impl<A: Address> Table<A>
where
    Entry<A>: Pod,
{
    fn open(
        pins: &Pins,
        heads_name: &'static str,
        entries_name: &'static str,
    ) -> Result<Self, DatapathError> {
        Ok(Self {
            heads: store::typed(pins, heads_name)?,
            heads_name,
            entries: store::typed(pins, entries_name)?,
            entries_name,
        })
    }

    fn of(
        ebpf: &mut Ebpf,
        heads_name: &'static str,
        entries_name: &'static str,
    ) -> Result<Self, DatapathError> {
        Ok(Self {
            heads: store::taken(ebpf, heads_name)?,
            heads_name,
            entries: store::taken(ebpf, entries_name)?,
            entries_name,
        })
    }

    /// A client's entry and its twin, where it has one.
    fn pair(&self, key: &FlowKey<A>) -> Result<Option<(FlowRecord, Pair<A>)>, DatapathError>
    where
        A: ToIp,
    {
        let Some((entry, confirmed)) = self.find(key)? else {
            return Ok(None);
        };
        let mut record = None;
        visit_entry(&entry, confirmed, &mut |flow| record = Some(flow.clone()));
        let Some(record) = record else {
            return Ok(None);
        };
        let mut pair = vec![(entry.key, entry.flow, confirmed)];
        if let Some((twin, confirmed)) = self.find(&entry.flow.twin_key(key.protocol))? {
            pair.push((twin.key, twin.flow, confirmed));
        }
        Ok(Some((record, pair)))
    }

    /// The entry of this key, and whether it is confirmed.
    fn find(&self, key: &FlowKey<A>) -> Result<Option<(Entry<A>, bool)>, DatapathError> {
        let place = Place::of(hash::flow(key), self.entries.len());
        let head = (self.heads.get(&place.bucket_idx, 0)).map_err(store::at(self.heads_name))?;
        let entries =
            (self.entries.get(&place.bucket_idx, 0)).map_err(store::at(self.entries_name))?;
        // A free entry still holds what was there.
        Ok((entries.iter().zip(head.tags).enumerate())
            .find(|(_, (entry, tag))| *tag == place.tag && entry.key.same(key))
            .map(|(way, (entry, _))| (*entry, way >= HALF_OPEN_WAYS)))
    }

    /// Reads the heads, then the entries of those buckets alone that have some.
    fn for_each(&self, mut visit: impl FnMut(&Entry<A>, bool)) -> Result<(), DatapathError> {
        let mut used: Vec<(u32, Head)> = Vec::new();
        sys::for_each(
            self.heads.map().fd().as_fd(),
            |bucket_idx: &u32, head: &Head| {
                if head.tags.iter().any(|tag| *tag != 0) {
                    used.push((*bucket_idx, *head));
                }
            },
        )
        .map_err(|source| DatapathError::MapCall {
            map: self.heads_name,
            source,
        })?;
        let buckets = self.entries.len();
        for (bucket_idx, head) in used {
            let entries =
                (self.entries.get(&bucket_idx, 0)).map_err(|source| DatapathError::Map {
                    map: self.entries_name,
                    source,
                })?;
            for (way, (entry, tag)) in entries.iter().zip(head.tags).enumerate() {
                // An entry that was replaced since, or is being, is another time's.
                if Place::of(hash::flow(&entry.key), buckets) == (Place { bucket_idx, tag }) {
                    visit(entry, way >= HALF_OPEN_WAYS);
                }
            }
        }
        Ok(())
    }
}

/// A flow is told of by its client's entry.
fn visit_entry<A: ToIp>(entry: &Entry<A>, confirmed: bool, visit: &mut impl FnMut(&FlowRecord)) {
    let Entry { key, flow, .. } = entry;
    if flow.side == side::CLIENT {
        visit(&FlowRecord {
            client: socket(key.source, key.source_port_be),
            vip: socket(key.destination, key.destination_port_be),
            source: socket(flow.source, flow.source_port_be),
            backend: socket(flow.destination, flow.destination_port_be),
            backend_idx: flow.backend_idx,
            protocol: key.protocol as u8,
            state: flow.state,
            confirmed,
            in_v6_table: A::IN_V6_TABLE,
            last_seen_ns: flow.last_seen_ns,
        });
    }
}

trait ToIp: Address {
    const IN_V6_TABLE: bool;

    fn to_ip(self) -> IpAddr;
}

impl ToIp for V4 {
    const IN_V6_TABLE: bool = false;

    fn to_ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self[0].to_ne_bytes()))
    }
}

impl ToIp for V6 {
    const IN_V6_TABLE: bool = true;

    fn to_ip(self) -> IpAddr {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(self) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        // A flow between the families has its IPv4 addresses in the form of IPv6.
        Ipv6Addr::from(octets).to_canonical()
    }
}

fn socket<A: ToIp>(address: A, port_be: u16) -> SocketAddr {
    SocketAddr::new(address.to_ip(), u16::from_be(port_be))
}
