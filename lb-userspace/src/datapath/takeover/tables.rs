//! What the tables of another layout say of backends, services and sources, in this version's types: what a
//! start adopts. The rest of the tables follows from the configuration.

use std::{collections::BTreeMap, io, path::Path};

use lb_common::{
    MAX_BACKENDS, MAX_SERVICES, MAX_SNAT, V6,
    backend::{Backend, Tunnel},
    flow::{flag, side},
    is_mapped, names,
    service::{Service, Settings, VipKey, setting},
    unmapped,
};

use super::{
    super::sys::RawMap,
    description::{Description, Shape},
    flows,
    record::Record,
};
use crate::tables::Tables;

/// Reads them.
///
/// # Errors
/// What the kernel says; `InvalidData` when a map is not as described.
pub(super) fn read(folder: &Path, description: &Description) -> io::Result<Tables> {
    let mut tables = Tables::empty();
    tables.backends = indexed(folder, description, names::BACKENDS, MAX_BACKENDS, backend)?
        .into_iter()
        .filter(|(_, backend)| backend.identity != 0)
        .collect();
    tables.tunnels = indexed(folder, description, names::TUNNELS, MAX_BACKENDS, tunnel)?
        .into_iter()
        .filter(|(_, tunnel)| tunnel.version != 0)
        .collect();
    tables.services = indexed(folder, description, names::SERVICES, MAX_SERVICES, service)?
        .into_iter()
        .filter(|(_, service)| service.identity != 0)
        .collect();
    let snat = indexed(folder, description, names::SNAT, MAX_SNAT, |record| {
        let mut words: V6 = [0; 4];
        for (word, bytes) in words.iter_mut().zip(record.bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
        }
        words
    })?;
    tables.snat = (snat.into_values())
        .take_while(|words| *words != [0; 4])
        .collect();
    let settings = indexed(folder, description, names::SETTINGS, 1, ports)?;
    if let Some((first, last)) = settings.get(&0).filter(|(first, last)| first <= last) {
        tables.settings = Box::new(Settings::new(*first, (last - first).saturating_add(1)));
    }
    admit_vips(folder, description, &mut tables.settings)?;
    Ok(tables)
}

/// Vips of which there are flows count as ours, also those that have left the configuration since: how the
/// other layout marked them is its own.
fn admit_vips(folder: &Path, description: &Description, settings: &mut Settings) -> io::Result<()> {
    for (version, shape) in &description.flows {
        flows::for_each(folder, shape, true, |entry| {
            let key = Record {
                bytes: entry.bytes,
                fields: &shape.key,
            };
            let flow = Record {
                bytes: entry.bytes,
                fields: &shape.flow,
            };
            if flow.narrow::<u8>("side") != side::CLIENT {
                return Ok(());
            }
            let port_be = u16::from_ne_bytes(key.bytes("destination_port_be"));
            let protocol = key.narrow("protocol");
            let address: V6 = key.words("destination");
            if *version == 4 || is_mapped(&address) {
                let address = if *version == 4 {
                    [address[0]]
                } else {
                    settings.flags |= setting::CROSSED;
                    unmapped(&address)
                };
                settings.admit_vip(&VipKey {
                    address,
                    port_be,
                    protocol,
                    pad: 0,
                });
            } else {
                settings.admit_vip(&VipKey {
                    address,
                    port_be,
                    protocol,
                    pad: 0,
                });
            }
            if flow.narrow::<u8>("flags") & flag::CROSSED != 0 {
                settings.flags |= setting::CROSSED;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The values of an array, those within our own array's length.
fn indexed<V>(
    folder: &Path,
    description: &Description,
    name: &str,
    most: u32,
    value: impl Fn(&Record<'_>) -> V,
) -> io::Result<BTreeMap<u32, V>> {
    let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("no map {name}"));
    let Shape {
        key,
        value: size,
        fields,
        ..
    } = description.maps.get(name).ok_or_else(missing)?;
    let mut values = BTreeMap::new();
    RawMap::open(&folder.join(name), *key, *size)?.for_each(|index, bytes| {
        let Ok(index) = index.try_into().map(u32::from_ne_bytes) else {
            return;
        };
        if index < most {
            values.insert(index, value(&Record { bytes, fields }));
        }
    })?;
    Ok(values)
}

fn backend(record: &Record<'_>) -> Backend {
    Backend {
        address: record.words("address"),
        port_be: u16::from_ne_bytes(record.bytes("port_be")),
        state: record.narrow("state"),
        flows: record.narrow("flows"),
        ifindex: record.narrow("ifindex"),
        peer_mac: record.bytes("peer_mac"),
        local_mac: record.bytes("local_mac"),
        service_idx: record.narrow("service_idx"),
        snat_first: record.narrow("snat_first"),
        snat_count: record.narrow("snat_count"),
        mode: record.narrow("mode"),
        version: record.narrow("version"),
        protocol: record.narrow("protocol"),
        identity: record.number("identity"),
        since_unix: record.narrow("since_unix"),
        ..Backend::FREE
    }
}

fn tunnel(record: &Record<'_>) -> Tunnel {
    Tunnel {
        source: record.words("source"),
        spread: record.words("spread"),
        mtu: record.narrow("mtu"),
        port_be: u16::from_ne_bytes(record.bytes("port_be")),
        version: record.narrow("version"),
        variant: record.narrow("variant"),
        ..Tunnel::default()
    }
}

fn service(record: &Record<'_>) -> Service {
    Service {
        identity: record.number("identity"),
        mode: record.narrow("mode"),
        version: record.narrow("version"),
        ..Service::default()
    }
}

fn ports(record: &Record<'_>) -> (u16, u16) {
    (
        record.narrow("reply_port_min"),
        record.narrow("reply_port_max"),
    )
}
