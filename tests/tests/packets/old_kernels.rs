//! What Linux 6.1, the oldest kernel that we promise to run on, would refuse, told on any kernel. `cargo xtask
//! test --kernel 6.1` asks a real one.

use std::collections::{BTreeMap, BTreeSet};

use aya_obj::{
    Object,
    generated::{BPF_F_INNER_MAP, BPF_PSEUDO_CALL, bpf_func_id, bpf_insn, bpf_map_type},
};
use lb_tests::linked::{CALL, CLASS, Chain, LOAD_64_BITS, Linked, programs};
use lb_userspace::datapath::OBJECT;

/// Bytes of stack that a chain of calls may take (`MAX_BPF_STACK`, include/linux/filter.h).
const STACK: u32 = 512;
/// Linux before 6.9 counts each frame in steps of so many bytes, whether compiled or interpreted
/// (kernel/bpf/verifier.c, `check_max_stack_depth`; since then `round_up_stack_depth` says 16).
const STEP: u32 = 32;
/// Functions that a chain of calls may have (`MAX_CALL_FRAMES`, include/linux/bpf_verifier.h).
const MOST_CALLS: u32 = 8;

#[test]
fn no_chain_of_calls_takes_more_stack_than_linux_before_6_9_grants() {
    for program in programs(OBJECT) {
        let Chain { bytes, .. } = program.deepest(STEP);
        println!("{}: {bytes} bytes", program.name);
        print!("{}", program.deepest(STEP));
        assert!(
            bytes <= STACK,
            "{}: {bytes} bytes of stack where Linux before 6.9 grants {STACK}, since it counts each frame \
             in steps of {STEP} bytes:\n{}Let a frame here shrink by a step, or hang what is new higher up.",
            program.name,
            program.deepest(STEP)
        );
    }
}

#[test]
fn no_chain_of_calls_is_longer_than_the_kernel_follows() {
    for program in programs(OBJECT) {
        let longest = program.longest();
        assert!(longest.bytes <= MOST_CALLS, "{}:\n{longest}", program.name);
    }
}

#[test]
fn linux_6_1_knows_every_helper_instruction_and_map() {
    const LAST_HELPER: i32 = bpf_func_id::BPF_FUNC_user_ringbuf_drain as i32;
    const LAST_MAP_TYPE: u32 = bpf_map_type::BPF_MAP_TYPE_USER_RINGBUF as u32;
    const MAP_FLAGS: u32 = (BPF_F_INNER_MAP << 1) - 1;

    let programs = programs(OBJECT);
    let mut helpers: BTreeMap<i32, BTreeSet<&str>> = BTreeMap::new();
    for (place, instruction) in programs.iter().flat_map(instructions) {
        assert!(
            is_known(instruction),
            "{place} has an instruction that Linux 6.1 does not know: {instruction:?}"
        );
        if instruction.code == CALL && instruction.src_reg() == 0 {
            helpers.entry(instruction.imm).or_default().insert(place);
        }
    }
    println!("helpers by number: {:?}", helpers.keys());
    for (helper, places) in helpers {
        assert!(
            (1..=LAST_HELPER).contains(&helper),
            "{places:?} call helper {helper}, and the last that Linux 6.1 knows is {LAST_HELPER}"
        );
    }

    let object = Object::parse(OBJECT).expect("the object file is sound");
    for (name, map) in &object.maps {
        let (kind, flags) = (map.map_type(), map.map_flags());
        assert!(kind <= LAST_MAP_TYPE, "map {name} is of type {kind}");
        assert_eq!(flags & !MAP_FLAGS, 0, "map {name} has flags {flags:#x}");
    }
}

/// All instructions of a program, each with the name of its function; of long ones the first half.
fn instructions(program: &Linked) -> impl Iterator<Item = (&str, &bpf_insn)> {
    program.functions.iter().flat_map(|function| {
        let mut skip = false;
        let whole = function.instructions.iter().filter(move |instruction| {
            let second = skip;
            skip = !second && instruction.code == LOAD_64_BITS;
            !second
        });
        whole.map(|instruction| (function.name.as_str(), instruction))
    })
}

/// Version 3 of the instruction set. The fourth, which Linux 6.6 has first, added operations and gave
/// meanings to the offset of some older ones (Documentation/bpf/standardization/instruction-set.rst).
fn is_known(instruction: &bpf_insn) -> bool {
    let &bpf_insn { code, off, imm, .. } = instruction;
    let operation = code & 0xf0;
    let mode = code & 0xe0;
    match code & CLASS {
        // Of 64 bits at once.
        0 => code == LOAD_64_BITS,
        // From and to memory, not extending a sign.
        1 | 2 => mode == 0x60,
        // Or changing words there: add, or, and, xor, exchange, compare and exchange.
        3 => mode == 0x60 || (mode == 0xc0 && imm & !0xf1 == 0),
        // Arithmetic without signed division and moves that extend a sign; of bytes swapped only those that
        // say which order they are wanted in.
        4 => operation <= 0xd0 && off == 0,
        7 => operation < 0xd0 && off == 0,
        // Calls of our own functions and of helpers, no others.
        5 if code == CALL => matches!(u32::from(instruction.src_reg()), 0 | BPF_PSEUDO_CALL),
        // Jumps, up to the last conditional one; those of 32 bits have no plain one.
        5 => operation < 0xe0,
        _ => operation != 0 && operation < 0xe0,
    }
}
