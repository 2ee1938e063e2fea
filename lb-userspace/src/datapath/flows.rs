//! Listing tracked flows, from their clients' entries.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
};

use aya::{Pod, maps::MapData};
use lb_common::{
    V4, V6,
    flow::{Flow, FlowKey, side},
    half_open::{Bucket, Entry},
    names,
};

use super::{error::DatapathError, pins::Pins, store, sweep::Rules, sys};

/// Descriptors of the four flow tables.
pub struct FlowTables {
    pub(super) flows4: MapData,
    pub(super) flows6: MapData,
    pub(super) half_open4: MapData,
    pub(super) half_open6: MapData,
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
            flows4: store::data(pins, names::FLOWS4)?,
            flows6: store::data(pins, names::FLOWS6)?,
            half_open4: store::data(pins, names::HALF_OPEN4)?,
            half_open6: store::data(pins, names::HALF_OPEN6)?,
        })
    }

    /// Calls `visit` with every flow, in no order. `now_ns` is `CLOCK_MONOTONIC`: half-open flows
    /// whose timers ran out by `rules` are left out.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn for_each(
        &self,
        rules: &Rules,
        now_ns: u64,
        mut visit: impl FnMut(&FlowRecord),
    ) -> Result<(), DatapathError> {
        visit_confirmed::<V4>(&self.flows4, names::FLOWS4, &mut visit)?;
        visit_confirmed::<V6>(&self.flows6, names::FLOWS6, &mut visit)?;
        let mut half_open = |record: &FlowRecord| {
            if !rules.is_quiet(
                record.backend_idx,
                record.state,
                record.last_seen_ns,
                now_ns,
            ) {
                visit(record);
            }
        };
        visit_half_open::<V4>(&self.half_open4, names::HALF_OPEN4, &mut half_open)?;
        visit_half_open::<V6>(&self.half_open6, names::HALF_OPEN6, &mut half_open)
    }
}

fn visit_confirmed<A: ToIp>(
    map: &MapData,
    name: &'static str,
    visit: &mut impl FnMut(&FlowRecord),
) -> Result<(), DatapathError>
where
    FlowKey<A>: Pod,
    Flow<A>: Pod,
{
    sys::for_each(map.fd().as_fd(), |key: &FlowKey<A>, flow: &Flow<A>| {
        visit_entry(key, flow, true, visit);
    })
    .map_err(|source| DatapathError::MapCall { map: name, source })
}

fn visit_half_open<A: ToIp>(
    map: &MapData,
    name: &'static str,
    visit: &mut impl FnMut(&FlowRecord),
) -> Result<(), DatapathError>
where
    Bucket<A>: Pod,
{
    for_each_half_open(map, name, |entry: &Entry<A>| {
        visit_entry(&entry.key, &entry.flow, false, visit);
    })
}

/// Calls `visit` with every entry of a half-open table, those that are over included.
pub(super) fn for_each_half_open<A>(
    map: &MapData,
    name: &'static str,
    mut visit: impl FnMut(&Entry<A>),
) -> Result<(), DatapathError>
where
    Bucket<A>: Pod,
{
    sys::for_each_locked(map.fd().as_fd(), |bucket: &Bucket<A>| {
        for (entry, _) in (bucket.entries.iter().zip(bucket.tags)).filter(|(_, tag)| *tag != 0) {
            visit(entry);
        }
    })
    .map_err(|source| DatapathError::MapCall { map: name, source })
}

/// A flow is told of by its client's entry.
fn visit_entry<A: ToIp>(
    key: &FlowKey<A>,
    flow: &Flow<A>,
    confirmed: bool,
    visit: &mut impl FnMut(&FlowRecord),
) {
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

trait ToIp: lb_common::Address {
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
