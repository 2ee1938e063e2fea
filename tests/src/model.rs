//! The reference model: what divvy does with flows, as plain Rust to be read, and judged against the
//! real program. It shares no code with the program and none of its arithmetic; what it takes from
//! `lb-common` are names and the form of the maps.
//!
//! Read it in this order: [`flow`] tells what the packets of two ends make of a flow, [`path`] what
//! becomes of a packet, [`opening`] how one opens a flow, [`ports`] which source that gets, [`tables`]
//! where flows are kept, [`world`] what surrounds them. [`judge`] lets both sides go through the same
//! events ([`stage`] sets the program's up), which [`generate`] draws by chance and [`minimise`] cuts
//! down to what matters when they disagree.

mod compare;
mod event;
mod flow;
mod generate;
mod judge;
mod leaves;
mod minimise;
mod opening;
mod path;
mod ports;
mod random;
mod stage;
mod tables;
mod tally;
mod world;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

pub use flow::State;
pub use tally::Tally;

use self::{
    compare::Divergence,
    event::Event,
    generate::{BUCKETS, Generator},
    judge::Judge,
    random::Random,
    world::Setup,
};
use crate::rig::{Capacity, Rig};

/// How long a failure may be made shorter.
const MINIMISING: Duration = Duration::from_secs(20);
/// Each sequence begins so much later than the one before, at the same place in what is about a second.
const APART_NS: u64 = 1_000 << 30;

/// The programs under test, one for each size of the flow table.
pub struct Rigs {
    rigs: Vec<(u32, Rig)>,
    now_ns: u64,
}

impl Default for Rigs {
    fn default() -> Self {
        let rig = |buckets| {
            let mut rig = Rig::load_with_still_clock(Capacity::of_buckets(buckets));
            rig.service(0, 0);
            rig.ring(0, |_| lb_common::NO_BACKEND);
            rig
        };
        Self {
            rigs: BUCKETS.map(|buckets| (buckets, rig(buckets))).into(),
            now_ns: APART_NS,
        }
    }
}

impl Rigs {
    /// Both sides at the beginning of a sequence.
    fn begin(&mut self, setup: Setup) -> Judge<'_> {
        self.now_ns += APART_NS;
        let (_, rig) = (self.rigs.iter_mut())
            .find(|(buckets, _)| *buckets == setup.buckets)
            .expect("there is a rig for each size");
        Judge::new(rig, setup, self.now_ns)
    }

    /// Lets so many events of sequences from this seed on happen on both sides.
    ///
    /// # Errors
    /// The story of the first divergence, in as few events as could be found.
    pub fn run(&mut self, seed: u64, events: u64) -> Result<Tally, String> {
        let start = Instant::now();
        let mut tally = Tally::default();
        let mut seeds = Random::new(seed);
        while tally.events < events {
            tally.sequences += 1;
            let sequence_seed = seeds.next();
            if let Err((setup, events)) = self.sequence(sequence_seed, &mut tally) {
                return Err(self.story(seed, setup, &events));
            }
        }
        tally.time = start.elapsed();
        Ok(tally)
    }

    /// One sequence. What fails is told with the events that led to it.
    fn sequence(&mut self, seed: u64, tally: &mut Tally) -> Result<(), (Setup, Vec<Event>)> {
        let mut random = Random::new(seed);
        let setup = generate::setup(&mut random);
        let length = random.one_of(&[30, 100, 200, 400]);
        let mut generator = Generator::new(random);
        let mut judge = self.begin(setup);
        let mut past = Vec::new();
        for _ in 0..length {
            let event = generator.next(&judge.model);
            past.push(event);
            match judge.step(&event, tally) {
                Ok(false) => {
                    past.pop();
                }
                Ok(true) => {
                    tally.events += 1;
                    *tally.kinds.entry(event.name()).or_default() += 1;
                    *tally.setups.entry(setup.name()).or_default() += 1;
                }
                Err(_) => return Err((setup, past)),
            }
        }
        Ok(())
    }

    /// How far a sequence gets: the event at which both sides disagree, and how.
    fn replay(&mut self, setup: Setup, events: &[Event]) -> Option<(usize, Divergence)> {
        let mut judge = self.begin(setup);
        let mut tally = Tally::default();
        for (at, event) in events.iter().enumerate() {
            if let Err(divergence) = judge.step(event, &mut tally) {
                return Some((at, divergence));
            }
        }
        None
    }

    /// A failure, as short as it could be made.
    fn story(&mut self, seed: u64, setup: Setup, events: &[Event]) -> String {
        let short = minimise::minimise(events, MINIMISING, |events| {
            self.replay(setup, events).is_some()
        });
        let mut story = format!(
            "program and model disagree with seed {seed}: the sequence of {} events, made short\n{setup}\n",
            events.len()
        );
        let Some((at, divergence)) = self.replay(setup, &short) else {
            story.push_str("they agree when these events are repeated; something else decides\n");
            for event in events {
                let _ = writeln!(story, "  {event}");
            }
            return story;
        };
        for (n, event) in (1..).zip(&short[..=at]) {
            let _ = writeln!(story, "{n:>3}. {event}");
        }
        let _ = write!(story, "then {divergence}");
        story
    }
}
