//! What there is below a run directory, for those who only look.

use std::{
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use super::{LINK_PREFIX, Pins, file_name, is_bpffs, is_layout};
use crate::datapath::{Datapath, sys};

/// What stands below a run directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub bpffs: Bpffs,
    /// Links that are pinned there and attached to an interface: its index, and the program's number.
    pub links: Vec<(u32, u32)>,
}

/// The file system that objects are pinned in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bpffs {
    /// It is mounted here.
    Mounted(PathBuf),
    /// Nothing is mounted here yet.
    Absent(PathBuf),
    /// This process may not look.
    Hidden(PathBuf),
}

impl Datapath {
    /// Looks at what there is below `run_dir`. Touches nothing.
    #[must_use]
    pub fn standing(run_dir: &Path) -> Standing {
        let root = Pins::new(run_dir).root;
        if !is_bpffs(&root) {
            return Standing {
                bpffs: Bpffs::Absent(root),
                links: Vec::new(),
            };
        }
        match links(&root) {
            Ok(links) => Standing {
                bpffs: Bpffs::Mounted(root),
                links,
            },
            Err(_) => Standing {
                bpffs: Bpffs::Hidden(root),
                links: Vec::new(),
            },
        }
    }
}

/// The links of all layouts.
fn links(root: &Path) -> io::Result<Vec<(u32, u32)>> {
    let mut links = Vec::new();
    for folder in fs::read_dir(root)? {
        let folder = folder?.path();
        if !is_layout(&folder) {
            continue;
        }
        for object in fs::read_dir(&folder)? {
            let path = object?.path();
            if !file_name(&path).starts_with(LINK_PREFIX) {
                continue;
            }
            let link = sys::open_pin(&path)?;
            let target = sys::link_target(link.as_fd())?;
            if target.ifindex != 0 {
                links.push((target.ifindex, target.program_id));
            }
        }
    }
    Ok(links)
}
