//! The eBPF programs as the kernel gets them, each linked with the functions that it calls, but before any
//! kernel has seen them. From that can be told what another kernel would refuse.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use aya_obj::{
    Object,
    generated::{BPF_PSEUDO_CALL, BPF_PSEUDO_FUNC, bpf_insn},
};

/// The register that holds the frame's upper end, and whose copies are addresses on the stack.
const FRAME_POINTER: u8 = 10;
/// Instructions by their code (Documentation/bpf/standardization/instruction-set.rst).
pub const CALL: u8 = 0x85;
pub const LOAD_64_BITS: u8 = 0x18;
const COPY_64_BITS: u8 = 0xbf;
const ADD_TO_64_BITS: u8 = 0x07;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;
/// The lower bits of a code: what kind of instruction it is.
pub const CLASS: u8 = 0x07;
const CLASS_LOAD: u8 = 1;
const CLASS_STORE_IMMEDIATE: u8 = 2;
const CLASS_STORE: u8 = 3;
const CLASS_ARITHMETIC_32: u8 = 4;
const CLASS_ARITHMETIC: u8 = 7;

/// A program and all that it calls.
#[derive(Debug)]
pub struct Linked {
    pub name: String,
    /// The first is the entry.
    pub functions: Vec<Function>,
}

/// A function of a program.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub instructions: Vec<bpf_insn>,
    /// Bytes of the stack that it reaches down to.
    pub frame: u32,
    /// What it calls, or hands to a helper that does: indices into [`Linked::functions`].
    pub calls: BTreeSet<usize>,
}

/// Functions of which each calls the next.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Names and frames, from the entry down.
    pub functions: Vec<(String, u32)>,
    /// Of all frames, each rounded up.
    pub bytes: u32,
}

/// All programs of an object file.
///
/// # Panics
/// When it is not one that aya can link.
#[must_use]
pub fn programs(object: &[u8]) -> Vec<Linked> {
    let mut object = Object::parse(object).expect("the object file is sound");
    // Each function has type information of its own, whose number stays with it when it is linked.
    let names: HashMap<u32, String> = (object.functions.values())
        .filter_map(|function| {
            let info = function.func_info.func_info.first()?;
            Some((info.type_id, readable(&function.name)))
        })
        .collect();
    let sections = (object.functions.keys())
        .map(|(section, _)| *section)
        .collect();
    object
        .relocate_calls(&sections)
        .expect("all that is called is in the object file");
    let mut programs: Vec<Linked> = (object.programs.iter())
        .map(|(name, program)| {
            let whole = &object.functions[&program.function_key()];
            let starts = (whole.func_info.func_info.iter())
                .map(|info| (info.insn_off as usize, names[&info.type_id].clone()))
                .collect();
            Linked {
                name: name.clone(),
                functions: split(&whole.instructions, &starts),
            }
        })
        .collect();
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    programs
}

/// Cuts a program into its functions, which begin at these instructions.
fn split(instructions: &[bpf_insn], starts: &BTreeMap<usize, String>) -> Vec<Function> {
    let ends = starts.keys().skip(1).copied().chain([instructions.len()]);
    let index_of = |start: usize| {
        (starts.keys().position(|&at| at == start))
            .unwrap_or_else(|| panic!("instruction {start} is called but begins no function"))
    };
    (starts.iter().zip(ends))
        .map(|((&start, name), end)| {
            let own = &instructions[start..end];
            let calls = (start..end)
                .filter(|&at| is_call(&instructions[at]))
                .map(|at| {
                    // Counted from the next instruction on.
                    let target = at as i64 + 1 + i64::from(instructions[at].imm);
                    index_of(usize::try_from(target).expect("a call stays in the program"))
                })
                .collect();
            Function {
                name: name.clone(),
                frame: frame(own),
                calls,
                instructions: own.to_vec(),
            }
        })
        .collect()
}

/// It calls another function of the program, or takes its address.
fn is_call(instruction: &bpf_insn) -> bool {
    let source = u32::from(instruction.src_reg());
    (instruction.code == CALL && source == BPF_PSEUDO_CALL)
        || (instruction.code == LOAD_64_BITS && source == BPF_PSEUDO_FUNC)
}

