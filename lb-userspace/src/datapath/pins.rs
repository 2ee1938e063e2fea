//! Where pinned objects live: a bpffs in the run directory, one folder for each layout version.

mod before;
mod layouts;
mod prepare;
mod standing;

use std::{
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::maps::MapInfo;
use lb_common::{LAYOUT_VERSION, names};
use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::statfs::{FsType, statfs},
};

use super::{
    error::{self, DatapathError},
    sys,
};

/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: FsType = FsType(0xcafe_4a11);

use self::layouts::PROGRAM;
pub use self::standing::{Bpffs, Standing};

/// The paths of one run directory.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
    layout: PathBuf,
}

impl Pins {
    /// Those below `run_dir`. Touches nothing.
    #[must_use]
    pub fn new(run_dir: &Path) -> Self {
        let root = run_dir.join("bpf");
        let layout = root.join(format!("v{LAYOUT_VERSION}"));
        Self { root, layout }
    }

    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.layout.join(name)
    }

    #[must_use]
    pub fn program(&self) -> PathBuf {
        self.layout.join(PROGRAM)
    }

    /// Where the map with a service's rings is pinned.
    #[must_use]
    pub fn ring(&self, service_idx: u32) -> PathBuf {
        self.layout.join(format!("ring_{service_idx}"))
    }

    /// Where the link of an interface is pinned. A bpffs allows no dots in names, and an
    /// interface's name may hold them but no colon (`dev_valid_name`, net/core/dev.c).
    #[must_use]
    pub fn link(&self, interface: &str) -> PathBuf {
        let name = interface.replace('.', ":");
        self.layout.join(format!("{LINK_PREFIX}{name}"))
    }

    /// The interfaces whose links are pinned.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn linked_interfaces(&self) -> Result<Vec<String>, DatapathError> {
        let folder = |source| DatapathError::Folder {
            path: self.layout.clone(),
            source,
        };
        let mut interfaces = Vec::new();
        for entry in fs::read_dir(&self.layout).map_err(folder)? {
            let name = entry.map_err(folder)?.file_name();
            if let Some(interface) = name.to_string_lossy().strip_prefix(LINK_PREFIX) {
                interfaces.push(interface.replace(':', "."));
            }
        }
        interfaces.sort();
        Ok(interfaces)
    }

    /// Makes the root's folder, and mounts a bpffs where there is none.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn prepare(&self) -> Result<(), DatapathError> {
        create(&self.root)?;
        self.mount()?;
        Ok(())
    }

    /// Makes the folder of this version's layout.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn make_layout(&self) -> Result<(), DatapathError> {
        create(&self.layout)
    }

    /// Mounts a bpffs where there is none.
    fn mount(&self) -> Result<(), DatapathError> {
        if is_bpffs(&self.root) {
            return Ok(());
        }
        mount_bpffs(&self.root, &self.root)
    }

    /// Every pinned map that exists is of this layout: right type, sizes and, where the layout
    /// fixes it, length. Opening a pinned map checks none of this.
    ///
    /// # Errors
    /// Names the first one that is not.
    pub fn verify(&self, expected: &[Expected]) -> Result<(), DatapathError> {
        for expected in expected {
            let path = self.map(expected.name);
            if !path.exists() {
                continue;
            }
            let foreign = |what: String| DatapathError::ForeignPin {
                path: path.clone(),
                what,
            };
            let info = MapInfo::from_pin(&path).map_err(|error| foreign(error.to_string()))?;
            let found = (info.key_size(), info.value_size());
            let wanted = (expected.key_size, expected.value_size);
            if found != wanted {
                return Err(foreign(format!(
                    "key and value have {found:?} bytes, not {wanted:?}"
                )));
            }
            let kind = info.map_type().map(|kind| kind as u32).unwrap_or_default();
            if kind != expected.kind {
                return Err(foreign(format!("type {kind}, not {}", expected.kind)));
            }
            if expected
                .max_entries
                .is_some_and(|n| n != info.max_entries())
            {
                return Err(foreign(format!("{} entries", info.max_entries())));
            }
        }
        Ok(())
    }

    /// Takes the program off every interface and removes all that is pinned, of every layout.
    /// Returns the interfaces that had a program.
    ///
    /// # Errors
    /// When something cannot be removed; the rest is gone then.
    pub fn remove_all(&self) -> Result<Vec<String>, DatapathError> {
        if !self.root.exists() || !is_bpffs(&self.root) {
            return Ok(Vec::new());
        }
        let mut interfaces = Vec::new();
        let folders = fs::read_dir(&self.root).map_err(at(&self.root))?;
        // The kernel puts files of its own beside them.
        let folders = folders.flatten().map(|entry| entry.path());
        for folder in folders.filter(|path| is_layout(path)) {
            interfaces.extend(remove_layout(&folder)?);
        }
        interfaces.sort();
        self.unmount()?;
        Ok(interfaces)
    }

    /// One that is not ours to unmount, because root made it for us, stays.
    fn unmount(&self) -> Result<(), DatapathError> {
        match umount2(&self.root, MntFlags::empty()) {
            Ok(()) | Err(Errno::EPERM) => Ok(()),
            Err(errno) => Err(at(&self.root)(errno.into())),
        }
    }
}

