//! What is done to a flow that most packets do not need, in functions that the verifier knows as global, as
//! those of [`crate::table`]: each would else be looked at again for every state in which it is called.
//!
//! They are given an entry and its key, and what they tell in return is a number.

use lb_common::{
    V4, V6,
    flow::{Flow, FlowKey},
};

use super::{
    Found, Twin,
    life::Progress,
    tcp::{self, Signal},
    udp,
};
use crate::{
    family::{Family, Inet, Inet6},
    table::Table,
};

/// The functions, for one address family. The entry is one that was found under this key.
pub trait Once: Family {
    /// See [`super::is_over`].
    fn is_over(key: &FlowKey<Self::Address>, entry: &Flow<Self::Address>, now_ns: u64) -> bool;
    /// See [`super::has_twin`].
    fn has_twin(key: &FlowKey<Self::Address>, entry: &Flow<Self::Address>) -> bool;
    /// See [`super::learn_next_hop`].
    fn tell_twin_next_hop(key: &FlowKey<Self::Address>, entry: &Flow<Self::Address>);
    /// See [`super::quiet_ns`].
    fn quiet_ns(key: &FlowKey<Self::Address>, entry: &Flow<Self::Address>, now_ns: u64) -> u64;
    /// See [`super::remove_pair`].
    fn remove_pair(key: &FlowKey<Self::Address>, entry: &Flow<Self::Address>) -> bool;
    /// Carries out what a segment means for its flow's state.
    fn advance_tcp(
        signal: &Signal,
        key: &FlowKey<Self::Address>,
        entry: &mut Flow<Self::Address>,
        before: Before,
        now_ns: u64,
    ) -> After;
    /// The same for a datagram.
    fn advance_udp(
        key: &FlowKey<Self::Address>,
        entry: &mut Flow<Self::Address>,
        before: Before,
        now_ns: u64,
    ) -> After;
}

/// What is known of an entry beside its content: [`Found::confirmed`] in the lowest bit, [`Found::changed`]
/// in the others.
#[derive(Clone, Copy)]
pub struct Before(u64);

impl Before {
    #[inline(always)]
    pub fn of<F: Family>(found: &Found<F>) -> Self {
        Self(found.changed << 1 | found.confirmed as u64)
    }

    #[inline(always)]
    fn found<F: Table>(self, entry: &'static mut Flow<F::Address>) -> Found<F> {
        Found {
            entry,
            confirmed: self.0 & 1 != 0,
            // Nobody asks for it here.
            key_hash: 0,
            changed: self.0 >> 1,
        }
    }
}

/// What became of a flow: the parts of its entry that were changed, and one of the bits below or none.
#[derive(Clone, Copy)]
pub struct After(u64);

impl After {
    /// As [`Progress::Over`].
    const OVER: u64 = 1;
    /// It was confirmed: its entry lies elsewhere now.
    const MOVED: u64 = 2;
    const CHANGED_SHIFT: u64 = 2;

    #[inline(always)]
    fn of<F: Family>(before: Before, found: &Found<F>, progress: Progress) -> u64 {
        if progress == Progress::Over {
            return Self::OVER;
        }
        let moved = found.confirmed && before.0 & 1 == 0;
        found.changed << Self::CHANGED_SHIFT | if moved { Self::MOVED } else { 0 }
    }

    /// Takes over what became of a flow.
    #[inline(always)]
    pub fn take<F: Table>(self, key: &FlowKey<F::Address>, found: &mut Found<F>) -> Progress {
        if self.0 & Self::OVER != 0 {
            return Progress::Over;
        }
        if self.0 & Self::MOVED != 0 {
            let Some(now) = super::held::<F>(key, found.key_hash) else {
                // Somebody removed it meanwhile.
                return Progress::Over;
            };
            *found = now;
        }
        found.changed = self.0 >> Self::CHANGED_SHIFT;
        Progress::On
    }
}

