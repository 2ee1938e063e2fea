//! Listing tracked flows, from their clients' entries.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
};

use aya::{Pod, maps::MapData};
use lb_common::{
    V4, V6,
    flow::{Flow, FlowKey, side},
    names,
};

use super::{error::DatapathError, pins::Pins, store, sys};

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

    /// Calls `visit` with every flow, in no order.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn for_each(&self, mut visit: impl FnMut(&FlowRecord)) -> Result<(), DatapathError> {
        visit_table::<V4>(&self.flows4, names::FLOWS4, true, &mut visit)?;
        visit_table::<V6>(&self.flows6, names::FLOWS6, true, &mut visit)?;
        visit_table::<V4>(&self.half_open4, names::HALF_OPEN4, false, &mut visit)?;
        visit_table::<V6>(&self.half_open6, names::HALF_OPEN6, false, &mut visit)
    }
}

fn visit_table<A: ToIp>(
    map: &MapData,
    name: &'static str,
    confirmed: bool,
    visit: &mut impl FnMut(&FlowRecord),
) -> Result<(), DatapathError>
where
    FlowKey<A>: Pod,
    Flow<A>: Pod,
{
    sys::for_each(map.fd().as_fd(), |key: &FlowKey<A>, flow: &Flow<A>| {
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
    })
    .map_err(|source| DatapathError::MapCall { map: name, source })
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
