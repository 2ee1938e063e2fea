//! Runs: part after part, each in a world of its own shape, from the world's beginning.

use super::{
    finding::Finding,
    frame::{Frame, ROOM},
    judge::{Case, Fate, Fault, Judge, Judged},
    ledger::Ledger,
    make::{Made, Maker},
    random::Random,
    report::Report,
    story::{Step, Story},
    tables,
    world::{SHAPES, World},
};
use crate::rig::Verdict;

/// Packets of a part.
const PART: u64 = 8_192;
/// Packets after which counters are read, and after which tables are.
const COUNTED_EVERY: u64 = 128;
const TABLES_EVERY: u64 = 2_048;
/// Time from one packet to the next.
const PACE_NS: u64 = 20_000;
/// Bytes by which a packet may grow.
const GROWTH: usize = 256;

/// How much, and from which seed.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub seed: u64,
    /// The first packet's number: the part with it is the first one.
    pub first: u64,
    pub packets: u64,
}

/// Sends packets of all kinds and judges what becomes of them.
///
/// # Errors
/// At the first broken promise, with what led to it.
///
/// # Panics
/// When the kernel refuses the program, or a packet.
pub fn run(effort: &Effort, progress: impl Fn(&str)) -> Result<Report, Box<Finding>> {
    progress("loading the program and filling the tables of each world");
    let mut worlds = SHAPES.map(World::lay);
    let mut bench = Bench::new();
    let parts = effort.first / PART..(effort.first + effort.packets).div_ceil(PART);
    let begun = std::time::Instant::now();
    for part in parts.clone() {
        let world = &mut worlds[(part % SHAPES.len() as u64) as usize];
        if let Err((fault, at)) = bench.part(world, Random::of_part(effort.seed, part)) {
            let number = part * PART + at;
            return Err(bench.finding(world, effort.seed, number, fault));
        }
        let done = part + 1 - parts.start;
        if done % 32 == 0 {
            let seconds = begun.elapsed().as_secs_f64();
            progress(&format!("{} packets in {seconds:.1} s", done * PART));
        }
    }
    bench.report.finish(&bench.ledger);
    Ok(bench.report)
}

/// What a part needs; made once.
pub struct Bench {
    judge: Judge,
    pub ledger: Ledger,
    maker: Maker,
    pub story: Story,
    report: Report,
    frame: Frame,
    out: Box<[u8; ROOM + GROWTH]>,
}

impl Bench {
    fn new() -> Self {
        Self {
            judge: Judge::default(),
            ledger: Ledger::default(),
            maker: Maker::new(Random::new(0)),
            story: Story::default(),
            report: Report::default(),
            frame: Frame::default(),
            out: Box::new([0; ROOM + GROWTH]),
        }
    }

    fn begin(&mut self, world: &mut World) {
        world.reset();
        self.judge.clear();
        self.ledger.begin(world);
    }

    /// One part. On failure also tells at which packet.
    fn part(&mut self, world: &mut World, random: Random) -> Result<(), (Fault, u64)> {
        self.begin(world);
        self.story.clear();
        self.maker.begin(random, world);
        for at in 0..PART {
            if let Some(change) = self.maker.change(world) {
                world.make(&change);
                self.story.change(change);
            }
            let mut frame = std::mem::take(&mut self.frame);
            let made = (self.maker).packet(&mut frame, world, &self.judge.flows, &self.story);
            if frame.len() < crate::packet::ETHERNET_LEN {
                frame.resize(crate::packet::ETHERNET_LEN);
            }
            self.story.packet(frame.bytes(), made);
            let judged = self.send(world, frame.bytes());
            self.frame = frame;
            let (verdict, fate) = judged.map_err(|fault| (fault, at))?;
            self.report.packet(world, &made, verdict, fate);
            let done = at + 1;
            if done % COUNTED_EVERY == 0 || self.judge.lost.is_some() {
                self.count(world).map_err(|fault| (fault, at))?;
            }
            if done % TABLES_EVERY == 0 {
                let census = tables::check(world).map_err(|fault| (fault, at))?;
                self.report.census(&census);
            }
        }
        tables::sweep(world).map_err(|fault| (fault, PART - 1))
    }

    /// Sends one packet and judges it.
    fn send(&mut self, world: &mut World, frame: &[u8]) -> Result<(Verdict, Fate), Fault> {
        world.wait(PACE_NS);
        let (verdict, len) = world.rig.run(frame, &mut self.out[..]);
        let case = Case {
            world,
            sent: frame,
            verdict,
            out: &self.out[..len],
        };
        let Judged {
            fate,
            bytes,
            reasons,
        } = self.judge.packet(&case)?;
        self.ledger.note(fate, bytes, reasons);
        Ok((verdict, fate))
    }

    /// Holds counters against what was seen.
    fn count(&mut self, world: &mut World) -> Result<(), Fault> {
        self.ledger.check(world)?;
        match self.judge.lost.take() {
            Some(fault) if self.ledger.full == 0 => Err(fault),
            _ => Ok(()),
        }
    }

    /// Runs steps of the story again, from the world's beginning. Returns the step at which a promise was
    /// broken. To look closely is to read counters and tables after each packet, which takes long.
    pub fn again(
        &mut self,
        world: &mut World,
        steps: &[Step],
        closely: bool,
    ) -> Option<(usize, Fault)> {
        self.begin(world);
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Change(change) => world.make(change),
                Step::Packet { start, len, .. } => {
                    let story = std::mem::take(&mut self.story);
                    let judged = self.send(world, story.bytes(*start, *len));
                    self.story = story;
                    let mut judged = judged.map(drop);
                    if closely || self.judge.lost.is_some() {
                        judged = judged
                            .and_then(|()| self.count(world))
                            .and_then(|()| tables::check(world).map(drop));
                    }
                    if let Err(fault) = judged {
                        return Some((at, fault));
                    }
                }
            }
        }
        if !closely {
            return None;
        }
        let fault = tables::sweep(world).err()?;
        Some((steps.len().saturating_sub(1), fault))
    }

    /// What came out for the last packet of a story that was run again.
    pub fn out(&mut self, world: &World, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let (verdict, len) = world.rig.run(frame, &mut self.out[..]);
        (verdict, self.out[..len].to_vec())
    }
}

impl Made {
    /// As one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = self.name.to_owned();
        for mutation in self.mutations.iter().flatten() {
            text.push_str(", changed: ");
            text.push_str(mutation);
        }
        text
    }
}