const LINK_PREFIX: &str = "link_";

fn create(path: &Path) -> Result<(), DatapathError> {
    fs::create_dir_all(path).map_err(|source| DatapathError::CreateFolder {
        path: path.to_owned(),
        source,
    })
}

/// Removes all that is pinned in one layout's folder, and the folder. Returns the interfaces that
/// had a program.
fn remove_layout(folder: &Path) -> Result<Vec<String>, DatapathError> {
    let mut interfaces = Vec::new();
    let objects = fs::read_dir(folder).map_err(at(folder))?;
    let mut objects: Vec<PathBuf> = objects.flatten().map(|entry| entry.path()).collect();
    // Links first: without them no packet comes to a program whose maps go.
    objects.sort_by_key(|path| !file_name(path).starts_with(LINK_PREFIX));
    for path in objects {
        let removed = match file_name(&path).strip_prefix(LINK_PREFIX) {
            Some(name) => {
                interfaces.push(name.replace(':', "."));
                remove_link(&path)
            }
            None => fs::remove_file(&path),
        };
        removed.map_err(at(&path))?;
    }
    fs::remove_dir(folder).map_err(at(folder))?;
    Ok(interfaces)
}

fn at(path: &Path) -> impl Fn(io::Error) -> DatapathError {
    move |source| DatapathError::Folder {
        path: path.to_owned(),
        source,
    }
}