macro_rules! once {
    (
        $family:ty, $address:ty, $is_over:ident, $has_twin:ident, $tell:ident, $quiet_ns:ident,
        $remove_pair:ident, $advance_tcp:ident, $advance_udp:ident
    ) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $is_over(
            key: *const FlowKey<$address>,
            entry: *const Flow<$address>,
            now_ns: u64,
        ) -> u64 {
            // SAFETY: the verifier holds every caller to pointers that are null or valid.
            match unsafe { (key.as_ref(), entry.as_ref()) } {
                (Some(key), Some(entry)) => {
                    super::try_is_over::<$family>(key, entry, now_ns) as u64
                }
                _ => 0,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $has_twin(
            key: *const FlowKey<$address>,
            entry: *const Flow<$address>,
        ) -> u64 {
            // SAFETY: as above.
            match unsafe { (key.as_ref(), entry.as_ref()) } {
                (Some(key), Some(entry)) => super::twin::<$family>(key, entry).is_some() as u64,
                _ => 0,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $tell(key: *const FlowKey<$address>, entry: *const Flow<$address>) -> u64 {
            // SAFETY: as above.
            if let (Some(key), Some(entry)) = unsafe { (key.as_ref(), entry.as_ref()) } {
                Twin::<$family>::take_next_hop(key, entry);
            }
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $quiet_ns(
            key: *const FlowKey<$address>,
            entry: *const Flow<$address>,
            now_ns: u64,
        ) -> u64 {
            // SAFETY: as above.
            match unsafe { (key.as_ref(), entry.as_ref()) } {
                (Some(key), Some(entry)) => super::try_quiet_ns::<$family>(key, entry, now_ns),
                _ => 0,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $remove_pair(
            key: *const FlowKey<$address>,
            entry: *const Flow<$address>,
        ) -> u64 {
            // SAFETY: as above.
            match unsafe { (key.as_ref(), entry.as_ref()) } {
                (Some(key), Some(entry)) => super::try_remove_pair::<$family>(key, entry) as u64,
                _ => 0,
            }
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $advance_tcp(
            signal: *const Signal,
            key: *const FlowKey<$address>,
            entry: *mut Flow<$address>,
            before: u64,
            now_ns: u64,
        ) -> u64 {
            // SAFETY: as above; an entry stays mapped as long as the program runs.
            let given = unsafe { (signal.as_ref(), key.as_ref(), entry.as_mut()) };
            let (Some(signal), Some(key), Some(entry)) = given else {
                return After::OVER;
            };
            let before = Before(before);
            let mut found = before.found::<$family>(entry);
            let progress = tcp::advance(signal, key, &mut found, now_ns);
            After::of(before, &found, progress)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $advance_udp(
            key: *const FlowKey<$address>,
            entry: *mut Flow<$address>,
            before: u64,
            now_ns: u64,
        ) -> u64 {
            // SAFETY: as above.
            let given = unsafe { (key.as_ref(), entry.as_mut()) };
            let (Some(key), Some(entry)) = given else {
                return After::OVER;
            };
            let before = Before(before);
            let mut found = before.found::<$family>(entry);
            let progress = udp::advance(key, &mut found, now_ns);
            After::of(before, &found, progress)
        }

        impl Once for $family {
            #[inline(always)]
            fn is_over(key: &FlowKey<$address>, entry: &Flow<$address>, now_ns: u64) -> bool {
                $is_over(key, entry, now_ns) != 0
            }

            #[inline(always)]
            fn has_twin(key: &FlowKey<$address>, entry: &Flow<$address>) -> bool {
                $has_twin(key, entry) != 0
            }

            #[inline(always)]
            fn tell_twin_next_hop(key: &FlowKey<$address>, entry: &Flow<$address>) {
                $tell(key, entry);
            }

            #[inline(always)]
            fn quiet_ns(key: &FlowKey<$address>, entry: &Flow<$address>, now_ns: u64) -> u64 {
                $quiet_ns(key, entry, now_ns)
            }

            #[inline(always)]
            fn remove_pair(key: &FlowKey<$address>, entry: &Flow<$address>) -> bool {
                $remove_pair(key, entry) != 0
            }

            #[inline(always)]
            fn advance_tcp(
                signal: &Signal,
                key: &FlowKey<$address>,
                entry: &mut Flow<$address>,
                before: Before,
                now_ns: u64,
            ) -> After {
                After($advance_tcp(signal, key, entry, before.0, now_ns))
            }

            #[inline(always)]
            fn advance_udp(
                key: &FlowKey<$address>,
                entry: &mut Flow<$address>,
                before: Before,
                now_ns: u64,
            ) -> After {
                After($advance_udp(key, entry, before.0, now_ns))
            }
        }
    };
}

once!(
    Inet,
    V4,
    flow_is_over4,
    flow_has_twin4,
    flow_tell_twin4,
    flow_quiet_ns4,
    flow_remove4,
    flow_tcp4,
    flow_udp4
);
once!(
    Inet6,
    V6,
    flow_is_over6,
    flow_has_twin6,
    flow_tell_twin6,
    flow_quiet_ns6,
    flow_remove6,
    flow_tcp6,
    flow_udp6
);
