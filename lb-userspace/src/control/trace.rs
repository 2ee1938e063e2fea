//! Telling of sampled decisions: the traced form of the program is put in place for as long as somebody
//! listens, and what it tells is put into names.

mod directory;
#[cfg(test)]
mod tests;

use std::{
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lb_common::{
    reason::{Kind, Reason},
    trace::{Record, SNAP},
};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

pub(super) use self::directory::Directory;
use super::{
    CommandError, Control, Handle,
    handle::Command,
    sweeper,
    view::trace::{Decision, Packet, Progress, TraceFilter, TraceLine},
};
use crate::datapath::{Capacity, Traced, TracedProgram};

/// Lines that wait for the reader; more are lost, and counted.
const LINES: usize = 4_096;
/// A trace ends by itself after so long: who forgets one does not slow the host down for good.
const AT_MOST: Duration = Duration::from_secs(3_600);
/// Between two words of progress, at which names are asked for anew.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long a trace waits for the one before to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Milliseconds for which records are waited for, before it is seen whether anybody still listens.
const WAIT_MS: u16 = 100;

/// What a trace begins with.
pub(super) struct Beginning {
    run_dir: PathBuf,
    capacity: Capacity,
    directory: Arc<Directory>,
}

impl Handle {
    /// Puts the traced program in place and tells of a service's packets, until the receiver is dropped.
    ///
    /// # Errors
    /// When there is no such service, somebody else is tracing, or the program cannot be put in place.
    pub async fn trace(
        &self,
        filter: TraceFilter,
    ) -> Result<mpsc::Receiver<TraceLine>, CommandError> {
        let every = NonZeroU32::new(filter.every.unwrap_or(1)).ok_or_else(|| {
            CommandError::Question("every is 0; use 1 for every packet".to_owned())
        })?;
        let beginning = self.begin_trace(&filter.service).await?;
        let (lines, reader) = mpsc::channel(LINES);
        let (ready, started) = oneshot::channel();
        let commands = self.commands.clone();
        tokio::task::spawn_blocking(move || {
            let service = filter.service;
            match begin(&commands, &beginning, every) {
                Ok(traced) => {
                    // Nobody may be waiting any more: then the lines end at once.
                    let _ = ready.send(Ok(()));
                    Reading {
                        traced,
                        service,
                        directory: beginning.directory,
                        lines,
                        progress: Progress::default(),
                        lost_here: 0,
                        lost_by_cpu: Vec::new(),
                    }
                    .run(&commands);
                }
                Err(error) => drop(ready.send(Err(error))),
            }
            // The loop may have ended.
            let _ = commands.blocking_send(Command::TraceEnd);
        });
        started.await.map_err(|_| CommandError::Stopping)??;
        Ok(reader)
    }
}

impl Handle {
    /// That the one before has ended is noticed at its next line, a second later at most.
    async fn begin_trace(&self, service: &str) -> Result<Beginning, CommandError> {
        let begun = Instant::now();
        loop {
            let asked = self.ask(|reply| Command::TraceBegin(service.to_owned(), reply));
            match asked.await {
                Err(CommandError::Trace(_)) if begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(u64::from(WAIT_MS))).await;
                }
                answer => return answer,
            }
        }
    }
}

impl Control {
    pub(super) fn begin_trace(&mut self, service: &str) -> Result<Beginning, CommandError> {
        if !self.config.services.iter().any(|one| one.name == service) {
            return Err(CommandError::NoBackend(self.no_service(service)));
        }
        if self.tracing {
            let words = "somebody else is tracing; one trace at a time can be taken";
            return Err(CommandError::Trace(words.to_owned()));
        }
        self.tracing = true;
        Ok(Beginning {
            run_dir: self.options.run_dir.clone(),
            capacity: self.datapath.capacity(),
            directory: Arc::new(self.directory()),
        })
    }

    pub(super) fn trace_by(&mut self, program: TracedProgram) -> Result<(), CommandError> {
        self.datapath.trace_by(program)?;
        info!("tracing: the program tells of sampled packets until the trace ends");
        Ok(())
    }

    pub(super) fn end_trace(&mut self) {
        if std::mem::take(&mut self.tracing) {
            self.datapath.end_trace();
            info!("the trace has ended");
        }
    }

    /// That there is no service of this name, and which there are.
    pub(super) fn no_service(&self, name: &str) -> String {
        let names: Vec<&str> = (self.config.services.iter())
            .map(|service| service.name.as_str())
            .collect();
        format!("there is no service {name}; there are {}", names.join(", "))
    }
}

/// Loads the traced program and has the loop put it in place.
fn begin(
    commands: &mpsc::Sender<Command>,
    beginning: &Beginning,
    every: NonZeroU32,
) -> Result<Traced, CommandError> {
    let traced = Traced::load(&beginning.run_dir, beginning.capacity, every)?;
    let program = traced.program()?;
    ask(commands, |reply| Command::TraceBy(program, reply))?;
    Ok(traced)
}

