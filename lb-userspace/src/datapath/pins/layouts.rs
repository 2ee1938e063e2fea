//! The layouts that are pinned in one run directory: this version's, and what another version left. While
//! an upgrade is under way there are two, and it may have been killed at any step.
//!
//! Links tell which layout packets go by: each runs the program of one, whose pin lies in that layout's
//! folder. An upgrade moves a link's pin into the new folder first and puts the new program on it then, so
//! that a link whose program is nobody's belongs where it lies: a daemon of that layout was about to
//! replace its own program.

use std::{
    collections::BTreeSet,
    fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use aya::programs::ProgramInfo;

use super::{LINK_PREFIX, Pins, at, file_name, is_layout, remove_layout};
use crate::datapath::{DatapathError, sys};

/// What is pinned, with each link where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layouts {
    /// Packets go by this version's layout, on one interface at least.
    pub own_in_force: bool,
    /// The folder of another version's layout that packets go by, or, where they go by this version's, that
    /// of an upgrade that was not brought to its end.
    pub other: Option<PathBuf>,
}

impl Pins {
    /// Sees what is pinned, moves the pins of links into the folders of the layouts that they serve, and
    /// removes what an upgrade left behind which had not come into force.
    ///
    /// # Errors
    /// When a folder or a pin cannot be read, moved or removed.
    pub fn settle(&self) -> Result<Layouts, DatapathError> {
        let folders = self.layouts()?;
        let mut in_force = Vec::new();
        for folder in &folders {
            for pin in links_in(folder)? {
                let owner = owner_of(&pin, &folders).unwrap_or(folder);
                if owner != folder {
                    let home = owner.join(file_name(&pin));
                    fs::rename(&pin, &home).map_err(at(&pin))?;
                }
                in_force.push(owner.clone());
            }
        }
        let own_in_force = in_force.contains(&self.layout);
        let mut other = None;
        for folder in folders.iter().filter(|folder| **folder != self.layout) {
            // One whose links were taken may have flows that have not been carried over.
            let was_left = own_in_force && runs(&self.layout.join(BEFORE), &folder.join(PROGRAM));
            if other.is_none() && (in_force.contains(folder) || was_left) {
                other = Some(folder.clone());
            } else {
                remove_layout(folder)?;
            }
        }
        if !own_in_force && other.is_some() && self.layout.exists() {
            remove_layout(&self.layout)?;
        }
        Ok(Layouts {
            own_in_force,
            other,
        })
    }

    /// Moves the pins of another layout's links to this one's, and remembers whose they were until
    /// [`Self::remove_other`]. Their programs stay what they are.
    ///
    /// # Errors
    /// When a pin cannot be moved.
    pub fn take_links(&self, other: &Path) -> Result<(), DatapathError> {
        let before = self.layout.join(BEFORE);
        let program = other.join(PROGRAM);
        if !before.exists() {
            let program = sys::open_pin(&program).map_err(at(&program))?;
            sys::pin(program.as_fd(), &before).map_err(at(&before))?;
        }
        for pin in links_in(other)? {
            let here = self.layout.join(file_name(&pin));
            fs::rename(&pin, &here).map_err(at(&pin))?;
        }
        Ok(())
    }

    /// Gives another layout these links back, with its program on them.
    ///
    /// # Errors
    /// When a pin cannot be opened or moved, or the kernel refuses the program.
    pub(super) fn give_links_back(
        &self,
        other: &Path,
        names: &BTreeSet<String>,
    ) -> Result<(), DatapathError> {
        let program = other.join(PROGRAM);
        let program = sys::open_pin(&program).map_err(at(&program))?;
        for pin in links_in(&self.layout)? {
            if !names.contains(&file_name(&pin)) {
                continue;
            }
            let link = sys::open_pin(&pin).map_err(at(&pin))?;
            sys::update_link(link.as_fd(), program.as_fd()).map_err(at(&pin))?;
            fs::rename(&pin, other.join(file_name(&pin))).map_err(at(&pin))?;
        }
        Ok(())
    }

    /// Removes another layout, which packets no longer go by.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove_other(&self, other: &Path) -> Result<(), DatapathError> {
        remove_layout(other)?;
        let before = self.layout.join(BEFORE);
        fs::remove_file(&before).map_err(at(&before))
    }

    /// The folders of all layouts, the newest first.
    fn layouts(&self) -> Result<Vec<PathBuf>, DatapathError> {
        let folders = fs::read_dir(&self.root).map_err(at(&self.root))?;
        let mut folders: Vec<PathBuf> = (folders.flatten())
            .map(|entry| entry.path())
            .filter(|path| is_layout(path))
            .collect();
        folders.sort_by_key(|folder| std::cmp::Reverse(number(folder)));
        Ok(folders)
    }
}

/// The folder of another layout that has links, with their names.
pub(super) fn linked_other(pins: &Pins) -> Option<(PathBuf, BTreeSet<String>)> {
    (pins.layouts().unwrap_or_default().into_iter())
        .filter(|folder| *folder != pins.layout)
        .find_map(|folder| {
            let links = links_in(&folder).unwrap_or_default();
            let names: BTreeSet<String> = links.iter().map(|link| file_name(link)).collect();
            (!names.is_empty()).then_some((folder, names))
        })
}

/// Name of the program's pin.
pub(super) const PROGRAM: &str = "prog";
/// Another pin of the program that a layout's links ran before, until nothing is left of that.
const BEFORE: &str = "before";

fn number(folder: &Path) -> u32 {
    file_name(folder)[1..].parse().unwrap_or_default()
}

fn links_in(folder: &Path) -> Result<Vec<PathBuf>, DatapathError> {
    let pins = fs::read_dir(folder).map_err(at(folder))?;
    let mut links: Vec<PathBuf> = (pins.flatten())
        .map(|entry| entry.path())
        .filter(|path| file_name(path).starts_with(LINK_PREFIX))
        .collect();
    links.sort();
    Ok(links)
}

/// The folder whose program this link runs.
fn owner_of<'a>(link: &Path, folders: &'a [PathBuf]) -> Option<&'a PathBuf> {
    let running = link_program(link).ok()?;
    (folders.iter()).find(|folder| program_id(&folder.join(PROGRAM)) == Some(running))
}

/// Both pins are of one program.
fn runs(one: &Path, other: &Path) -> bool {
    program_id(one).is_some_and(|id| program_id(other) == Some(id))
}

fn program_id(pin: &Path) -> Option<u32> {
    ProgramInfo::from_pin(pin).ok().map(|program| program.id())
}

fn link_program(link: &Path) -> io::Result<u32> {
    let link = sys::open_pin(link)?;
    Ok(sys::link_target(link.as_fd())?.program_id)
}
