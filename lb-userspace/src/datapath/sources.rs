//! The tries in the kernel that say which sources may open flows.

use std::os::fd::AsFd as _;

use aya::{
    Pod,
    maps::{LpmTrie, MapData, lpm_trie::Key},
};
use lb_common::sources::Source;

use super::{
    error::DatapathError,
    pins::Pins,
    store::{at, call, data, typed},
    sys,
};
use crate::tables::Entry;

/// The trie of one address family.
pub struct SourceStore<A: Pod>
where
    Source<A>: Pod,
{
    trie: LpmTrie<MapData, Source<A>, u32>,
    /// A second descriptor of it, for reading in batches.
    map: MapData,
    name: &'static str,
}

impl<A: Pod> SourceStore<A>
where
    Source<A>: Pod,
{
    /// Opens the pinned map.
    ///
    /// # Errors
    /// When it is missing or of another kind.
    pub fn open(pins: &Pins, name: &'static str) -> Result<Self, DatapathError> {
        Ok(Self {
            trie: typed(pins, name)?,
            map: data(pins, name)?,
            name,
        })
    }

    /// All entries.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn read(&self) -> Result<Vec<(Entry<A>, u32)>, DatapathError> {
        let mut entries = Vec::new();
        sys::for_each(
            self.map.fd().as_fd(),
            |key: &Key<Source<A>>, value: &u32| {
                entries.push(((key.prefix_len(), key.data()), *value));
            },
        )
        .map_err(call(self.name))?;
        Ok(entries)
    }

    /// Writes entries, one after the other; what is to go is passed over.
    ///
    /// # Errors
    /// When the kernel refuses a write; those before it are done then.
    pub fn set(&mut self, changes: &[(Entry<A>, Option<u32>)]) -> Result<(), DatapathError> {
        for ((length, source), value) in changes {
            if let Some(value) = value {
                let key = Key::new(*length, *source);
                self.trie.insert(&key, value, 0).map_err(at(self.name))?;
            }
        }
        Ok(())
    }

    /// Removes what is to go, one after the other.
    ///
    /// # Errors
    /// When the kernel refuses; those before it are done then.
    pub fn remove(&mut self, changes: &[(Entry<A>, Option<u32>)]) -> Result<(), DatapathError> {
        for ((length, source), _) in changes.iter().filter(|(_, kept)| kept.is_none()) {
            let key = Key::new(*length, *source);
            self.trie.remove(&key).map_err(at(self.name))?;
        }
        Ok(())
    }
}
