//! The clock of all timers: `CLOCK_MONOTONIC`, give or take two of the kernel's ticks, which is enough for
//! timers of seconds.
//!
//! It counts ticks. The kernel's counter of them is read by one load, by which the verifier replaces the
//! call of the helper (since Linux 5.6); to ask the clock itself takes two calls, whose returns cost
//! 10 ns and more each on processors on which the kernel guards them.

use core::cell::UnsafeCell;

use aya_ebpf::{
    Global,
    helpers::{bpf_jiffies64, bpf_ktime_get_coarse_ns},
};

/// Nanoseconds of a tick; set when the program is loaded.
#[unsafe(no_mangle)]
static TICK_NS: Global<u64> = Global::new(0);

/// Nanoseconds by which the ticks are ahead of the clock: they do not begin at 0.
#[unsafe(no_mangle)]
static TICKS_AHEAD_NS: Ahead = Ahead(UnsafeCell::new(0));

struct Ahead(UnsafeCell<u64>);

// SAFETY: one aligned word, read and written whole.
unsafe impl Sync for Ahead {}

#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: the word is a live map value.
    ticks_ns().wrapping_sub(unsafe { TICKS_AHEAD_NS.0.get().read_volatile() })
}

#[inline(always)]
fn ticks_ns() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_jiffies64() }.wrapping_mul(TICK_NS.load())
}

/// Sets the clock, unless it is right already: it shall not jump to and fro with the ticks that come
/// while both are read.
#[inline(always)]
pub fn set() {
    // SAFETY: a helper without arguments.
    let clock_ns = unsafe { bpf_ktime_get_coarse_ns() };
    if now_ns().abs_diff(clock_ns) > 2 * TICK_NS.load() {
        let ahead_ns = ticks_ns().wrapping_sub(clock_ns);
        // SAFETY: as above.
        unsafe { TICKS_AHEAD_NS.0.get().write_volatile(ahead_ns) };
    }
}
