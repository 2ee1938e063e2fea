//! The flows in the tables of another layout, read while its program may still use them.

use std::{io, path::Path};

use lb_common::{
    Address,
    carry::CarriedFlow,
    flow::{Flow, FlowKey},
};

use super::{
    super::sys::RawMap,
    description::{Fields, FlowShape},
    record::Record,
};

/// One entry, as its bytes.
pub(super) struct RawEntry<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) confirmed: bool,
}

/// Calls `visit` with every entry of a flow table. While packets still change the table (`live`), an entry
/// that is being written is passed over: whoever reads the table again finds it.
///
/// # Errors
/// What the kernel says; `InvalidData` when a map is not as described.
pub(super) fn for_each(
    folder: &Path,
    shape: &FlowShape,
    live: bool,
    mut visit: impl FnMut(&RawEntry<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let entry_size = shape.entry as usize;
    let heads = RawMap::open(&folder.join(&shape.heads), 4, shape.head_value)?;
    let bucket_size = shape.ways.checked_mul(shape.entry);
    let bucket_size = bucket_size.ok_or(io::ErrorKind::InvalidData)?;
    let entries = RawMap::open(&folder.join(&shape.entries), 4, bucket_size)?;
    let tags = shape.tags as usize..(shape.tags + shape.ways) as usize;
    if tags.end > shape.head_value as usize || entry_size == 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut used: Vec<(u32, Vec<u8>)> = Vec::new();
    heads.for_each(|index, head| {
        let (Ok(index), Some(tags)) = (index.try_into(), head.get(tags.clone())) else {
            return;
        };
        if tags.iter().any(|tag| *tag != 0) {
            used.push((u32::from_ne_bytes(index), tags.to_vec()));
        }
    })?;
    let (mut bucket, mut again) = (Vec::new(), Vec::new());
    for (index, tags) in used {
        entries.read_at(index, &mut bucket)?;
        if live {
            entries.read_at(index, &mut again)?;
        }
        for (way, bytes) in bucket.chunks(entry_size).enumerate() {
            let at = way * entry_size..(way + 1) * entry_size;
            if tags[way] == 0 || live && !is_whole(shape, bytes, &again[at]) {
                continue;
            }
            let confirmed = way >= shape.half_open_ways as usize;
            visit(&RawEntry { bytes, confirmed })?;
        }
    }
    Ok(())
}

/// Read twice, it says the same of whose packets it is for and where they go: what changes with each packet
/// may differ.
fn is_whole(shape: &FlowShape, once: &[u8], twice: &[u8]) -> bool {
    let same = |fields: &Fields, name: &str| {
        let [once, twice] = [once, twice].map(|bytes| Record { bytes, fields });
        once.field(name) == twice.field(name)
    };
    let keys = [
        "source",
        "destination",
        "source_port_be",
        "destination_port_be",
        "protocol",
    ];
    let flows = [
        "source",
        "destination",
        "source_port_be",
        "destination_port_be",
        "backend_idx",
        "side",
    ];
    keys.iter().all(|name| same(&shape.key, name))
        && flows.iter().all(|name| same(&shape.flow, name))
}

/// What the program `carry` is asked to do with an entry; `what` names the address family to it.
pub(super) fn carried<const N: usize>(
    what: u32,
    shape: &FlowShape,
    entry: &RawEntry<'_>,
) -> CarriedFlow<[u32; N]>
where
    [u32; N]: Address,
{
    let key = Record {
        bytes: entry.bytes,
        fields: &shape.key,
    };
    let flow = Record {
        bytes: entry.bytes,
        fields: &shape.flow,
    };
    let port = |record: &Record<'_>, name| u16::from_ne_bytes(record.bytes(name));
    CarriedFlow {
        what,
        confirmed: u32::from(entry.confirmed),
        key: FlowKey {
            source: key.words("source"),
            destination: key.words("destination"),
            source_port_be: port(&key, "source_port_be"),
            destination_port_be: port(&key, "destination_port_be"),
            protocol: key.narrow("protocol"),
        },
        flow: Flow {
            source: flow.words("source"),
            destination: flow.words("destination"),
            source_port_be: port(&flow, "source_port_be"),
            destination_port_be: port(&flow, "destination_port_be"),
            backend_idx: flow.narrow("backend_idx"),
            last_seen_ns: flow.number("last_seen_ns"),
            state: flow.narrow("state"),
            side: flow.narrow("side"),
            closed_by: flow.narrow("closed_by"),
            flags: flow.narrow("flags"),
            pending: flow.narrow("pending"),
            ifindex: flow.narrow("ifindex"),
            peer_mac: flow.bytes("peer_mac"),
            local_mac: flow.bytes("local_mac"),
        },
    }
}
