//! Sequences by chance: mostly what could come next for the flow at hand, often enough something else.
//! Packets are well-formed and their flags sane; what else may come is the fuzzer's.

use lb_common::service::mode;

use super::{
    event::{Budget, Change, Event, Kind},
    flow::{End, Flow, State},
    path::Model,
    random::Random,
    world::{SECOND_NS, Setup, timeout_ns},
};

/// Flow tables that sequences run on, by their buckets: one in which all entries meet, one in which many
/// do, one with room.
pub const BUCKETS: [u32; 3] = [1, 4, 32];

pub fn setup(random: &mut Random) -> Setup {
    let buckets = random.one_of(&BUCKETS);
    let few_ports = random.percent(55);
    Setup {
        v6: random.percent(50),
        udp: random.percent(30),
        mode: random.by_weight(&[
            (50, mode::NAT),
            (22, mode::ROUTE),
            (16, mode::DSR),
            (6, mode::IPIP),
            (6, mode::GUE),
        ]),
        clients: random.one_of(&[1, 2, 3, 4, 6]),
        vips: random.one_of(&[1, 1, 2]),
        backends: random.one_of(&[1, 2, 3, 4]),
        sources: random.one_of(&[1, 2]),
        ports: if few_ports {
            random.one_of(&[1, 2, 3, 4])
        } else {
            0
        },
        buckets,
        room: (buckets == 1 && random.percent(60)).then(|| random.byte(5)),
    }
}

/// What happens next, and whose flow it concerns.
pub struct Generator {
    pub random: Random,
    client: u8,
    vip: u8,
}

impl Generator {
    pub const fn new(random: Random) -> Self {
        Self {
            random,
            client: 0,
            vip: 0,
        }
    }

    pub fn next(&mut self, model: &Model) -> Event {
        let setup = model.world.setup;
        let backend = self.random.byte(setup.backends);
        match self.random.below(1_000) {
            0..800 => self.packet(model),
            800..890 => Event::Time(self.time(model)),
            890..930 => Event::Sweep,
            930..955 => Event::Ring,
            955..965 => Event::Spend(self.random.one_of(&[Budget::Resets, Budget::UnprovenFlows])),
            _ => Event::Change {
                backend,
                change: self.change(),
            },
        }
    }

    fn change(&mut self) -> Change {
        let keep = self.random.percent(40);
        let weight = self.random.byte(4);
        self.random.by_weight(&[
            (45, Change::Up),
            (18, Change::Down { keep }),
            (6, Change::Drain),
            (5, Change::Maintenance { keep }),
            (5, Change::Removed { keep }),
            (8, Change::Weight(weight)),
            (4, Change::Resolved(false)),
            (9, Change::Resolved(true)),
        ])
    }

    /// Short times, and those at which a flow's timer runs out to the nanosecond, or just has.
    fn time(&mut self, model: &Model) -> u64 {
        if self.random.percent(45) || model.flows.is_empty() {
            let seconds = self.random.one_of(&[1, 2, 3, 7]);
            let short = self.random.one_of(&[1_000_000, SECOND_NS / 2, 1 << 30]);
            return self.random.one_of(&[short, seconds * SECOND_NS]);
        }
        let flow = &model.flows[self.random.below(model.flows.len() as u64) as usize];
        let limit_ns = self.random.by_weight(&[
            (3, SECOND_NS),
            (1, 60 * SECOND_NS),
            (4, timeout_ns(flow.state)),
        ]);
        let exact_ns = limit_ns.saturating_sub(model.world.now_ns - flow.last_ns);
        (exact_ns + self.random.by_weight(&[(4, 0), (4, 1), (1, SECOND_NS)])).max(1)
    }

    fn packet(&mut self, model: &Model) -> Event {
        let setup = model.world.setup;
        if self.random.percent(35) {
            self.client = self.random.byte(setup.clients);
            self.vip = self.random.byte(setup.vips);
        }
        let flow = model.client_entry(setup.client(self.client), setup.vip(self.vip));
        let (by, kind) = self.kind(&setup, flow.map(|n| &model.flows[n]));
        let (client, vip) = (self.client, self.vip);
        if by == End::Backend && !setup.is_one_way() {
            // The program takes the last of all for none.
            let sequence = self.random.one_of(&[5_000, u32::MAX - 1, 77_000_000]);
            return Event::Backend {
                client,
                vip,
                earlier: self.random.percent(10),
                kind,
                sequence,
            };
        }
        Event::Client {
            client,
            vip,
            router: u8::from(self.random.percent(5)),
            kind: if kind == Kind::SynAck {
                Kind::Ack
            } else {
                kind
            },
            beyond: self.random.by_weight(&[
                (90, 0),
                (2, 1),
                (2, 65_535),
                (2, 65_536),
                (2, u32::MAX),
                (2, 1 << 31),
            ]),
        }
    }

    /// Who sends what: half of the time what leads the flow on to its next state.
    fn kind(&mut self, setup: &Setup, flow: Option<&Flow>) -> (End, Kind) {
        use End::{Backend, Client};
        if setup.udp {
            return (
                self.random.one_of(&[Client, Client, Backend]),
                Kind::Datagram,
            );
        }
        let any_end = self.random.one_of(&[Client, Backend]);
        let other_end = match flow {
            Some(flow) if flow.client_closed => Backend,
            _ => Client,
        };
        if self.random.percent(50) {
            return match flow.map(|flow| flow.state) {
                None => (Client, Kind::Syn),
                Some(State::HalfOpen) if setup.is_one_way() => (Client, Kind::Ack),
                Some(State::HalfOpen) => (Backend, Kind::SynAck),
                Some(State::Answered) => (Client, Kind::Ack),
                Some(State::Established) => (any_end, self.random.one_of(&[Kind::Fin, Kind::Data])),
                Some(State::Fin) => (other_end, Kind::Fin),
                Some(State::Closed) => (Client, Kind::Syn),
                Some(State::Reset) => (any_end, self.random.one_of(&[Kind::Syn, Kind::Data])),
            };
        }
        let kind = self.random.by_weight(&[
            (20, Kind::Syn),
            (10, Kind::SynAck),
            (20, Kind::Ack),
            (20, Kind::Data),
            (12, Kind::Fin),
            (4, Kind::FinWithData),
            (14, Kind::Rst),
        ]);
        (
            if kind == Kind::SynAck {
                Backend
            } else {
                any_end
            },
            kind,
        )
    }
}
