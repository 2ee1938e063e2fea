//! Taking back what a start made that then failed: the bpffs, the folders, what it pinned, and the
//! program on interfaces that did not have it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{Pins, at, is_bpffs, layouts::linked_other, remove_layout, remove_link};
use crate::datapath::{Datapath, DatapathError};

/// What there was before a start.
pub struct Before {
    pins: Pins,
    folder: bool,
    bpffs: bool,
    /// The interfaces of an earlier daemon that are to be adopted; `None` where nothing is pinned.
    layout: Option<BTreeSet<String>>,
    /// The layout of another version that packets go by, with its links.
    other: Option<(PathBuf, BTreeSet<String>)>,
}

impl Datapath {
    /// Looks at what there is below `run_dir`. Touches nothing.
    #[must_use]
    pub fn before(run_dir: &Path) -> Before {
        let pins = Pins::new(run_dir);
        let links = || pins.linked_interfaces().unwrap_or_default();
        Before {
            folder: pins.root.exists(),
            bpffs: is_bpffs(&pins.root),
            other: linked_other(&pins),
            layout: pins.layout.exists().then(|| links().into_iter().collect()),
            pins,
        }
    }
}

impl Before {
    /// Takes back what came since. What was pinned before stays, for the next start.
    ///
    /// # Errors
    /// When something cannot be removed; what comes after it is still there then.
    pub fn restore(&self) -> Result<(), DatapathError> {
        let pins = &self.pins;
        if let Some(links) = &self.layout {
            for interface in pins.linked_interfaces()? {
                if !links.contains(&interface) {
                    let path = pins.link(&interface);
                    remove_link(&path).map_err(at(&path))?;
                }
            }
            return Ok(());
        }
        if pins.layout.exists() {
            if let Some((folder, links)) = &self.other {
                pins.give_links_back(folder, links)?;
            }
            remove_layout(&pins.layout)?;
        }
        if !self.bpffs && is_bpffs(&pins.root) {
            pins.unmount()?;
        }
        if self.folder {
            return Ok(());
        }
        match fs::remove_dir(&pins.root) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&pins.root)(error)),
            _ => Ok(()),
        }
    }
}
