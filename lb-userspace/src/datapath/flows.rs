//! Listing tracked flows, from their clients' entries.

use std::{
    marker::PhantomData,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
};

use aya::{
    Pod,
    maps::{Array, MapData},
};
use lb_common::{
    Address, V4, V6,
    flow::side,
    hash, names,
    table::{Entry, FLOW_WAYS, FlowHead, HALF_OPEN_WAYS, HalfOpenHead, Head, Place},
};

use super::{error::DatapathError, pins::Pins, store, sys};

/// The four flow tables.
pub struct FlowTables {
    flows4: Table<V4, FlowHead, FLOW_WAYS>,
    flows6: Table<V6, FlowHead, FLOW_WAYS>,
    half_open4: Table<V4, HalfOpenHead, HALF_OPEN_WAYS>,
    half_open6: Table<V6, HalfOpenHead, HALF_OPEN_WAYS>,
}

/// The two arrays of a flow table.
struct Table<A: Address, H, const WAYS: usize>
where
    Entry<A>: Pod,
{
    heads: MapData,
    heads_name: &'static str,
    entries: Array<MapData, [Entry<A>; WAYS]>,
    entries_name: &'static str,
    head: PhantomData<H>,
}

/// One flow, as `divvy flows` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    pub client: SocketAddr,
    pub vip: SocketAddr,
    /// Address and port that the backend sees.
    pub source: SocketAddr,
    pub backend: SocketAddr,
    pub backend_idx: u32,
    /// One of [`lb_common::flow::state`].
    pub state: u8,
    pub confirmed: bool,
    /// When the client's last packet passed, `CLOCK_MONOTONIC`.
    pub last_seen_ns: u64,
}

impl FlowTables {
    pub(super) fn open(pins: &Pins) -> Result<Self, DatapathError> {
        Ok(Self {
            flows4: Table::open(pins, names::FLOW_HEADS4, names::FLOWS4)?,
            flows6: Table::open(pins, names::FLOW_HEADS6, names::FLOWS6)?,
            half_open4: Table::open(pins, names::HALF_HEADS4, names::HALF_OPEN4)?,
            half_open6: Table::open(pins, names::HALF_HEADS6, names::HALF_OPEN6)?,
        })
    }

    /// Calls `visit` with every flow, in no order. Those that come or go meanwhile may be missed or
    /// seen twice.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn for_each(&self, mut visit: impl FnMut(&FlowRecord)) -> Result<(), DatapathError> {
        (self.flows4).for_each(|entry| visit_entry(entry, true, &mut visit))?;
        (self.flows6).for_each(|entry| visit_entry(entry, true, &mut visit))?;
        (self.half_open4).for_each(|entry| visit_entry(entry, false, &mut visit))?;
        (self.half_open6).for_each(|entry| visit_entry(entry, false, &mut visit))
    }
}

impl<A: Address, H: Head + Pod, const WAYS: usize> Table<A, H, WAYS>
where
    Entry<A>: Pod,
{
    fn open(
        pins: &Pins,
        heads_name: &'static str,
        entries_name: &'static str,
    ) -> Result<Self, DatapathError> {
        Ok(Self {
            heads: store::data(pins, heads_name)?,
            heads_name,
            entries: store::typed(pins, entries_name)?,
            entries_name,
            head: PhantomData,
        })
    }

    /// Reads the heads, then the entries of those buckets alone that have some.
    fn for_each(&self, mut visit: impl FnMut(&Entry<A>)) -> Result<(), DatapathError> {
        let mut used: Vec<(u32, H)> = Vec::new();
        sys::for_each(self.heads.fd().as_fd(), |bucket_idx: &u32, head: &H| {
            if head.tags().iter().any(|tag| *tag != 0) {
                used.push((*bucket_idx, *head));
            }
        })
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
            for (entry, tag) in entries.iter().zip(head.tags()) {
                // An entry that was replaced since, or is being, is another time's.
                if Place::of(hash::flow(&entry.key), buckets)
                    == (Place {
                        bucket_idx,
                        tag: *tag,
                    })
                {
                    visit(entry);
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
            state: flow.state,
            confirmed,
            last_seen_ns: flow.last_seen_ns,
        });
    }
}

trait ToIp: Address {
    fn to_ip(self) -> IpAddr;
}

impl ToIp for V4 {
    fn to_ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(self[0].to_ne_bytes()))
    }
}

impl ToIp for V6 {
    fn to_ip(self) -> IpAddr {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(self) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        IpAddr::V6(Ipv6Addr::from(octets))
    }
}

fn socket<A: ToIp>(address: A, port_be: u16) -> SocketAddr {
    SocketAddr::new(address.to_ip(), u16::from_be(port_be))
}
