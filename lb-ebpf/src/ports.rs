//! Vips that are ranges of ports, and backends that get packets on whichever port was asked for.

use aya_ebpf::maps::lpm_trie;
use lb_common::{
    Address,
    backend::Backend,
    flow::FlowKey,
    hash,
    service::{PortKey, Settings, setting},
};

use crate::{family::Family, select::admitted};

/// Continues [`crate::select::can_be_ours`] where some vip is a range of ports, or some service is of
/// mode `route`.
#[inline(always)]
pub fn can_be_ours<A: Address>(settings: &Settings, key: &FlowKey<A>) -> bool {
    const ANY_PORT: u16 = 0;
    let protocol = key.protocol as u8;
    let reply = |port_be| hash::reply_bit(key.source, port_be, protocol);
    let has = |flag| settings.flags & flag != 0;
    if has(setting::RANGES)
        && admitted(settings, hash::vip_bit(key.destination, ANY_PORT, protocol))
    {
        return true;
    }
    if has(setting::ROUTE) && admitted(settings, reply(key.source_port_be)) {
        return true;
    }
    has(setting::ROUTE_ANY_PORT) && admitted(settings, reply(ANY_PORT))
}

/// The service of the smallest range of ports that this packet is for.
#[inline(always)]
pub fn service<F: Family>(settings: &Settings, key: &FlowKey<F::Address>) -> Option<u32> {
    // Port 0 is nobody's. So a range from port 1 on may be stored from port 0 on, which makes one entry
    // of all ports.
    if settings.flags & setting::RANGES == 0 || key.destination_port_be == 0 {
        return None;
    }
    let port = PortKey {
        address: key.destination.copied(),
        protocol: key.protocol as u8,
        pad: 0,
        port_be: key.destination_port_be,
    };
    let port = lpm_trie::Key::new(PortKey::<F::Address>::BITS, port);
    F::vip_ranges().get(&port).copied()
}

/// The port on which a backend gets a flow with this key.
#[inline(always)]
pub fn backend_port_be<A>(backend: &Backend, key: &FlowKey<A>) -> u16 {
    if backend.port_be == 0 {
        key.destination_port_be
    } else {
        backend.port_be
    }
}
