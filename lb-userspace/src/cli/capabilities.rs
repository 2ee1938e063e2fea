//! What a process may do, as Linux counts it (capabilities(7)).

use std::fs;

/// Bits of the capability sets (include/uapi/linux/capability.h).
pub(super) const NET_RAW: u32 = 13;
const NEEDED: [(u32, &str); 3] = [(12, "CAP_NET_ADMIN"), (38, "CAP_PERFMON"), (39, "CAP_BPF")];
const SYS_ADMIN: u32 = 21;

/// A process's effective capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities(pub(super) u64);

impl Capabilities {
    /// Those of a process by its number, or `self`. None where that cannot be read.
    pub(super) fn of(process: &str) -> Self {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let effective = (status.lines())
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        Self(effective.unwrap_or_default())
    }

    pub(super) fn has(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// It may mount.
    pub(super) fn mounts(self) -> bool {
        self.has(SYS_ADMIN)
    }

    /// The names of those that every daemon needs and that are not there.
    pub(super) fn missing(self) -> Vec<&'static str> {
        let missing = NEEDED.iter().filter(|(bit, _)| !self.has(*bit));
        missing.map(|(_, name)| *name).collect()
    }
}