/// Takes a pinned link's program off its interface and removes the pin; that there is none is no
/// error.
pub fn remove_link(path: &Path) -> io::Result<()> {
    match sys::open_pin(path) {
        // A link whose interface is gone has nothing to take off.
        Ok(link) => drop(sys::detach_link(link.as_fd())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    fs::remove_file(path)
}

/// What a pinned map must be.
pub struct Expected {
    pub name: &'static str,
    /// `BPF_MAP_TYPE_*`.
    pub kind: u32,
    pub key_size: u32,
    pub value_size: u32,
    /// `None` where `limits` decide.
    pub max_entries: Option<u32>,
}

/// The maps of this layout.
#[must_use]
pub fn layout() -> Vec<Expected> {
    use lb_common::{
        Budget, Budgeted, MAX_BACKENDS, MAX_SERVICES, MAX_SNAT, V4, V6, VIP_PREFIX_SLOTS,
        VIP_SLOTS,
        affinity::{Client, MAX_CLIENTS, Remembered},
        backend::{Backend, BackendStats, Tunnel},
        fragment::{Datagram, First, MAX_DATAGRAMS},
        interface::{Interface, MAX_INTERFACES},
        load::{Load, Turn},
        reason::REASON_SLOTS,
        service::{PortPrefix, Service, Settings, VipKey},
        sources::{SOURCE_SLOTS, Source},
        table::{Entries, Head},
    };
    const HASH: u32 = 1;
    const ARRAY: u32 = 2;
    const PERCPU_ARRAY: u32 = 6;
    const LRU_HASH: u32 = 9;
    const LPM_TRIE: u32 = 11;
    const ARRAY_OF_MAPS: u32 = 12;
    fn of<K, V>(name: &'static str, kind: u32, max_entries: Option<u32>) -> Expected {
        let bytes = |size: usize| u32::try_from(size).expect("map entries are small");
        Expected {
            name,
            kind,
            key_size: bytes(size_of::<K>()),
            value_size: bytes(size_of::<V>()),
            max_entries,
        }
    }
    vec![
        of::<u32, Settings>(names::SETTINGS, ARRAY, Some(1)),
        of::<VipKey<V4>, u32>(names::VIPS4, HASH, Some(VIP_SLOTS)),
        of::<VipKey<V6>, u32>(names::VIPS6, HASH, Some(VIP_SLOTS)),
        of::<PortPrefix<V4>, u32>(names::VIP_RANGES4, LPM_TRIE, Some(VIP_PREFIX_SLOTS)),
        of::<PortPrefix<V6>, u32>(names::VIP_RANGES6, LPM_TRIE, Some(VIP_PREFIX_SLOTS)),
        of::<u32, Service>(names::SERVICES, ARRAY, Some(MAX_SERVICES)),
        of::<u32, u32>(names::RINGS, ARRAY_OF_MAPS, Some(MAX_SERVICES)),
        of::<u32, Backend>(names::BACKENDS, ARRAY, Some(MAX_BACKENDS)),
        of::<u32, Tunnel>(names::TUNNELS, ARRAY, Some(MAX_BACKENDS)),
        of::<u32, V6>(names::SNAT, ARRAY, Some(MAX_SNAT)),
        of::<u32, Interface>(names::INTERFACES, HASH, Some(MAX_INTERFACES)),
        // The key's length in bits stands before it.
        of::<(u32, Source<V4>), u32>(names::SOURCES4, LPM_TRIE, Some(SOURCE_SLOTS)),
        of::<(u32, Source<V6>), u32>(names::SOURCES6, LPM_TRIE, Some(SOURCE_SLOTS)),
        of::<Client<V4>, Remembered>(names::AFFINITY4, LRU_HASH, Some(MAX_CLIENTS)),
        of::<Client<V6>, Remembered>(names::AFFINITY6, LRU_HASH, Some(MAX_CLIENTS)),
        of::<Datagram<V4>, First>(names::FRAGMENTS4, LRU_HASH, Some(MAX_DATAGRAMS)),
        of::<Datagram<V6>, First>(names::FRAGMENTS6, LRU_HASH, Some(MAX_DATAGRAMS)),
        of::<u32, Head>(names::FLOW_HEADS4, ARRAY, None),
        of::<u32, Head>(names::FLOW_HEADS6, ARRAY, None),
        of::<u32, Entries<V4>>(names::FLOWS4, ARRAY, None),
        of::<u32, Entries<V6>>(names::FLOWS6, ARRAY, None),
        of::<u32, u64>(names::BACKENDS_SEEN, ARRAY, Some(MAX_BACKENDS)),
        of::<u32, Load>(names::BACKEND_LOADS, ARRAY, Some(MAX_BACKENDS)),
        of::<u32, Turn>(names::TURNS, ARRAY, Some(MAX_SERVICES)),
        of::<u32, BackendStats>(names::BACKEND_STATS, PERCPU_ARRAY, Some(MAX_BACKENDS)),
        of::<u32, u64>(names::REASONS, PERCPU_ARRAY, Some(REASON_SLOTS)),
        of::<u32, Budget>(names::BUDGETS, PERCPU_ARRAY, Some(Budgeted::COUNT)),
    ]
}

/// `shown` is the path in errors.
fn mount_bpffs(target: &Path, shown: &Path) -> Result<(), DatapathError> {
    mount(
        Some("bpf"),
        target,
        Some("bpf"),
        MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC,
        Some("mode=0700"),
    )
    .map_err(|errno| error::while_mounting(shown, errno.into()))
}

fn is_bpffs(path: &Path) -> bool {
    statfs(path).is_ok_and(|stat| stat.filesystem_type() == BPF_FS_MAGIC)
}

/// A folder that some version of divvy made: `v` and a number.
fn is_layout(path: &Path) -> bool {
    let name = file_name(path);
    name.strip_prefix('v')
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
