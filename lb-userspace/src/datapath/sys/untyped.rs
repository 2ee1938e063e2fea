//! Pinned maps whose keys and values are bytes to us, because another version made them.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::maps::{MapInfo, MapType};

use super::{
    BPF_MAP_LOOKUP_BATCH, BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BatchAttr, ElementAttr, bpf,
    open_pin, raw,
};

/// Bytes of values that one batch call reads, if it reads more than one.
const BATCH_BYTES: usize = 1 << 20;
/// Entries that it reads at least: a hash map's fullest bucket has to fit.
const LEAST_BATCH: usize = 64;

/// A pinned map.
pub struct RawMap {
    fd: OwnedFd,
    key_size: usize,
    /// Of one CPU, as the map was made.
    value_size: usize,
    /// CPUs whose values are read as one; 0 for a map that all share.
    cpus: usize,
}

impl RawMap {
    /// Opens the pin of a map whose keys and values are to have so many bytes.
    ///
    /// # Errors
    /// What the kernel says; `InvalidData` when it is another map.
    pub fn open(path: &Path, key: u32, value: u32) -> io::Result<Self> {
        let fd = open_pin(path)?;
        let info = MapInfo::from_pin(path).map_err(io::Error::other)?;
        let found = (info.key_size(), info.value_size());
        if found != (key, value) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("key and value have {found:?} bytes, not {:?}", (key, value)),
            ));
        }
        let per_cpu = matches!(
            info.map_type(),
            Ok(MapType::PerCpuArray | MapType::PerCpuHash | MapType::LruPerCpuHash)
        );
        let cpus = if per_cpu {
            aya::util::nr_cpus().map_err(|(_, error)| error)?
        } else {
            0
        };
        Ok(Self {
            fd,
            key_size: key as usize,
            value_size: value as usize,
            cpus,
        })
    }

    /// Bytes that the kernel copies for one value: of maps by CPU, one after the other, each filled up to
    /// a multiple of 8 (`bpf_map_value_size`, kernel/bpf/syscall.c).
    fn copied(&self) -> usize {
        match self.cpus {
            0 => self.value_size,
            cpus => self.value_size.next_multiple_of(8) * cpus,
        }
    }

    /// A value as it was read, CPU by CPU.
    pub fn by_cpu<'a>(&self, value: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let size = self.value_size;
        value
            .chunks(self.copied() / self.cpus.max(1))
            .map(move |one| &one[..size.min(one.len())])
    }

    /// Calls `visit` with every entry.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
        let copied = self.copied();
        let most = (BATCH_BYTES / copied).max(LEAST_BATCH);
        let mut keys = vec![0_u8; most * self.key_size];
        let mut values = vec![0_u8; most * copied];
        let mut position = vec![0_u8; self.key_size.max(8)];
        let mut next = position.clone();
        let mut first = true;
        loop {
            let mut attr = BatchAttr {
                in_batch: if first { 0 } else { position.as_ptr() as u64 },
                out_batch: next.as_mut_ptr() as u64,
                keys: keys.as_mut_ptr() as u64,
                values: values.as_mut_ptr() as u64,
                count: u32::try_from(most).expect("a batch is small"),
                map_fd: raw(self.fd.as_fd()),
                ..BatchAttr::default()
            };
            // SAFETY: `keys` and `values` have room for `count` elements of the sizes that the map has
            // (`open`), and `next` for a key or a bucket's index.
            let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) };
            let done = match result {
                Ok(_) => false,
                // The last batch: `count` entries and no more.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) => return Err(error),
            };
            let count = attr.count as usize;
            for (key, value) in (keys.chunks(self.key_size))
                .zip(values.chunks(copied))
                .take(count)
            {
                visit(key, value);
            }
            if done {
                return Ok(());
            }
            std::mem::swap(&mut position, &mut next);
            first = false;
        }
    }

    /// Reads the value at an index into `to`, which gets its length.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_at(&self, index: u32, to: &mut Vec<u8>) -> io::Result<()> {
        to.resize(self.copied(), 0);
        self.element(BPF_MAP_LOOKUP_ELEM, index, to.as_mut_ptr() as u64)
    }

    /// Makes all bytes of the value at an index 0, on all CPUs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn clear_at(&self, index: u32) -> io::Result<()> {
        let zeros = vec![0_u8; self.copied()];
        self.element(BPF_MAP_UPDATE_ELEM, index, zeros.as_ptr() as u64)
    }

    fn element(&self, command: libc::c_long, index: u32, value: u64) -> io::Result<()> {
        if self.key_size != size_of_val(&index) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut attr = ElementAttr {
            map_fd: raw(self.fd.as_fd()),
            pad: 0,
            key: (&raw const index) as u64,
            value,
            flags: 0,
        };
        // SAFETY: the key has the map's size, as was just asked, and the callers' values have it too.
        unsafe { bpf(command, &mut attr) }.map(drop)
    }
}