/// How far down the stack a function's instructions reach, or take addresses. The verifier counts what
/// they reach on ways that it finds possible: that is never more, and most often the same.
fn frame(instructions: &[bpf_insn]) -> u32 {
    let mut lowest = 0;
    // Registers that hold an address on the stack, counted from the frame's upper end. Behind a jump they
    // are forgotten: each address was counted where it was taken.
    const NONE: [Option<i32>; 16] = {
        let mut none = [None; 16];
        none[FRAME_POINTER as usize] = Some(0);
        none
    };
    let mut addresses = NONE;
    let mut skip = false;
    for instruction in instructions {
        // The second half of a long instruction is none of its own.
        if std::mem::take(&mut skip) {
            continue;
        }
        skip = instruction.code == LOAD_64_BITS;
        let to = usize::from(instruction.dst_reg());
        let from = usize::from(instruction.src_reg());
        let offset = i32::from(instruction.off);
        match (instruction.code, instruction.code & CLASS) {
            (COPY_64_BITS, _) => addresses[to] = addresses[from],
            (ADD_TO_64_BITS, _) => {
                addresses[to] = addresses[to].map(|address| address + instruction.imm);
                lowest = lowest.min(addresses[to].unwrap_or(0));
            }
            (_, CLASS_LOAD) => {
                lowest = lowest.min(addresses[from].map_or(0, |address| address + offset));
                addresses[to] = None;
            }
            (_, CLASS_STORE | CLASS_STORE_IMMEDIATE) => {
                lowest = lowest.min(addresses[to].map_or(0, |address| address + offset));
            }
            (JUMP | EXIT, _) => addresses = NONE,
            // Calls leave nothing in the registers of arguments.
            (CALL, _) => addresses[..6].fill(None),
            (LOAD_64_BITS, _) | (_, CLASS_ARITHMETIC_32 | CLASS_ARITHMETIC) => addresses[to] = None,
            _ => {}
        }
    }
    lowest.unsigned_abs()
}

impl Linked {
    /// The chain of calls that takes most of the stack, where each frame is rounded up to a multiple of
    /// `step`, and one without a frame counts as one byte (kernel/bpf/verifier.c, `check_max_stack_depth`).
    ///
    /// # Panics
    /// When a function calls itself, which no kernel accepts.
    #[must_use]
    pub fn deepest(&self, step: u32) -> Chain {
        self.heaviest(|function| function.frame.max(1).next_multiple_of(step))
    }

    /// The longest chain of calls; its `bytes` are functions.
    ///
    /// # Panics
    /// As [`Self::deepest`].
    #[must_use]
    pub fn longest(&self) -> Chain {
        self.heaviest(|_| 1)
    }

    fn heaviest(&self, weight: impl Fn(&Function) -> u32) -> Chain {
        let mut known = vec![None; self.functions.len()];
        self.below(0, &weight, &mut known, 0)
    }

    fn below(
        &self,
        index: usize,
        weight: &impl Fn(&Function) -> u32,
        known: &mut [Option<Chain>],
        depth: usize,
    ) -> Chain {
        if let Some(chain) = &known[index] {
            return chain.clone();
        }
        assert!(
            depth < self.functions.len(),
            "{} calls itself",
            self.functions[index].name
        );
        let function = &self.functions[index];
        let below = (function.calls.iter())
            .map(|&callee| self.below(callee, weight, known, depth + 1))
            .max_by_key(|chain| chain.bytes);
        let mut chain = below.unwrap_or(Chain {
            functions: Vec::new(),
            bytes: 0,
        });
        (chain.functions).insert(0, (function.name.clone(), function.frame));
        chain.bytes += weight(function);
        known[index] = Some(chain.clone());
        chain
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, (name, frame)) in self.functions.iter().enumerate() {
            writeln!(f, "{frame:>5} {:indent$}{name}", "", indent = 2 * depth)?;
        }
        Ok(())
    }
}

/// A symbol without its compiler's ornaments, where they are of the older kind: lengths before each part
/// of the path, and a hash at its end.
fn readable(symbol: &str) -> String {
    let Some(mut rest) = symbol.strip_prefix("_ZN") else {
        return symbol.to_owned();
    };
    let mut parts = Vec::new();
    while let Some(digits) = rest.find(|c: char| !c.is_ascii_digit()).filter(|&n| n > 0) {
        let length: usize = rest[..digits].parse().unwrap_or(0);
        let Some(part) = rest.get(digits..digits + length) else {
            break;
        };
        parts.push(part);
        rest = &rest[digits + length..];
    }
    parts.pop_if(|hash| hash.len() == 17 && hash.starts_with('h'));
    parts.join("::")
}