/// A question to the loop from a thread that may wait.
fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<Result<T, CommandError>>) -> Command,
) -> Result<T, CommandError> {
    let (reply, answer) = oneshot::channel();
    (commands.blocking_send(command(reply))).map_err(|_| CommandError::Stopping)?;
    answer.blocking_recv().map_err(|_| CommandError::Stopping)?
}

/// A trace that is on.
struct Reading {
    traced: Traced,
    service: String,
    directory: Arc<Directory>,
    lines: mpsc::Sender<TraceLine>,
    progress: Progress,
    /// Lines for which there was no room.
    lost_here: u64,
    /// What the kernel had lost, by CPU, as its records say.
    lost_by_cpu: Vec<(u32, u64)>,
}

impl Reading {
    /// Reads until nobody listens any more.
    fn run(mut self, commands: &mpsc::Sender<Command>) {
        let begun = Instant::now();
        let mut due = Instant::now();
        while !self.lines.is_closed() && begun.elapsed() < AT_MOST {
            if let Err(error) = self.take() {
                warn!("the trace ends: {error}");
                return;
            }
            if Instant::now() < due {
                continue;
            }
            due = Instant::now() + PROGRESS;
            let progress = self.progress();
            // The reader will hear of it the next time.
            let _ = self.lines.try_send(TraceLine::Progress(progress));
            match ask(commands, Command::Directory) {
                Ok(directory) => self.directory = Arc::new(directory),
                Err(_) => return,
            }
        }
    }

    fn take(&mut self) -> Result<(), crate::datapath::DatapathError> {
        let Self {
            traced,
            service,
            directory,
            lines,
            progress,
            lost_here,
            lost_by_cpu,
        } = self;
        // When `CLOCK_MONOTONIC` began.
        let began = SystemTime::now() - Duration::from_nanos(sweeper::monotonic_ns());
        traced.take(WAIT_MS, |record| {
            progress.sampled += 1;
            note_lost(lost_by_cpu, record);
            let Some(decision) = decide(directory, service, record, began) else {
                return;
            };
            if lines
                .try_send(TraceLine::Decision(Box::new(decision)))
                .is_err()
            {
                *lost_here += 1;
            }
        })
    }

    fn progress(&self) -> Progress {
        let lost: u64 = self.lost_by_cpu.iter().map(|(_, lost)| lost).sum();
        Progress {
            lost: self.lost_here + lost,
            ..self.progress
        }
    }
}

/// Each CPU counts what it lost.
fn note_lost(lost_by_cpu: &mut Vec<(u32, u64)>, record: &Record) {
    match lost_by_cpu.iter_mut().find(|(cpu, _)| *cpu == record.cpu) {
        Some((_, lost)) => *lost = record.lost,
        None => lost_by_cpu.push((record.cpu, record.lost)),
    }
}

/// What a record tells, if it is of this service.
fn decide(
    directory: &Directory,
    service: &str,
    record: &Record,
    began: SystemTime,
) -> Option<Decision> {
    let kept = |bytes: &[u8; SNAP], length: u32| bytes[..SNAP.min(length as usize)].to_vec();
    let arrived_bytes = kept(&record.arrived, record.arrived_length);
    let left_bytes = kept(&record.left, record.left_length);
    let arrived = Packet::in_frame(&arrived_bytes, directory.gue_ports());
    let left = Packet::in_frame(&left_bytes, directory.gue_ports());
    let party = directory.party(service, arrived.as_ref()?, left.as_ref(), &left_bytes)?;
    let reason = record.reason.checked_sub(1).and_then(Reason::of_index);
    let at = began + Duration::from_nanos(record.time_ns);
    Some(Decision {
        time: humantime::format_rfc3339_micros(at).to_string(),
        service: service.to_owned(),
        backend: party.backend.map(ToOwned::to_owned),
        interface: directory.interface(record.ifindex),
        verdict: verdict(record.action, reason).to_owned(),
        reason: reason.map(|reason| reason.name().to_owned()),
        meaning: reason.map(|reason| reason.meaning().trim().to_owned()),
        arrived,
        left,
        arrived_length: record.arrived_length,
        left_length: record.left_length,
        arrived_bytes: hex(&arrived_bytes),
        left_bytes: hex(&left_bytes),
    })
}

/// What an XDP action means together with its reason.
pub(super) fn verdict(action: u32, reason: Option<Reason>) -> &'static str {
    /// `enum xdp_action` (include/uapi/linux/bpf.h).
    const PASS: u32 = 2;
    const TX: u32 = 3;
    const REDIRECT: u32 = 4;

    match (action, reason.map(Reason::kind)) {
        (TX | REDIRECT, Some(Kind::Answer)) => "answer",
        (TX | REDIRECT, _) => "forward",
        (PASS, _) => "pass",
        _ => "drop",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
