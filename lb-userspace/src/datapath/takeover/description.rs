//! The layout described in words that other versions understand: which maps hold what the next version
//! wants to keep, and where in their values each field lies. It is pinned beside the maps, so that an
//! upgrade or a downgrade reads tables whose types it does not know.
//!
//! The words are a contract between versions: a field of a name means the same for ever, and numbers of
//! states, sides, flags and modes are never given another meaning.

use std::{
    collections::BTreeMap,
    mem::{offset_of, size_of},
};

use lb_common::{
    Address, LAYOUT_VERSION, V4, V6,
    affinity::{Client, Remembered},
    backend::{Backend, BackendStats, Tunnel},
    flow::{Flow, FlowKey},
    names,
    reason::Reason,
    service::{Service, Settings},
    table::{Entries, Entry, HALF_OPEN_WAYS, Head, WAYS},
};
use serde::{Deserialize, Serialize};

/// Bytes of the map that holds it.
pub(super) const ROOM: usize = 16 * 1024;

/// A layout, described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) layout: u32,
    /// Of the program that made it.
    pub(super) version: String,
    /// Integers of several bytes are little-endian, but for those that are in network byte order.
    pub(super) maps: BTreeMap<String, Shape>,
    /// The flow tables by IP version.
    pub(super) flows: BTreeMap<u8, FlowShape>,
    /// Index into the map of reasons, by name.
    pub(super) reasons: BTreeMap<String, u32>,
}

/// What the bytes of a map mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shape {
    /// Bytes of a key and of a value (of one CPU's).
    pub(super) key: u32,
    pub(super) value: u32,
    /// Of the key; empty where it is an index.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) key_fields: Fields,
    /// Of the value; empty where it is one number or address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) fields: Fields,
}

/// A flow table: an array of buckets, and another of their heads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FlowShape {
    pub(super) heads: String,
    pub(super) head_value: u32,
    /// Where in a head the tags lie, one byte for each entry, 0 for one that is free.
    pub(super) tags: u32,
    pub(super) entries: String,
    /// Entries of a bucket, and bytes of each.
    pub(super) ways: u32,
    pub(super) entry: u32,
    /// The first so many entries are half-open flows'.
    pub(super) half_open_ways: u32,
    pub(super) key: Fields,
    pub(super) flow: Fields,
}

/// First byte and length of each field.
pub(super) type Fields = BTreeMap<String, (u32, u32)>;

/// The fields of a type, each with its place after the first so many bytes.
macro_rules! fields {
    ($type:ty, $from:expr, $($field:ident),+ $(,)?) => {
        BTreeMap::from([$((
            stringify!($field).to_owned(),
            (
                number($from + offset_of!($type, $field)),
                number(size_of_field(|whole: &$type| &whole.$field)),
            ),
        )),+])
    };
}

impl Description {
    /// That of this version's layout.
    pub(super) fn own() -> Self {
        let maps = [
            (
                names::BACKENDS,
                indexed::<Backend>(fields!(
                    Backend,
                    0,
                    address,
                    port_be,
                    state,
                    flows,
                    ifindex,
                    peer_mac,
                    local_mac,
                    service_idx,
                    snat_first,
                    snat_count,
                    mode,
                    version,
                    protocol,
                    identity,
                    since_unix
                )),
            ),
            (
                names::TUNNELS,
                indexed::<Tunnel>(fields!(
                    Tunnel, 0, source, spread, mtu, port_be, version, variant
                )),
            ),
            (
                names::SERVICES,
                indexed::<Service>(fields!(Service, 0, identity, mode, version)),
            ),
            (
                names::SETTINGS,
                indexed::<Settings>(fields!(Settings, 0, reply_port_min, reply_port_max)),
            ),
            (names::SNAT, indexed::<V6>(Fields::new())),
            (
                names::BACKEND_STATS,
                indexed::<BackendStats>(fields!(
                    BackendStats,
                    0,
                    flows,
                    packets_in,
                    bytes_in,
                    packets_out,
                    bytes_out
                )),
            ),
            (names::REASONS, indexed::<u64>(Fields::new())),
            (names::AFFINITY4, affinity::<V4>()),
            (names::AFFINITY6, affinity::<V6>()),
        ];
        Self {
            layout: LAYOUT_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            maps: maps.map(|(name, shape)| (name.to_owned(), shape)).into(),
            flows: BTreeMap::from([
                (4, flows::<V4>(names::FLOW_HEADS4, names::FLOWS4)),
                (6, flows::<V6>(names::FLOW_HEADS6, names::FLOWS6)),
            ]),
            reasons: (Reason::ALL.iter())
                .map(|reason| (reason.name().to_owned(), *reason as u32))
                .collect(),
        }
    }

    /// As it is pinned: text, filled up with zeros.
    pub(super) fn to_bytes(&self) -> [u8; ROOM] {
        let text = serde_json::to_vec(self).expect("names and numbers become JSON");
        let mut bytes = [0; ROOM];
        bytes[..text.len()].copy_from_slice(&text);
        bytes
    }

    /// From what is pinned.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let length = bytes.iter().position(|byte| *byte == 0);
        serde_json::from_slice(&bytes[..length.unwrap_or(bytes.len())])
    }
}

/// An array's.
fn indexed<V>(fields: Fields) -> Shape {
    Shape {
        key: 4,
        value: number(size_of::<V>()),
        key_fields: Fields::new(),
        fields,
    }
}

fn affinity<A: Address>() -> Shape {
    Shape {
        key: number(size_of::<Client<A>>()),
        value: number(size_of::<Remembered>()),
        key_fields: fields!(Client<A>, 0, service_idx, address),
        fields: fields!(Remembered, 0, identity, last_ns, backend_idx),
    }
}

fn flows<A: Address>(heads: &str, entries: &str) -> FlowShape {
    FlowShape {
        heads: heads.to_owned(),
        head_value: number(size_of::<Head>()),
        tags: number(offset_of!(Head, tags)),
        entries: entries.to_owned(),
        ways: number(WAYS),
        entry: number(size_of::<Entries<A>>() / WAYS),
        half_open_ways: number(HALF_OPEN_WAYS),
        key: fields!(
            FlowKey<A>,
            offset_of!(Entry<A>, key),
            source,
            destination,
            source_port_be,
            destination_port_be,
            protocol
        ),
        flow: fields!(
            Flow<A>,
            offset_of!(Entry<A>, flow),
            source,
            destination,
            source_port_be,
            destination_port_be,
            backend_idx,
            last_seen_ns,
            state,
            side,
            closed_by,
            flags,
            pending,
            ifindex,
            peer_mac,
            local_mac
        ),
    }
}

fn size_of_field<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

fn number(size: usize) -> u32 {
    u32::try_from(size).expect("values of maps are small")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_as_it_was_written() {
        let own = Description::own();
        let bytes = own.to_bytes();
        assert_eq!(Description::from_bytes(&bytes).expect("JSON"), own);
        let used = bytes.iter().filter(|byte| **byte != 0).count();
        assert!(
            used * 2 < ROOM,
            "{used} of {ROOM} bytes: room for later versions"
        );
    }

    #[test]
    fn fields_lie_where_the_compiler_put_them() {
        let own = Description::own();
        let flow = &own.flows[&6];
        assert_eq!(flow.key["destination_port_be"], (34, 2));
        assert_eq!(flow.entry, 128);
        assert_eq!(own.maps["affinity6"].key_fields["address"], (4, 16));
        assert_eq!(own.reasons["not_ip"], 0);
    }
}
