//! The flow tables ([`lb_common::table`]). Searching takes no lock. Confirmed entries are changed in
//! place; half-open ones are copied out and written back part by part under the lock of their
//! bucket, because their place may become another flow's at any time. What inserts, moves or
//! removes an entry holds that lock.
//!
//! An insert writes the entry before the tag that leads to it, and x86 keeps stores in order, so
//! that who finds the tag finds the entry whole.

mod bucket;

use lb_common::{
    Address as _, V4, V6,
    flow::{Flow, FlowKey},
    hash, mapped,
    service::Timeouts,
    table::{HALF_OPEN_WAYS, WAYS},
    unmapped,
};

use crate::{
    family::{Family, Inet, Inet6},
    flow::Once,
};

/// Parts of a half-open entry, as bits for [`Table::write`].
pub mod part {
    pub const LAST_SEEN: u64 = 1;
    /// State, who closed, flags and the pending acknowledgement.
    pub const STATE: u64 = 2;
    pub const NEXT_HOP: u64 = 4;
}

/// Where an entry lies.
#[derive(Clone, Copy)]
pub struct Position(u64);

impl Position {
    /// Instead of a position: there is no such entry.
    const NONE: u64 = u64::MAX;
    /// The lower bits tell the way, the others the bucket.
    const WAY_BITS: u64 = 8;

    #[inline(always)]
    fn way(self) -> usize {
        (self.0 & ((1 << Self::WAY_BITS) - 1)) as usize
    }

    #[inline(always)]
    fn bucket_idx(self) -> u32 {
        (self.0 >> Self::WAY_BITS) as u32
    }

    /// It is one of those for confirmed flows.
    #[inline(always)]
    pub fn is_confirmed(self) -> bool {
        self.way() >= HALF_OPEN_WAYS
    }
}

/// What became of an insert.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    Yes,
    /// A half-open flow has this key.
    HalfOpenThere,
    /// A confirmed flow has this key.
    ConfirmedThere,
    /// There is no such table.
    Never,
}

impl Inserted {
    #[inline(always)]
    const fn code(self) -> u64 {
        match self {
            Self::Yes => 0,
            Self::HalfOpenThere => 1,
            Self::ConfirmedThere => 2,
            Self::Never => 3,
        }
    }

    #[inline(always)]
    const fn from_code(code: u64) -> Self {
        match code {
            0 => Self::Yes,
            1 => Self::HalfOpenThere,
            2 => Self::ConfirmedThere,
            _ => Self::Never,
        }
    }
}

/// The table of one address family.
pub trait Table: Family + Once {
    /// Where the entry with this key and hash lies.
    fn find(key: &FlowKey<Self::Address>, key_hash: u64) -> Option<Position>;
    /// The same without a call, for the way of every packet.
    fn find_in_line(key: &FlowKey<Self::Address>, key_hash: u64) -> Option<Position>;
    /// The confirmed flow there.
    fn at(position: Position) -> Option<&'static mut Flow<Self::Address>>;
    /// Copies the half-open entry with this key and hash. False when there is none.
    fn read(key: &FlowKey<Self::Address>, key_hash: u64, to: &mut Flow<Self::Address>) -> bool;
    /// Writes these parts ([`part`]) of `from` into the half-open entry with this key, if there is
    /// one.
    fn write(key: &FlowKey<Self::Address>, from: &Flow<Self::Address>, parts: u64);
    /// Inserts a half-open entry, in the place of the bucket's oldest where none is free. A half-open
    /// entry that has this key is overwritten, but with `keep` only if its timer has run out.
    fn insert(
        key: &FlowKey<Self::Address>,
        key_hash: u64,
        flow: &Flow<Self::Address>,
        keep: Option<&Timeouts>,
    ) -> Inserted;
    /// The same for the replies of a new flow, with `crossed` other than 0 only if the other family's table
    /// holds nothing for the same packets: those of IPv4 may be of a flow of IPv4 or of one between the
    /// families, which lies in the table of IPv6.
    fn claim(
        key: &FlowKey<Self::Address>,
        flow: &Flow<Self::Address>,
        keep: &Timeouts,
        crossed: u32,
    ) -> Inserted;
    /// Puts the flow among the confirmed ones, and its half-open entry away; one that is confirmed
    /// already stays as it is. False when there is no room, or no such entry.
    fn confirm(key: &FlowKey<Self::Address>, flow: &Flow<Self::Address>) -> bool;
    /// Undoes that.
    fn demote(key: &FlowKey<Self::Address>);
    /// Removes the entry with this key, if there is one.
    fn remove(key: &FlowKey<Self::Address>);
    /// Puts in an entry of another layout's table, with `confirmed` other than 0 among the confirmed ones,
    /// unless it is there as it was then or later: one of [`lb_common::carry::outcome`].
    fn carry(key: &FlowKey<Self::Address>, flow: &Flow<Self::Address>, confirmed: u32) -> u32;
}

