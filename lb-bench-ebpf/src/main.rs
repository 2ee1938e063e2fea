//! Two XDP programs for measuring a third, which rewrites packets.
//!
//! A test run with a large repeat count hands the same buffer to the program again and again; a
//! program that rewrites packets would see its own output from the second time on. [`rewind`]
//! stands in front: it judges what the last run left, restores the packet, gives it the addresses
//! of the next flow, and tail-calls the program under test. [`baseline`] is the least that a
//! balancer could do. What varies is set by user space before loading; the verifier knows these
//! values and removes what they rule out.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the signature that #[xdp] asks for"
)]

use aya_ebpf::{
    Global,
    bindings::xdp_action,
    helpers::bpf_xdp_adjust_head,
    macros::{map, xdp},
    maps::{Array, ProgramArray},
    programs::XdpContext,
};

/// Words of 8 bytes that can be restored: the headers of TCP over IPv6 end in the tenth.
const WORDS_MAX: usize = 10;

/// How many words are restored, and what to.
#[unsafe(no_mangle)]
static WORDS: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static TEMPLATE: [Global<u64>; WORDS_MAX] = [const { Global::new(0) }; WORDS_MAX];
/// Length of the frame, and by how much the program under test must lengthen it at its front; less
/// than 0 where it must shorten it.
#[unsafe(no_mangle)]
static LENGTH: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static GROWTH: Global<i32> = Global::new(0);
/// The frame's front is put back once in so many packets, because that takes a call of the kernel,
/// whose cost is not the program's. Until then the next packet is laid at the front as it is, and what
/// the frame has beyond it is padding.
#[unsafe(no_mangle)]
static GROWTHS: Global<u32> = Global::new(1);
/// What the program under test must leave, where the mask has bits: the first three words, with
/// MAC addresses, lengths and hops, and the word that TCP's flags lie in, if it is still there.
#[unsafe(no_mangle)]
static LEFT: [Global<u64>; JUDGED] = [const { Global::new(0) }; JUDGED];
#[unsafe(no_mangle)]
static LEFT_MASK: [Global<u64>; JUDGED] = [const { Global::new(0) }; JUDGED];
const JUDGED: usize = 4;

/// Flow number `run * FLOW_STRIDE & FLOW_MASK` is next: an odd stride visits all in a scattered
/// order before it repeats one.
#[unsafe(no_mangle)]
static FLOW_MASK: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static FLOW_STRIDE: Global<u32> = Global::new(1);
/// The lower bits of a flow's number go to a port, beginning with this one: the destination's if
/// the next is 1, else the source's.
#[unsafe(no_mangle)]
static PORT_BASE: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static PORT_OF_DESTINATION: Global<u32> = Global::new(0);
/// The upper bits go to the last word of the source address, beginning with this one.
#[unsafe(no_mangle)]
static ADDRESS_BASE: Global<u32> = Global::new(0);
/// How many bits of a flow's number its port takes.
const PORT_BITS: u32 = 14;
/// Where an IPv4 header has its checksum and its source, from the frame's start on.
const IPV4_CHECKSUM_AT: usize = 24;
const IPV4_SOURCE_AT: usize = 26;

/// Where the measurement stands. Before each test run user space sets `started` and `grown` to 0.
#[repr(C)]
struct State {
    /// Runs so far, of all test runs.
    runs: u64,
    /// Runs that left something other than what they had to.
    wrong: u64,
    /// Whether this test run has had a run whose packet can be judged.
    started: u64,
    /// How many times [`GROWTH`] the frame is longer than at first.
    grown: u64,
}

#[map(name = "state")]
static STATE: Array<State> = Array::with_max_entries(1, 0);
#[map(name = "target")]
static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Judge, restore, go on. Who tail-calls a program that takes frames of several buffers must take them
/// too.
#[xdp(frags)]
pub fn rewind(ctx: XdpContext) -> u32 {
    // Few whole words are faster to restore than many bytes, so that the last few bytes of a
    // packet, which no program looks at, are left alone.
    if GROWTH.load() != 0 && judge_and_put_back(&ctx).is_none() {
        return xdp_action::XDP_ABORTED;
    }
    let _ = match WORDS.load() {
        6 => step::<6, 5, IPV4_SOURCE_AT, 34>(&ctx), // IPv4, bare headers
        8 => step::<8, 5, IPV4_SOURCE_AT, 34>(&ctx), // IPv4, 64 bytes
        9 => step::<9, 8, 34, 54>(&ctx),             // IPv6, bare headers
        10 => step::<10, 8, 34, 54>(&ctx),           // IPv6
        _ => None,
    };
    xdp_action::XDP_ABORTED
}

