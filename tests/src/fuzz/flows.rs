//! What the judge knows of flows: only what packets showed that came out of the program.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::end::{End, Ways};
use crate::packet::Mac;

/// Protocol and ways of packets as they arrive.
pub type Key = (u8, Ways);

/// How far a TCP flow has come for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The client's SYN went on.
    Opened,
    /// So did the backend's SYN-ACK; this acknowledgement confirms it.
    Answered(u32),
    /// So did the client's ACK: from now on nothing may take it away.
    Established,
    /// Something happened after which much is allowed.
    Unsure,
}

/// A flow, by the client's packets.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub service_idx: u32,
    pub backend_idx: u32,
    /// Of the client's packets as the backend gets them; in one-way modes as they arrive.
    pub local: Ways,
    pub stage: Stage,
}

/// A flow, by the backend's packets.
#[derive(Clone, Copy, Debug)]
pub struct Back {
    /// Of the client's packets.
    pub client: Ways,
    pub backend_idx: u32,
    /// Where the client's last packet came from.
    pub router: Mac,
    /// Our own addresses to which its packets came. Which of them is in force is
    /// not to be told: it is learned with the router's, or when a flow that was displaced begins anew.
    pub fronts: [Mac; FRONTS],
}

/// Of our own addresses that are remembered.
pub const FRONTS: usize = 8;

impl Back {
    /// With what was known before.
    #[must_use]
    pub fn after(mut self, earlier: Option<&Self>) -> Self {
        // With another router its packet's destination is learned, whatever was before.
        if let Some(earlier) = earlier
            && earlier.router == self.router
        {
            let front = self.fronts[0];
            self.fronts = earlier.fronts;
            if !self.fronts.contains(&front) {
                self.fronts.rotate_right(1);
                self.fronts[0] = front;
            }
        }
        self
    }

    /// The own address of ours in what came out, if it may be there; else the last one.
    #[must_use]
    pub fn front(&self, out: &[u8]) -> Mac {
        let found = self
            .fronts
            .iter()
            .find(|front| out[6..].starts_with(*front));
        *found.unwrap_or(&self.fronts[0])
    }
}

/// What the fragments of a datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Datagram {
    pub source: End,
    pub destination: End,
    pub identification: u32,
    pub protocol: u8,
}

#[derive(Default)]
pub struct Flows {
    forth: HashMap<Key, Flow, BuildHasherDefault<Quick>>,
    back: HashMap<Key, Back, BuildHasherDefault<Quick>>,
    /// By the end of a tunnel, the last word about the way there: the source that it was for, and the MTU.
    pub paths: HashMap<End, (End, usize), BuildHasherDefault<Quick>>,
    /// By the datagram, what its first fragment was.
    firsts: HashMap<Datagram, Key, BuildHasherDefault<Quick>>,
}

impl Flows {
    pub fn clear(&mut self) {
        self.forth.clear();
        self.back.clear();
        self.firsts.clear();
        self.paths.clear();
    }

    #[must_use]
    pub fn forth(&self, key: &Key) -> Option<&Flow> {
        self.forth.get(key)
    }

    #[must_use]
    pub fn back(&self, key: &Key) -> Option<&Back> {
        self.back.get(key)
    }

    #[must_use]
    pub fn first(&self, datagram: &Datagram) -> Option<&Key> {
        self.firsts.get(datagram)
    }

    pub fn note_first(&mut self, datagram: Datagram, key: Key) {
        self.firsts.insert(datagram, key);
    }

    pub fn stage(&mut self, key: &Key) -> Option<&mut Stage> {
        self.forth.get_mut(key).map(|flow| &mut flow.stage)
    }

    /// Notes a flow, and in modes that see both directions how its replies come.
    pub fn note(&mut self, (protocol, client): Key, flow: Flow, back: Option<Back>) {
        if let Some(back) = back {
            self.back.insert((protocol, flow.local.back()), back);
        }
        self.forth.insert((protocol, client), flow);
    }
}

/// A hash for keys of which nobody wishes us ill.
#[derive(Default)]
pub struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
