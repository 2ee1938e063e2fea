//! The rings of services in the kernel: a map for each service that exists, with two halves. A ring is
//! written into the half that is not in force; the service's entry then names it.
//!
//! A packet that was held up between reading the service's entry and its slot, while two rings were
//! written, finds a slot of the second: some backend of the service, whose own entry says whether it
//! takes new flows.
//!
//! Each service's map is pinned beside the array: to open a map by the identity that the array tells, the
//! kernel wants CAP_SYS_ADMIN (`bpf_map_get_fd_by_id`, kernel/bpf/syscall.c), which a daemon with a user of
//! its own does not have.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _},
};

use aya::maps::{Array, ArrayOfMaps, IterableMap as _, Map, MapData, MapError};
use lb_common::{
    NO_BACKEND, RING_CHUNK, RING_CHUNKS, RING_MAP_CHUNKS, RING_SLOTS, RingChunk, names,
};

use super::{
    error::DatapathError,
    pins::Pins,
    store::{at, call, data, typed},
    sys,
};
use crate::tables::ring::Ring;

/// New maps that are inserted by one call: each is an open file until then.
const NEW_AT_ONCE: usize = 128;

/// A service's map.
type Rings = Array<MapData, RingChunk>;

/// The array of those maps.
pub struct RingStore {
    by_service: ArrayOfMaps<MapData, Rings>,
    /// A second descriptor of it, for the calls that aya does not have.
    outer: MapData,
    pins: Pins,
}

impl RingStore {
    /// Opens the pinned map.
    ///
    /// # Errors
    /// When it is missing or of another kind.
    pub fn open(pins: &Pins) -> Result<Self, DatapathError> {
        Ok(Self {
            by_service: typed(pins, names::RINGS)?,
            outer: data(pins, names::RINGS)?,
            pins: pins.clone(),
        })
    }

    /// The ring in this half of the service's map; `None` where the service has no map.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn read(&self, service_idx: u32, half: u8) -> Result<Option<Ring>, DatapathError> {
        let Some(rings) = self.of_service(service_idx)? else {
            return Ok(None);
        };
        let first = first_chunk(half);
        let mut slots = vec![NO_BACKEND; (RING_CHUNKS * RING_CHUNK) as usize];
        sys::for_each(rings.map().fd().as_fd(), |idx: &u32, chunk: &RingChunk| {
            if (first..first + RING_CHUNKS).contains(idx) {
                let start = ((idx - first) * RING_CHUNK) as usize;
                slots[start..start + chunk.len()].copy_from_slice(chunk);
            }
        })
        .map_err(call(names::RINGS))?;
        slots.truncate(RING_SLOTS as usize);
        let slots = slots.into();
        Ok(Some(Ring { slots, half }))
    }

    /// Writes rings into their halves; the entries of their services put them in place. What has no
    /// ring is passed over.
    ///
    /// Changing the array itself makes the kernel wait until no packet uses what it held, some 10 ms
    /// (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c), so that is done for new services only, and
    /// for many of them in one call: since Linux 6.8 it waits once a call.
    ///
    /// # Errors
    /// When the kernel refuses a write; those before it are done then.
    pub fn write(&self, changes: &[(u32, Option<Ring>)]) -> Result<(), DatapathError> {
        let mut new = Vec::new();
        for (service_idx, ring) in changes {
            let (service_idx, Some(ring)) = (*service_idx, ring) else {
                continue;
            };
            if let Some(rings) = self.of_service(service_idx)? {
                fill(&rings, ring)?;
                continue;
            }
            let rings = Rings::create(RING_MAP_CHUNKS, 0).map_err(at(names::RINGS))?;
            fill(&rings, ring)?;
            self.pin(service_idx, &rings)?;
            new.push((service_idx, rings));
            if new.len() == NEW_AT_ONCE {
                self.insert(&new)?;
                new.clear();
            }
        }
        self.insert(&new)
    }

    fn insert(&self, new: &[(u32, Rings)]) -> Result<(), DatapathError> {
        if new.is_empty() {
            return Ok(());
        }
        let (indices, fds): (Vec<u32>, Vec<i32>) = (new.iter())
            .map(|(service_idx, rings)| (*service_idx, rings.map().fd().as_fd().as_raw_fd()))
            .unzip();
        sys::update(self.outer.fd().as_fd(), &indices, &fds).map_err(call(names::RINGS))
    }

    /// Frees the map of a service that is gone.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&self, service_idx: u32) -> Result<(), DatapathError> {
        sys::delete_inner(self.outer.fd().as_fd(), service_idx).map_err(call(names::RINGS))?;
        self.unpin(service_idx)
    }

    fn of_service(&self, service_idx: u32) -> Result<Option<Rings>, DatapathError> {
        let id = sys::inner_id(self.outer.fd().as_fd(), service_idx).map_err(call(names::RINGS))?;
        let Some(id) = id else {
            return Ok(None);
        };
        if let Ok(rings) = self.pinned(service_idx)
            && id_of(&rings)? == id
        {
            return Ok(Some(rings));
        }
        // Not pinned by the daemon that made it.
        let rings = self.by_identity(service_idx)?;
        if let Some(rings) = &rings {
            self.pin(service_idx, rings)?;
        }
        Ok(rings)
    }

    fn pinned(&self, service_idx: u32) -> Result<Rings, MapError> {
        let data = MapData::from_pin(self.pins.ring(service_idx))?;
        Rings::try_from(Map::from_map_data(data)?)
    }

    fn pin(&self, service_idx: u32, rings: &Rings) -> Result<(), DatapathError> {
        self.unpin(service_idx)?;
        sys::pin(rings.map().fd().as_fd(), &self.pins.ring(service_idx)).map_err(call(names::RINGS))
    }

    fn unpin(&self, service_idx: u32) -> Result<(), DatapathError> {
        match fs::remove_file(self.pins.ring(service_idx)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(call(names::RINGS)(error)),
            _ => Ok(()),
        }
    }

    fn by_identity(&self, service_idx: u32) -> Result<Option<Rings>, DatapathError> {
        match self.by_service.get(&service_idx, 0) {
            Ok(rings) => Ok(Some(rings)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(at(names::RINGS)(error)),
        }
    }
}

fn id_of(rings: &Rings) -> Result<u32, DatapathError> {
    let info = rings.map().info().map_err(at(names::RINGS))?;
    Ok(info.id())
}

/// Where a half begins.
fn first_chunk(half: u8) -> u32 {
    u32::from(half) * RING_CHUNKS
}

fn fill(rings: &Rings, ring: &Ring) -> Result<(), DatapathError> {
    let chunks: Vec<RingChunk> = (ring.slots)
        .chunks(RING_CHUNK as usize)
        .map(|slots| {
            let mut chunk = [NO_BACKEND; RING_CHUNK as usize];
            chunk[..slots.len()].copy_from_slice(slots);
            chunk
        })
        .collect();
    let indices: Vec<u32> = (first_chunk(ring.half)..).take(chunks.len()).collect();
    sys::update(rings.map().fd().as_fd(), &indices, &chunks).map_err(call(names::RINGS))
}
