//! The tables that flows lie in (decision 0008): confirmed ones find room or not, the others push each other
//! out, and the sweeper takes what is over.

use std::net::SocketAddr;

use super::{
    flow::{Entry, Flow},
    path::{Model, Wrong},
};
use crate::rig::{CONFIRMED_PLACES, HALF_OPEN_PLACES};

/// In which bucket the entry for packets of this source and destination lies. That is the program's
/// choice: here it is only asked for.
pub type Buckets<'a> = dyn Fn(SocketAddr, SocketAddr) -> u32 + 'a;

/// Of entries that are alike in age, any may be pushed out: it is told in units of about a millisecond.
const AGE_SHIFT: u32 = 20;

/// What a sweep finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub confirmed: u32,
    pub half_open: u32,
    pub removed: u32,
}

impl Model {
    /// All entries there should be, in order.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries: Vec<_> = self.flows.iter().flat_map(Flow::entries).collect();
        entries.sort();
        entries
    }

    /// There is a place for each of the flow's entries in its bucket.
    pub(super) fn has_room(&self, n: usize, buckets: &Buckets<'_>) -> bool {
        let bucket_of = |entry: &Entry| buckets(entry.from, entry.to);
        let wanted: Vec<u32> = self.flows[n]
            .entries()
            .map(|entry| bucket_of(&entry))
            .collect();
        let confirmed: Vec<u32> = (self.flows.iter())
            .filter(|flow| flow.confirmed)
            .flat_map(Flow::entries)
            .map(|entry| bucket_of(&entry))
            .collect();
        let count = |all: &[u32], bucket| all.iter().filter(|other| **other == bucket).count();
        (wanted.iter())
            .all(|bucket| count(&confirmed, *bucket) + count(&wanted, *bucket) <= CONFIRMED_PLACES)
    }

    /// Flows go of which neither end sent anything for their state's time.
    pub fn sweep(&mut self) -> Swept {
        let mut swept = Swept::default();
        let flows = std::mem::take(&mut self.flows);
        for flow in flows {
            if self.is_over(&flow) {
                swept.removed += u32::from(flow.has_client_entry);
                continue;
            }
            let count = if flow.confirmed {
                &mut swept.confirmed
            } else {
                &mut swept.half_open
            };
            *count += u32::from(flow.has_client_entry);
            self.flows.push(flow);
        }
        swept
    }

    /// The program has lost these entries. New ones may have pushed them out: if their bucket was full of
    /// entries that nobody confirmed, and these were quiet for longest.
    pub fn lose(&mut self, lost: &[Entry], buckets: &Buckets<'_>) -> Result<(), Wrong> {
        let is_lost = |entry: &Entry| lost.contains(entry);
        for entry in lost {
            let bucket = buckets(entry.from, entry.to);
            let new = |(from, to): &&(SocketAddr, SocketAddr)| buckets(*from, *to) == bucket;
            let new_here = self.inserted.iter().filter(new).count();
            let (gone, left): (Vec<_>, Vec<_>) = (self.entries().into_iter())
                .filter(|other| !other.confirmed && buckets(other.from, other.to) == bucket)
                .partition(is_lost);
            let age = |entry: &Entry| entry.last_ns >> AGE_SHIFT;
            let is_new = |entry: &&Entry| self.inserted.contains(&(entry.from, entry.to));
            let why = if entry.confirmed {
                "it was confirmed"
            } else if gone.len() > new_here {
                "no new one took its place"
            } else if left.len() < HALF_OPEN_PLACES {
                "its bucket had room"
            } else if left
                .iter()
                .filter(|other| !is_new(other))
                .any(|o| age(o) < age(entry))
            {
                "others were quiet for longer"
            } else {
                continue;
            };
            return Err(format!("an entry was lost, though {why}: {entry}"));
        }
        for flow in &mut self.flows {
            for entry in flow.clone().entries().filter(is_lost) {
                match entry.of_client {
                    true => flow.has_client_entry = false,
                    false => flow.has_reply_entry = false,
                }
            }
        }
        self.flows.retain(|flow| !flow.is_gone());
        Ok(())
    }
}
