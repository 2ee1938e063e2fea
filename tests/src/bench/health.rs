//! `bench health`: what it costs to watch many backends. The daemon's own checker probes servers on
//! the loopback of a network namespace of its own, pinned to one CPU.

use std::{
    collections::HashMap,
    fmt::{self, Display, Formatter},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::health::{Checker, Initial, Kind, Rules, Tally, Target, Wanted};
use nix::{
    sched::{CloneFlags, CpuSet, sched_getaffinity, sched_setaffinity, unshare},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};
use socket2::{Domain, Socket, Type};
use tokio::sync::mpsc;

const PORT: u16 = 4000;
const JITTER_PERCENT: u8 = 10;
/// What a probe may be late beyond its interval and jitter.
const LATE: Duration = Duration::from_millis(50);

/// What to watch, and how long.
#[derive(Clone, Copy, Debug)]
pub struct HealthEffort {
    pub backends: u32,
    pub interval: Duration,
    pub measured: Duration,
}

/// What it took.
#[derive(Clone, Debug)]
pub struct HealthReport {
    effort: HealthEffort,
    /// How long was measured, by the clock.
    took: Duration,
    probes: usize,
    /// Of the checker's thread.
    cpu: Duration,
    /// Probes that came no later after the one before than they may.
    on_time: usize,
    longest_pause: Duration,
    up: usize,
}

/// Probes that came, by when and at which address, since the last look.
type Arrivals = Arc<Mutex<Vec<(Instant, Ipv4Addr)>>>;

/// Measures.
///
/// # Errors
/// When there are more backends than addresses, or the namespace cannot be made.
pub fn health(effort: HealthEffort) -> Result<HealthReport> {
    ensure!(
        (1..=1 << 20).contains(&effort.backends),
        "use 1 to 1048576 backends"
    );
    // A thread of its own: the namespace goes with it.
    let measured = thread::spawn(move || measure(effort)).join();
    measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn measure(effort: HealthEffort) -> Result<HealthReport> {
    unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    ensure!(up.context("cannot start ip")?.success(), "lo stays down");

    let cpus = allowed_cpus()?;
    let arrivals = Arrivals::default();
    let stop = Arc::new(AtomicBool::new(false));
    let server = serve(&arrivals, &stop, cpus.last().copied())?;
    pin(cpus.first().copied())?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot make a runtime")?;
    let report = runtime.block_on(watch(effort, &arrivals));
    stop.store(true, Ordering::Relaxed);
    // Wakes the server from its waiting.
    let _ = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, PORT));
    server.join().expect("the server does not panic");
    Ok(report)
}

async fn watch(effort: HealthEffort, arrivals: &Arrivals) -> HealthReport {
    let HealthEffort {
        backends,
        interval,
        measured,
    } = effort;
    let (sender, mut events) = mpsc::channel(1024);
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let mut checker = Checker::new(sender);
    checker.apply(
        (0..backends)
            .map(|number| wanted(number, interval))
            .collect(),
    );
    // All have been probed more than once, and jitter has spread them.
    tokio::time::sleep(interval * 3).await;
    let last_before = last_of(&taken(arrivals));

    let (begun, cpu_begun) = (Instant::now(), thread_cpu());
    tokio::time::sleep(measured).await;
    let (took, cpu) = (begun.elapsed(), thread_cpu() - cpu_begun);
    let seen = taken(arrivals);
    let limit = interval.mul_f64(1.0 + f64::from(JITTER_PERCENT) / 100.0) + LATE;
    let mut last = last_before;
    let pauses: Vec<Duration> = (seen.iter())
        .filter_map(|(at, address)| {
            let before = last.insert(*address, *at)?;
            Some(at.duration_since(before))
        })
        .collect();
    let up = (0..backends).filter(|id| checker.snapshot((*id).into()).is_some_and(|seen| seen.up));
    HealthReport {
        effort,
        took,
        probes: seen.len(),
        cpu,
        on_time: pauses.iter().filter(|pause| **pause <= limit).count(),
        longest_pause: pauses.into_iter().max().unwrap_or_default(),
        up: up.count(),
    }
}

fn wanted(number: u32, interval: Duration) -> Wanted {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + number);
    Wanted {
        id: number.into(),
        target: Some(Target {
            address: SocketAddr::new(IpAddr::V4(address), PORT),
            kind: Kind::Tcp,
            timeout: Duration::from_secs(1),
        }),
        through: None,
        interval,
        fast_interval: interval,
        jitter_percent: JITTER_PERCENT,
        rules: Rules {
            rise: 2,
            fall: 3,
            damping: None,
        },
        initial: Initial::Up {
            since: SystemTime::UNIX_EPOCH,
        },
        tally: Tally::default(),
    }
}

/// Accepts on every address of the loopback, and notes who was asked and when.
fn serve(
    arrivals: &Arrivals,
    stop: &Arc<AtomicBool>,
    cpu: Option<usize>,
) -> Result<thread::JoinHandle<()>> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.listen(4096)?;
    let (arrivals, stop) = (Arc::clone(arrivals), Arc::clone(stop));
    Ok(thread::spawn(move || {
        // On the same CPU it would work as well, and take time from what is measured.
        let _ = pin(cpu);
        while !stop.load(Ordering::Relaxed) {
            let asked = socket.accept().and_then(|(stream, _)| stream.local_addr());
            let asked = asked.ok().and_then(|asked| asked.as_socket_ipv4());
            if let Some(asked) = asked {
                let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
                arrivals.push((Instant::now(), *asked.ip()));
            }
        }
    }))
}

fn taken(arrivals: &Arrivals) -> Vec<(Instant, Ipv4Addr)> {
    std::mem::take(&mut *arrivals.lock().unwrap_or_else(PoisonError::into_inner))
}

fn last_of(arrivals: &[(Instant, Ipv4Addr)]) -> HashMap<Ipv4Addr, Instant> {
    arrivals
        .iter()
        .map(|(at, address)| (*address, *at))
        .collect()
}

fn allowed_cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).context("cannot read the allowed CPUs")?;
    let is_allowed = |cpu: &usize| allowed.is_set(*cpu).unwrap_or(false);
    Ok((0..CpuSet::count()).filter(is_allowed).collect())
}

/// Binds this thread to a CPU.
fn pin(cpu: Option<usize>) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu.context("no CPU is allowed")?)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("cannot bind a thread to a CPU")
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .expect("every thread has this clock")
        .into()
}

impl Display for HealthReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let HealthEffort {
            backends, interval, ..
        } = self.effort;
        let seconds = self.took.as_secs_f64();
        let share = |part: usize, of: usize| part as f64 * 100.0 / of.max(1) as f64;
        writeln!(
            f,
            "{backends} backends, a TCP connection each every {interval:?} (jitter \
             {JITTER_PERCENT} %), one core, {seconds:.1} s"
        )?;
        writeln!(f, "  probes         {:.0}/s", self.probes as f64 / seconds)?;
        writeln!(
            f,
            "  CPU            {:.1} % of a core, {:.1} µs a probe, both ends' kernel included",
            self.cpu.as_secs_f64() * 100.0 / seconds,
            self.cpu.as_secs_f64() * 1e6 / self.probes.max(1) as f64
        )?;
        writeln!(
            f,
            "  on time        {:.2} % (no more than {LATE:?} late), longest pause {:.2} s",
            share(self.on_time, self.probes),
            self.longest_pause.as_secs_f64()
        )?;
        write!(f, "  up at the end  {} of {backends}", self.up)
    }
}
