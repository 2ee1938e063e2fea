//! What happened in one part of a run, so that it can be told, and run again.

use super::{make::Made, random::Random, world::Change};

/// A packet or a change.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Packet {
        /// Its bytes, among all bytes.
        start: usize,
        len: usize,
        made: Made,
    },
    Change(Change),
}

#[derive(Default)]
pub struct Story {
    bytes: Vec<u8>,
    pub steps: Vec<Step>,
}

impl Story {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.steps.clear();
    }

    pub fn packet(&mut self, frame: &[u8], made: Made) {
        let (start, len) = (self.bytes.len(), frame.len());
        self.bytes.extend_from_slice(frame);
        self.steps.push(Step::Packet { start, len, made });
    }

    pub fn change(&mut self, change: Change) {
        self.steps.push(Step::Change(change));
    }

    #[must_use]
    pub fn bytes(&self, start: usize, len: usize) -> &[u8] {
        &self.bytes[start..start + len]
    }

    /// One of the last packets.
    #[must_use]
    pub fn any_packet(&self, random: &mut Random) -> Option<&[u8]> {
        let last = &self.steps[self.steps.len().saturating_sub(64)..];
        if last.is_empty() {
            return None;
        }
        match last[random.below(last.len())] {
            Step::Packet { start, len, .. } => Some(self.bytes(start, len)),
            Step::Change(_) => None,
        }
    }
}
