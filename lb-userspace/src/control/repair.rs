//! What someone else did to the maps or the links is put right: every few seconds what is in force is
//! read and compared with what was applied.

use std::time::Duration;

use tokio::task::block_in_place;
use tracing::{error, warn};

use super::{Control, view::observed::ChangeKind};
use crate::tables::diff::difference;

/// Between two looks.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);

impl Control {
    /// Looks once. Rings are large: one service's is looked at each time.
    pub(super) async fn repair(&mut self) {
        self.announced.doubt();
        self.announce().await;
        if let Err(error) = block_in_place(|| self.repair_tables()) {
            error!("the tables could not be checked: {error}");
        }
        let lost = block_in_place(|| self.datapath.lost_links());
        if lost.is_empty() {
            return;
        }
        for (interface, why) in &lost {
            let words = format!("{interface}: {why}; attaching the program again");
            warn!("{words}");
            self.changes.note(ChangeKind::Repair, words);
        }
        self.attach_again().await;
    }

    fn repair_tables(&mut self) -> Result<(), crate::datapath::DatapathError> {
        let services: Vec<u32> = self.applied.rings.keys().copied().collect();
        let service = match services.as_slice() {
            [] => None,
            all => Some(all[self.looks % all.len()]),
        };
        self.looks = self.looks.wrapping_add(1);
        let mut found = self.datapath.read_but_rings()?;
        found.rings = self.applied.rings.clone();
        if let Some(idx) = service {
            let half = self.applied.rings[&idx].half;
            match self.datapath.read_ring(idx, half)? {
                Some(ring) => drop(found.rings.insert(idx, ring)),
                None => drop(found.rings.remove(&idx)),
            }
        }
        let changes = difference(&found, &self.applied);
        if changes.is_empty() {
            return Ok(());
        }
        let words = format!(
            "someone else changed the tables: {}; putting them right",
            changes.in_words()
        );
        warn!("{words}");
        self.changes.note(ChangeKind::Repair, words);
        self.datapath.write(&changes)
    }
}
