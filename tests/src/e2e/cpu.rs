//! CPU time of the whole machine.
//!
//! Clients, balancer and servers share one kernel: what the balancer's part costs is done partly in its
//! process and partly in interrupts that come in whoever's time it is. So the whole machine is counted, the
//! same for all ways, and the difference between two ways is what their balancers differ by.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};

/// A moment, and what the CPUs have not done until then. The time in which they did something (user space,
/// kernel, interrupts) is what remains of two moments' distance: the kernel keeps idle time by the clock, and
/// the kinds of work by looking a few hundred times a second.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    at: Instant,
    cpus: usize,
    /// Idle, waiting for a disk, or the hypervisor's for others; of all CPUs together.
    not_working: Duration,
}

impl Cpu {
    /// Until now.
    ///
    /// # Errors
    /// When `/proc/stat` is not as the kernel documents it.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        let at = Instant::now();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        let per_second = per_second.context("the length of a tick is unknown")?;
        let ticks = idle(&text).context("/proc/stat has no line `cpu` with eight numbers")?;
        let cpus = text.lines().filter(|line| line.starts_with("cpu")).count() - 1;
        Ok(Self {
            at,
            cpus,
            not_working: Duration::from_secs_f64(ticks as f64 / per_second as f64),
        })
    }

    /// CPU time that was worked since then, over all CPUs.
    #[must_use]
    pub fn since(self, then: Self) -> Duration {
        let all = (self.at - then.at) * u32::try_from(self.cpus).unwrap_or(u32::MAX);
        all.saturating_sub(self.not_working.saturating_sub(then.not_working))
    }
}

/// Ticks of idle, iowait and steal: user, nice, system, idle, iowait, irq, softirq, steal, … (proc_stat(5)).
fn idle(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let numbers: Vec<u64> = (line.split_whitespace())
        .map_while(|word| word.parse().ok())
        .collect();
    let &[_, _, _, idle, iowait, _, _, steal, ..] = numbers.as_slice() else {
        return None;
    };
    Some(idle + iowait + steal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_did_is_no_work() {
        let stat =
            "cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(idle(stat), Some(80_054_000));
        assert_eq!(idle("cpu  1 2 3\n"), None);
        assert_eq!(idle("cpu0 1 2 3 4 5 6 7 8\n"), None);
    }

    #[test]
    fn and_a_cpu_that_works_is_seen() {
        let then = Cpu::now().expect("the kernel tells");
        while then.at.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        let worked = Cpu::now().expect("the kernel tells").since(then);
        assert!(worked >= Duration::from_millis(100), "{worked:?}");
    }
}
