//! The program `sweep`: removes flows whose timers ran out, counts the others, and puts the loads of
//! backends right by what it counted. No packet meets
//! it; the daemon runs it by `BPF_PROG_TEST_RUN` on one stretch of a table's buckets after the
//! other, because only a program can take a bucket's lock and change what it holds.
//!
//! A flow goes when neither direction saw a packet for its state's time, and both its entries go
//! together.

use core::ffi::c_void;

use aya_ebpf::{helpers::bpf_loop, programs::XdpContext};
use lb_common::{
    MAX_BACKENDS, V4, V6,
    flow::{Flow, FlowKey, side},
    hash,
    load::is_live,
    reason::Reason,
    service::flag,
    table::{Entry, HALF_OPEN_WAYS, SweepRequest, SweepResult, task},
};

use crate::{
    clock::now_ns,
    family::{Inet, Inet6},
    flow, load, maps,
    packet::view,
    table::Table,
};

/// One run.
#[repr(C)]
struct Pass {
    now_ns: u64,
    pass_ns: u64,
    first_bucket: u32,
    task: u32,
    flows: u32,
    half_open: u32,
    removed: u32,
    pad: u32,
}

/// Carries out the request that the frame holds, and writes the result over it.
#[inline(always)]
pub fn run(ctx: &XdpContext) -> Result<(), Reason> {
    let request: &SweepRequest = view(ctx, 0)?;
    let mut pass = Pass {
        now_ns: now_ns(),
        pass_ns: request.pass_ns,
        first_bucket: request.first_bucket,
        task: request.task,
        flows: 0,
        half_open: 0,
        removed: 0,
        pad: 0,
    };
    let (count, step) = match (request.task, request.family) {
        (task::BEGIN | task::END, _) => (MAX_BACKENDS, backend as *mut c_void),
        (_, 4) => (request.buckets, bucket::<Inet> as *mut c_void),
        (_, 6) => (request.buckets, bucket::<Inet6> as *mut c_void),
        _ => return Err(Reason::TableError),
    };
    let context = (&raw mut pass).cast();
    // SAFETY: the callbacks have the signature that the helper asks for, and `pass` outlives it.
    unsafe { bpf_loop(count, step, context, 0) };
    let result: &mut SweepResult = view(ctx, 0)?;
    result.flows = pass.flows;
    result.half_open = pass.half_open;
    result.removed = pass.removed;
    result.pad = [0; 3];
    Ok(())
}

/// One bucket: 0 goes on, 1 ends the loop.
extern "C" fn bucket<F: Sweep>(index: u32, context: *mut c_void) -> i64 {
    // SAFETY: `run` gave this context, and nobody else uses it meanwhile.
    let pass = unsafe { &mut *context.cast::<Pass>() };
    let bucket_idx = pass.first_bucket + index;
    let (Some(head), Some(entries)) = (F::head(bucket_idx), F::entries(bucket_idx)) else {
        return 1;
    };
    // SAFETY: both are live map values; what is read is only a hint for `look_at`.
    let (head, entries) = unsafe { (&*head, &*entries) };
    for (way, entry) in entries.iter().enumerate() {
        if head.tags[way] != 0 {
            F::sweep(pass, entry, way >= HALF_OPEN_WAYS);
        }
    }
    0
}

/// One backend's load, before or after all flows are met.
extern "C" fn backend(backend_idx: u32, context: *mut c_void) -> i64 {
    // SAFETY: `run` gave this context, and nobody else uses it meanwhile.
    let pass = unsafe { &mut *context.cast::<Pass>() };
    let is_counted = (maps::BACKENDS.get(backend_idx))
        .filter(|backend| backend.identity != 0)
        .and_then(|backend| maps::SERVICES.get(backend.service_idx as u32))
        .is_some_and(|service| service.flags & flag::COUNTED != 0);
    if !is_counted {
        return 0;
    }
    pass.flows += 1;
    let (pass_ns, begins) = (pass.pass_ns, pass.task == task::BEGIN);
    load::locked(backend_idx, |load| {
        if begins {
            load.met = 0;
            load.live_before = load.live;
            load.changes_before = load.changes;
            load.pass_ns = pass_ns;
        } else if load.pass_ns == pass_ns {
            let live = load.live as i64 + load.correction();
            load.live = if live < 0 { 0 } else { live as u32 };
        }
    });
    0
}

/// Looks at single entries of one address family.
trait Sweep: Table {
    fn sweep(pass: &mut Pass, entry: &Entry<Self::Address>, confirmed: bool);
}

/// As in `table`, the verifier shall check this once and not for each entry of a bucket.
macro_rules! sweep {
    ($family:ty, $address:ty, $sweep:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $sweep(
            pass: *mut Pass,
            entry: *const Entry<$address>,
            confirmed: u64,
        ) -> u64 {
            // SAFETY: the verifier holds every caller to pointers that are null or valid.
            if let (Some(pass), Some(entry)) = unsafe { (pass.as_mut(), entry.as_ref()) } {
                look_at::<$family>(pass, entry, confirmed != 0);
            }
            0
        }

        impl Sweep for $family {
            #[inline(always)]
            fn sweep(pass: &mut Pass, entry: &Entry<$address>, confirmed: bool) {
                $sweep(pass, entry, confirmed as u64);
            }
        }
    };
}

sweep!(Inet, V4, sweep_entry4);
sweep!(Inet6, V6, sweep_entry6);

#[inline(always)]
fn look_at<F: Table>(pass: &mut Pass, entry: &Entry<F::Address>, confirmed: bool) {
    if !flow::is_quiet(&entry.flow, pass.now_ns) {
        count(pass, &entry.flow, confirmed);
        return;
    }
    // From here on by a key of our own: the entry at hand may become another flow's.
    let Some(key) = key_of::<F>(entry) else {
        return;
    };
    let Some(found) = flow::held::<F>(key, hash::flow(key)) else {
        return;
    };
    if flow::is_over::<F>(key, &found, pass.now_ns) {
        let pair = flow::remove_pair::<F>(key, &found);
        pass.removed += (pair || found.entry.side == side::CLIENT) as u32;
    } else {
        count(pass, found.entry, found.confirmed);
    }
}

/// A copy of the entry's key.
#[inline(always)]
fn key_of<F: Table>(entry: &Entry<F::Address>) -> Option<&'static FlowKey<F::Address>> {
    let key = F::swept_key()?;
    // SAFETY: a per-CPU value, and the program is not preempted by another run of itself.
    let key = unsafe { &mut *key };
    key.copy_from(&entry.key);
    Some(key)
}

#[inline(always)]
fn count<A>(pass: &mut Pass, flow: &Flow<A>, confirmed: bool) {
    let client = (flow.side == side::CLIENT) as u32;
    if confirmed {
        pass.flows += client;
    } else {
        pass.half_open += client;
    }
    if pass.task == task::SWEEP_AND_MEET && client != 0 && is_live(flow.state) {
        meet(flow.backend_idx);
    }
    if let Some(seen) = maps::BACKENDS_SEEN.get_ptr_mut(flow.backend_idx) {
        // SAFETY: a live map value of one word, which only this program writes.
        unsafe { *seen = pass.pass_ns };
    }
}

/// Notes that a live flow of this backend was met, whether it is one of those that are counted as they
/// come and go or was there before.
#[inline(always)]
fn meet(backend_idx: u32) {
    if let Some(load) = maps::BACKEND_LOADS.get_ptr_mut(backend_idx) {
        // SAFETY: one word of a live map value, which only this program writes.
        unsafe { (*load).met += 1 };
    }
}
