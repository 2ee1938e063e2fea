//! What the figures were measured on.

use std::fs;

use nix::sys::utsname::uname;

/// The machine and its kernel.
#[derive(Clone, Debug)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub kernel: String,
}

impl Machine {
    /// The machine that this runs on.
    #[must_use]
    pub fn this() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = info
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
        Self {
            cpu: cpu.to_owned(),
            cpus: info
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            kernel: uname().map_or("unknown".to_owned(), |name| {
                name.release().to_string_lossy().into_owned()
            }),
        }
    }
}
