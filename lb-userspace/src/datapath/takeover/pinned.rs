//! The description of a layout where it is pinned, in the map `layout`.

use std::{io, os::fd::AsFd as _, path::Path};

use aya::maps::{Array, IterableMap as _, MapData};
use lb_common::names;

use super::{
    super::{
        error::DatapathError,
        pins::Pins,
        store,
        sys::{self, RawMap},
    },
    description::{Description, ROOM},
};

/// Writes the description of this version's layout beside its maps, or finds it there.
///
/// # Errors
/// When it cannot be written, or another one is there.
pub(in crate::datapath) fn describe(pins: &Pins) -> Result<(), DatapathError> {
    let path = pins.map(names::LAYOUT);
    let own = Description::own();
    if path.exists() {
        let folder = path.parent().unwrap_or(&path);
        let there = read_description(folder)?;
        if there.layout == own.layout && there.maps == own.maps && there.flows == own.flows {
            return Ok(());
        }
        return Err(DatapathError::ForeignPin {
            path,
            what: format!("it describes another layout, of divvy {}", there.version),
        });
    }
    let failed = |error: io::Error| DatapathError::Folder {
        path: path.clone(),
        source: error,
    };
    let mut map: Array<MapData, [u8; ROOM]> =
        Array::create(1, 0).map_err(store::at(names::LAYOUT))?;
    map.set(0, own.to_bytes(), 0)
        .map_err(store::at(names::LAYOUT))?;
    sys::pin(map.map().fd().as_fd(), &path).map_err(failed)
}

/// Reads what another version wrote of its layout.
///
/// # Errors
/// When it wrote nothing, or nothing that can be read.
pub(super) fn read_description(folder: &Path) -> Result<Description, DatapathError> {
    let path = folder.join(names::LAYOUT);
    let unknown = |reason: String| DatapathError::UnknownLayout {
        folder: folder.to_owned(),
        reason,
    };
    let map = RawMap::open(&path, 4, u32::try_from(ROOM).expect("a small constant"));
    let mut bytes = Vec::new();
    map.and_then(|map| map.read_at(0, &mut bytes))
        .map_err(|error| unknown(error.to_string()))?;
    Description::from_bytes(&bytes).map_err(|error| unknown(error.to_string()))
}