/// Judges a packet whose length was changed, and puts the frame's front back when it is time.
#[inline(never)]
fn judge_and_put_back(ctx: &XdpContext) -> Option<()> {
    let state = STATE.get_ptr_mut(0)?;
    // SAFETY: as in `step`.
    let state = unsafe { &mut *state };
    if state.started == 0 {
        return Some(());
    }
    let words: &[u64; 3] = view(ctx, 0)?;
    let difference = differs(words[0], 0) | differs(words[1], 1) | differs(words[2], 2);
    state.wrong += (difference != 0) as u64;
    state.grown += 1;
    if state.grown < GROWTHS.load() as u64 {
        return Some(());
    }
    state.grown = 0;
    let growths = GROWTH.load() * GROWTHS.load() as i32;
    // SAFETY: the context is the one this program was started with; no view from before is used
    // afterwards.
    (unsafe { bpf_xdp_adjust_head(ctx.ctx, growths) } == 0).then_some(())
}

#[inline(always)]
fn step<
    const WORDS: usize,
    const FLAGS_WORD: usize,
    const ADDRESS_AT: usize,
    const PORT_AT: usize,
>(
    ctx: &XdpContext,
) -> Option<()> {
    let state = STATE.get_ptr_mut(0)?;
    // SAFETY: test runs of one measurement follow one another on one CPU.
    let state = unsafe { &mut *state };
    let length = LENGTH.load() as i64 + GROWTH.load() as i64 * state.grown as i64;
    if (ctx.data_end() - ctx.data()) as i64 != length {
        state.wrong += 1;
        return None;
    }
    let words: &mut [u64; WORDS] = view(ctx, 0)?;
    if GROWTH.load() == 0 {
        let difference = differs(words[0], 0)
            | differs(words[1], 1)
            | differs(words[2], 2)
            | differs(words[FLAGS_WORD], 3);
        state.wrong += (difference != 0 && state.started != 0) as u64;
    }
    state.started = 1;
    for (word, original) in words.iter_mut().zip(&TEMPLATE) {
        *word = original.load();
    }

    let flow = (state.runs as u32).wrapping_mul(FLOW_STRIDE.load()) & FLOW_MASK.load();
    state.runs += 1;
    let port = PORT_BASE.load() + (flow & ((1 << PORT_BITS) - 1));
    let port_be = (port as u16).to_be();
    if PORT_OF_DESTINATION.load() == 1 {
        *view(ctx, PORT_AT + 2)? = port_be;
    } else {
        *view(ctx, PORT_AT)? = port_be;
    }
    let address: &mut u32 = view(ctx, ADDRESS_AT)?;
    let before = *address;
    let after = (ADDRESS_BASE.load() + (flow >> PORT_BITS)).to_be();
    if before != after {
        *address = after;
        if ADDRESS_AT == IPV4_SOURCE_AT {
            let checksum: &mut u16 = view(ctx, IPV4_CHECKSUM_AT)?;
            *checksum = changed(*checksum, before, after);
        }
    }
    // SAFETY: nothing here waits to be dropped.
    unsafe { TARGET.tail_call(ctx, 0) };
    None
}

/// A checksum after a word that it covers has changed (RFC 1624, equation 3).
#[inline(always)]
fn changed(checksum: u16, before: u32, after: u32) -> u16 {
    let mut sum = !checksum as u64 + !before as u64 + after as u64;
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    for _ in 0..3 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The bits in which a word that was left is not what it had to be.
#[inline(always)]
fn differs(word: u64, at: usize) -> u64 {
    (word & LEFT_MASK[at].load()) ^ LEFT[at].load()
}

/// Swaps the MAC addresses and sends the packet back.
#[xdp(frags)]
pub fn baseline(ctx: XdpContext) -> u32 {
    let Some(macs) = view::<[u16; 6]>(&ctx, 0) else {
        return xdp_action::XDP_ABORTED;
    };
    let [a, b, c, d, e, f] = *macs;
    *macs = [d, e, f, a, b, c];
    xdp_action::XDP_TX
}

/// The bytes at `offset`, if the packet has them.
#[inline(always)]
#[expect(
    clippy::mut_from_ref,
    reason = "the context is a handle; what is borrowed is the packet, which it does not hold"
)]
fn view<T>(ctx: &XdpContext, offset: usize) -> Option<&mut T> {
    let start = ctx.data() + offset;
    if start + size_of::<T>() > ctx.data_end() {
        return None;
    }
    // SAFETY: the bytes lie within the packet, which nobody else touches while the program runs,
    // and `T` is made of integers only. No caller holds two views of the same bytes. eBPF loads
    // and stores have no alignment on the machines that compile them to plain ones.
    Some(unsafe { &mut *(start as *mut T) })
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // No path leads here: the verifier would refuse an endless loop.
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
