//! Makes packets: mostly the next one of a conversation, often with something wrong in it, sometimes
//! others; and now and then a change of the world.

mod field;
mod mutate;
mod session;
mod stray;
pub(super) mod write;

use lb_common::backend::{flows, state};

use self::session::Session;
use super::{
    flows::Flows,
    frame::Frame,
    random::Random,
    story::Story,
    world::{BUDGETS, Change, World},
};

/// Conversations that go on at a time.
const SESSIONS: usize = 160;
/// Packets until the world changes, on average.
const CHANGE_EVERY: usize = 60;

/// What a packet was made as.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    pub name: &'static str,
    /// What was done to it.
    pub mutations: [Option<&'static str>; 2],
}

pub struct Maker {
    random: Random,
    sessions: Vec<Session>,
    /// The rest of a packet that was sent in two fragments.
    rest: Frame,
    quote: Frame,
}

impl Maker {
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self {
            random,
            sessions: Vec::with_capacity(SESSIONS),
            rest: Frame::default(),
            quote: Frame::default(),
        }
    }

    /// From now on as the part of a run with this chance.
    pub fn begin(&mut self, random: Random, world: &World) {
        self.random = random;
        self.rest.clear();
        self.sessions.clear();
        for _ in 0..SESSIONS {
            self.sessions.push(Session::any(&mut self.random, world));
        }
    }

    /// What changes before the next packet, if anything.
    pub fn change(&mut self, world: &World) -> Option<Change> {
        let random = &mut self.random;
        if !random.once_in(CHANGE_EVERY) {
            return None;
        }
        if random.once_in(16) {
            let what = random.pick(&BUDGETS);
            let tokens = random.pick(&[0, 1, what.per_second()]);
            return Some(Change::Budget { what, tokens });
        }
        let idx = random.below(world.backends.len()) as u32;
        let (state, flows) = random.pick(&[
            (state::UP, flows::FORWARD),
            (state::UP, flows::FORWARD),
            (state::UP, flows::FORWARD),
            (state::UP, flows::FORWARD),
            (state::UP, flows::FORWARD),
            (state::DOWN, flows::RESET),
            (state::DOWN, flows::FORWARD),
            (state::DRAIN, flows::FORWARD),
            (state::MAINT, flows::RESET),
            (state::REMOVED, flows::RESET),
        ]);
        let resolved = !random.once_in(10);
        Some(Change::Backend {
            idx,
            state,
            flows,
            resolved,
        })
    }

    /// Writes the next packet.
    pub fn packet(
        &mut self,
        frame: &mut Frame,
        world: &World,
        flows: &Flows,
        story: &Story,
    ) -> Made {
        if !self.rest.is_empty() && self.random.once_in(2) {
            frame.take(self.rest.bytes());
            self.rest.clear();
            return Made::plain("second fragment");
        }
        let random = &mut self.random;
        // Early ones more often, so that some conversations get far.
        let at = random.below(SESSIONS).min(random.below(SESSIONS));
        let dice = random.below(1_000);
        let name = match dice {
            0..30 => {
                let Some(earlier) = story.any_packet(random) else {
                    return self.fresh(frame, world, flows, at);
                };
                frame.take(earlier);
                "one sent before"
            }
            30..60 => stray::segment(frame, random, world),
            60..90 => stray::echo(frame, random, world),
            90..150 => {
                let session = &self.sessions[at];
                stray::error(frame, &mut self.quote, random, world, session, flows)
            }
            150..158 => stray::noise(frame, random),
            158..160 => stray::narrow(frame, &mut self.quote, random, world),
            _ => return self.fresh(frame, world, flows, at),
        };
        let mutations = if dice >= 60 && random.once_in(2) {
            self.mutate(frame, world)
        } else {
            [None; 2]
        };
        Made { name, mutations }
    }

    /// The next one of a conversation, mostly as it should be.
    fn fresh(&mut self, frame: &mut Frame, world: &World, flows: &Flows, at: usize) -> Made {
        let random = &mut self.random;
        if random.once_in(60) {
            self.sessions[at] = Session::any(random, world);
        }
        let session = &mut self.sessions[at];
        // A mutated packet stands in for the one that is due, or comes before it.
        let mutated = random.once_in(4);
        let before = *session;
        let name = session.next(frame, random, world, flows);
        if !mutated {
            if random.once_in(50) {
                self.fragment(frame);
                return Made::plain("first fragment");
            }
            return Made::plain(name);
        }
        if random.once_in(2) {
            self.sessions[at] = before;
        }
        let mutations = self.mutate(frame, world);
        Made { name, mutations }
    }

    fn mutate(&mut self, frame: &mut Frame, world: &World) -> [Option<&'static str>; 2] {
        let random = &mut self.random;
        let first = mutate::once(frame, random, world);
        let second = random
            .once_in(4)
            .then(|| mutate::once(frame, random, world));
        if random.once_in(2) {
            mutate::sum(frame);
        }
        [Some(first), second]
    }

    /// Cuts it in two; the second comes later, or before.
    fn fragment(&mut self, frame: &mut Frame) {
        let random = &mut self.random;
        let Some((ip, v6)) = frame.parts.ip else {
            return;
        };
        let header = if v6 {
            40
        } else {
            usize::from(frame.bytes()[ip] & 15) * 4
        };
        let body = frame.parts.end - ip - header;
        let at = (8 * (1 + random.below(4))).min(body / 8 * 8);
        if at == 0 || at == body {
            return;
        }
        self.rest.take(frame.bytes());
        let id = random.word() as u32;
        part(frame, (ip, v6, header), (0, at), true, id);
        part(&mut self.rest, (ip, v6, header), (at, body), false, id);
        if random.once_in(8) {
            mutate::hops(&mut self.rest, random, (ip, v6));
        }
        if random.once_in(3) {
            std::mem::swap(frame, &mut self.rest);
        }
    }
}

/// Leaves these bytes of the packet's body, as a fragment.
fn part(
    frame: &mut Frame,
    (ip, v6, header): (usize, bool, usize),
    (from, to): (usize, usize),
    more: bool,
    id: u32,
) {
    let body = ip + header;
    frame.bytes_mut().copy_within(body + from..body + to, body);
    frame.resize(body + to - from);
    let offset = (from as u16) | u16::from(more);
    if v6 {
        frame.insert(body, 8);
        let next = std::mem::replace(&mut frame.bytes_mut()[ip + 6], 44);
        frame.bytes_mut()[body] = next;
        frame.set16(body + 2, offset);
        frame.set16(body + 4, (id >> 16) as u16);
        frame.set16(body + 6, id as u16);
        frame.set16(ip + 4, (to - from + 8) as u16);
    } else {
        frame.set16(ip + 2, (header + to - from) as u16);
        frame.set16(ip + 4, id as u16);
        frame.set16(ip + 6, (offset >> 3) | u16::from(more) << 13);
        frame.sum_ip(ip);
    }
    frame.parts = super::frame::Parts::default();
    frame.parts.end = frame.len();
}

impl Made {
    const fn plain(name: &'static str) -> Self {
        Self {
            name,
            mutations: [None; 2],
        }
    }
}
