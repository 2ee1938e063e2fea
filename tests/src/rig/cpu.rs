//! Keeping a thread on one CPU.

use std::{
    cell::OnceCell,
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

thread_local! {
    static PINNED: OnceCell<()> = const { OnceCell::new() };
}

/// Pins the calling thread to one of its CPUs, for good; threads take turns among the CPUs.
///
/// # Panics
/// When the kernel refuses.
pub fn pin_this_thread() {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    PINNED.with(|pinned| {
        pinned.get_or_init(|| {
            let this = Pid::from_raw(0);
            let allowed = sched_getaffinity(this).expect("a thread may ask for its CPUs");
            let cpus: Vec<usize> = (0..CpuSet::count())
                .filter(|cpu| allowed.is_set(*cpu).unwrap_or(false))
                .collect();
            let turn = TURN.fetch_add(1, Ordering::Relaxed);
            let mut one = CpuSet::new();
            one.set(cpus[turn % cpus.len()])
                .expect("the CPU is within the set");
            sched_setaffinity(this, &one).expect("a thread may narrow its CPUs");
        });
    });
}
