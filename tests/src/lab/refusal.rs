//! A kernel that lacks something, as a program sees it: a system call that fails. Done by a seccomp
//! filter, which a program inherits from the thread that starts it.

use std::{collections::BTreeMap, env::consts::ARCH};

use nix::errno::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Commands of `bpf(2)` (include/uapi/linux/bpf.h, enum bpf_cmd).
pub mod bpf {
    pub const MAP_CREATE: u64 = 0;
    pub const PROG_LOAD: u64 = 5;
    pub const OBJ_PIN: u64 = 6;
    pub const MAP_LOOKUP_BATCH: u64 = 24;
    pub const LINK_CREATE: u64 = 28;
}

/// A system call that fails, whatever its arguments or with one first argument.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    call: libc::c_long,
    first: Option<u64>,
    errno: Errno,
}

impl Refusal {
    #[must_use]
    pub fn of_mount(errno: Errno) -> Self {
        Self {
            call: libc::SYS_mount,
            first: None,
            errno,
        }
    }

    /// Every command of `bpf(2)`.
    #[must_use]
    pub fn of_bpf(errno: Errno) -> Self {
        Self {
            call: libc::SYS_bpf,
            ..Self::of_mount(errno)
        }
    }

    /// One command of `bpf(2)`, such as [`bpf::PROG_LOAD`].
    #[must_use]
    pub fn of_bpf_command(command: u64, errno: Errno) -> Self {
        Self {
            first: Some(command),
            ..Self::of_bpf(errno)
        }
    }

    /// From now on the calling thread, and every program that it starts, is refused.
    pub(super) fn hold_for_this_thread(self) {
        let rules = self.first.map(|value| {
            let first = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
                .expect("a system call has a first argument");
            SeccompRule::new(vec![first]).expect("a rule with a condition")
        });
        let filter = SeccompFilter::new(
            BTreeMap::from([(self.call, rules.into_iter().collect())]),
            SeccompAction::Allow,
            SeccompAction::Errno(self.errno as u32),
            ARCH.try_into()
                .expect("the tests run where seccomp filters do"),
        );
        let program: BpfProgram = filter
            .and_then(TryInto::try_into)
            .expect("a filter of one rule is small enough");
        apply_filter(&program)
            .unwrap_or_else(|error| panic!("cannot install a seccomp filter: {error}"));
    }
}