/// See [`Table::claim`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn table_elsewhere4(key: *const FlowKey<V4>) -> u64 {
    // SAFETY: the verifier holds every caller to pointers that are null or valid.
    let Some(key) = (unsafe { key.as_ref() }) else {
        return 0;
    };
    let wide = FlowKey {
        source: mapped(key.source),
        destination: mapped(key.destination),
        source_port_be: key.source_port_be,
        destination_port_be: key.destination_port_be,
        protocol: key.protocol,
    };
    (bucket::find::<Inet6>(&wide, hash::flow(&wide)) != Position::NONE) as u64
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn table_elsewhere6(key: *const FlowKey<V6>) -> u64 {
    // SAFETY: as above.
    let Some(key) = (unsafe { key.as_ref() }) else {
        return 0;
    };
    let narrow = FlowKey {
        source: unmapped(&key.source),
        destination: unmapped(&key.destination),
        source_port_be: key.source_port_be,
        destination_port_be: key.destination_port_be,
        protocol: key.protocol,
    };
    if !mapped(narrow.source).same(key.source) {
        return 0;
    }
    (bucket::find::<Inet>(&narrow, hash::flow(&narrow)) != Position::NONE) as u64
}

/// Makes each operation a function that the verifier knows as global: it checks it once, and not
/// again with every state in which it is called (since Linux 5.6). Such functions are told apart by
/// names, take pointers that may be null, and return integers.
macro_rules! table {
    (
        $family:ty, $address:ty, $find:ident, $read:ident, $write:ident, $insert:ident,
        $confirm:ident, $demote:ident, $remove:ident, $elsewhere:ident, $carry:ident
    ) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $find(key: *const FlowKey<$address>, key_hash: u64) -> u64 {
            // SAFETY: the verifier holds every caller to pointers that are null or valid.
            match unsafe { key.as_ref() } {
                Some(key) => bucket::find::<$family>(key, key_hash),
                None => Position::NONE,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $read(
            key: *const FlowKey<$address>,
            key_hash: u64,
            to: *mut Flow<$address>,
        ) -> u64 {
            // SAFETY: as above.
            match unsafe { (key.as_ref(), to.as_mut()) } {
                (Some(key), Some(to)) => bucket::read::<$family>(key, key_hash, to) as u64,
                _ => 0,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $write(
            key: *const FlowKey<$address>,
            from: *const Flow<$address>,
            parts: u64,
        ) -> u64 {
            // SAFETY: as above.
            if let (Some(key), Some(from)) = unsafe { (key.as_ref(), from.as_ref()) } {
                bucket::write::<$family>(key, from, parts);
            }
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $insert(
            key: *const FlowKey<$address>,
            key_hash: u64,
            flow: *const Flow<$address>,
            keep: *const Timeouts,
            crossed: u32,
        ) -> u64 {
            if crossed != 0 && $elsewhere(key) != 0 {
                return Inserted::ConfirmedThere.code();
            }
            // SAFETY: as above.
            match unsafe { (key.as_ref(), flow.as_ref(), keep.as_ref()) } {
                (Some(key), Some(flow), keep) => {
                    bucket::insert::<$family>(key, key_hash, flow, keep)
                }
                _ => Inserted::Never,
            }
            .code()
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $confirm(
            key: *const FlowKey<$address>,
            flow: *const Flow<$address>,
            found: u64,
        ) -> u64 {
            // SAFETY: as above.
            match unsafe { (key.as_ref(), flow.as_ref()) } {
                (Some(key), Some(flow)) => bucket::confirm::<$family>(key, flow, found) as u64,
                _ => 0,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $demote(key: *const FlowKey<$address>, found: u64) -> u64 {
            // SAFETY: as above.
            if let Some(key) = unsafe { key.as_ref() } {
                bucket::demote::<$family>(key, found);
            }
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $remove(key: *const FlowKey<$address>, found: u64) -> u64 {
            // SAFETY: as above.
            if let Some(key) = unsafe { key.as_ref() } {
                bucket::remove::<$family>(key, found);
            }
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $carry(
            key: *const FlowKey<$address>,
            flow: *const Flow<$address>,
            confirmed: u32,
        ) -> u64 {
            // SAFETY: as above.
            match unsafe { (key.as_ref(), flow.as_ref()) } {
                (Some(key), Some(flow)) => {
                    bucket::carry::<$family>(key, flow, confirmed != 0) as u64
                }
                _ => 0,
            }
        }

        impl Table for $family {
            #[inline(always)]
            fn find(key: &FlowKey<$address>, key_hash: u64) -> Option<Position> {
                let position = $find(key, key_hash);
                (position != Position::NONE).then_some(Position(position))
            }

            #[inline(always)]
            fn find_in_line(key: &FlowKey<$address>, key_hash: u64) -> Option<Position> {
                let position = bucket::find_in_line::<$family>(key, key_hash);
                (position != Position::NONE).then_some(Position(position))
            }

            #[inline(always)]
            fn at(position: Position) -> Option<&'static mut Flow<$address>> {
                let entries = <$family>::entries(position.bucket_idx())?;
                let way = position.way();
                if way >= WAYS {
                    return None;
                }
                // SAFETY: an entry stays mapped as long as the program runs; `flow` says who
                // writes it.
                Some(unsafe { &mut (*entries)[way].flow })
            }

            #[inline(always)]
            fn read(key: &FlowKey<$address>, key_hash: u64, to: &mut Flow<$address>) -> bool {
                $read(key, key_hash, to) != 0
            }

            #[inline(always)]
            fn write(key: &FlowKey<$address>, from: &Flow<$address>, parts: u64) {
                $write(key, from, parts);
            }

            #[inline(always)]
            fn insert(
                key: &FlowKey<$address>,
                key_hash: u64,
                flow: &Flow<$address>,
                keep: Option<&Timeouts>,
            ) -> Inserted {
                let keep = keep.map_or(core::ptr::null(), core::ptr::from_ref);
                Inserted::from_code($insert(key, key_hash, flow, keep, 0))
            }

            #[inline(always)]
            fn claim(
                key: &FlowKey<$address>,
                flow: &Flow<$address>,
                keep: &Timeouts,
                crossed: u32,
            ) -> Inserted {
                Inserted::from_code($insert(key, hash::flow(key), flow, keep, crossed))
            }

            #[inline(always)]
            fn confirm(key: &FlowKey<$address>, flow: &Flow<$address>) -> bool {
                $confirm(key, flow, $find(key, hash::flow(key))) != 0
            }

            #[inline(always)]
            fn demote(key: &FlowKey<$address>) {
                $demote(key, $find(key, hash::flow(key)));
            }

            #[inline(always)]
            fn remove(key: &FlowKey<$address>) {
                $remove(key, $find(key, hash::flow(key)));
            }

            #[inline(always)]
            fn carry(key: &FlowKey<$address>, flow: &Flow<$address>, confirmed: u32) -> u32 {
                $carry(key, flow, confirmed) as u32
            }
        }
    };
}

table!(
    Inet,
    V4,
    table_find4,
    table_read4,
    table_write4,
    table_insert4,
    table_confirm4,
    table_demote4,
    table_remove4,
    table_elsewhere4,
    table_carry4
);
table!(
    Inet6,
    V6,
    table_find6,
    table_read6,
    table_write6,
    table_insert6,
    table_confirm6,
    table_demote6,
    table_remove6,
    table_elsewhere6,
    table_carry6
);
