//! A broken promise, told: the packet, and the least of what came before it that breaks it too.

use std::{
    fmt::{self, Write as _},
    time::{Duration, Instant},
};

use super::{
    judge::Fault,
    run::Bench,
    story::Step,
    world::{Change, World},
};
use crate::{packet::describe, rig::Verdict};

/// How long is looked for a shorter story.
const PATIENCE: Duration = Duration::from_secs(20);
/// Lines of a dump.
const HEX_LINES: usize = 16;

#[derive(Debug)]
pub struct Finding {
    seed: u64,
    number: u64,
    world: &'static str,
    fault: Fault,
    /// What was found when the story was run again; without it, the whole is told.
    again: Option<Fault>,
    told: Vec<String>,
    sent: Vec<u8>,
    verdict: Verdict,
    out: Vec<u8>,
}

impl Bench {
    /// Looks closer at a fault.
    pub(super) fn finding(
        &mut self,
        world: &mut World,
        seed: u64,
        number: u64,
        fault: Fault,
    ) -> Box<Finding> {
        let steps = self.story.steps.clone();
        let (steps, again) = self.least(world, steps);
        let told = steps.iter().map(|step| self.tell(step)).collect();
        let last = steps.iter().rev().find_map(|step| match step {
            Step::Packet { start, len, .. } => Some((*start, *len)),
            Step::Change(_) => None,
        });
        let sent = last.map_or_else(Vec::new, |(start, len)| {
            self.story.bytes(start, len).to_vec()
        });
        let (verdict, out) = self.last_out(world, &steps, &sent);
        Box::new(Finding {
            seed,
            number,
            world: world.shape.name,
            fault,
            again,
            told,
            sent,
            verdict,
            out,
        })
    }

    /// The shortest story found in reasonable time that breaks a promise.
    fn least(&mut self, world: &mut World, mut steps: Vec<Step>) -> (Vec<Step>, Option<Fault>) {
        let begun = Instant::now();
        let quickly = self.again(world, &steps, false);
        let closely = quickly.is_none();
        let found = quickly.or_else(|| self.again(world, &steps, true));
        let Some((at, mut fault)) = found else {
            let tail = steps.len().saturating_sub(40);
            return (steps.split_off(tail), None);
        };
        steps.truncate(at + 1);
        // Leaves out stretches, shorter and shorter ones, as long as the promise stays broken.
        let mut stretch = steps.len() / 2;
        while stretch > 0 {
            let mut start = 0;
            while start < steps.len() && begun.elapsed() < PATIENCE {
                let mut fewer = steps.clone();
                fewer.drain(start..(start + stretch).min(steps.len()));
                match self.again(world, &fewer, closely) {
                    Some((at, found)) => {
                        fewer.truncate(at + 1);
                        (steps, fault) = (fewer, found);
                    }
                    None => start += stretch,
                }
            }
            stretch /= 2;
        }
        (steps, Some(fault))
    }

    /// Runs all but the last step, and then sends the packet for its own sake.
    fn last_out(&mut self, world: &mut World, steps: &[Step], sent: &[u8]) -> (Verdict, Vec<u8>) {
        self.again(world, &steps[..steps.len().saturating_sub(1)], false);
        self.out(world, sent)
    }

    fn tell(&self, step: &Step) -> String {
        match step {
            Step::Packet { start, len, made } => {
                let frame = self.story.bytes(*start, *len);
                format!("{} ({})", describe(frame), made.describe())
            }
            Step::Change(Change::Backend {
                idx,
                state,
                flows,
                resolved,
            }) => format!(
                "backend {idx}: state {state}, its flows {flows}, next hop known: {resolved}"
            ),
            Step::Change(Change::Budget { what, tokens }) => {
                format!("{tokens} tokens are left of {what:?}")
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            number,
            world,
            fault,
            ..
        } = self;
        writeln!(
            f,
            "packet {number} of seed {seed}, in world {world}: {fault}"
        )?;
        match &self.again {
            Some(again) => writeln!(f, "run again alone: {again}\nafter these steps:")?,
            None => writeln!(f, "it did not happen again; the last steps were:")?,
        }
        for (at, line) in self.told.iter().enumerate() {
            writeln!(f, "  {at:>3} {line}")?;
        }
        writeln!(f, "sent {}\n{}", describe(&self.sent), hex(&self.sent))?;
        let verdict = self.verdict;
        writeln!(
            f,
            "came out {verdict:?} {}\n{}",
            describe(&self.out),
            hex(&self.out)
        )?;
        writeln!(
            f,
            "again by: cargo xtask fuzz --seed {seed} --first {number} --packets 1"
        )
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (at, line) in bytes.chunks(16).take(HEX_LINES).enumerate() {
        write!(text, "  {:04x} ", at * 16).expect("a string takes anything");
        for byte in line {
            write!(text, " {byte:02x}").expect("a string takes anything");
        }
        text.push('\n');
    }
    if bytes.len() > 16 * HEX_LINES {
        text.push_str("  and so on\n");
    }
    text
}
