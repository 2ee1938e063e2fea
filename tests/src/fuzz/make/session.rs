//! Conversations: what the two ends of a flow send next, if all goes well.

use std::net::SocketAddr;

use lb_common::service::mode;

use super::write::{Body, Payload, Spec};
use crate::{
    fuzz::{
        end::{End, Ways},
        flows::{Flows, Key},
        frame::Frame,
        plan,
        random::Random,
        sum::Sum,
        world::{BACK, World},
    },
    packet::{Mac, flag::*, protocol},
    rig::key_hash,
};

/// Our interface toward the clients, and the routers that their packets come from.
pub const FRONT: Mac = [2, 0, 0, 0, 0, 2];
const ROUTERS: [Mac; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 9]];
/// Clients of each family, and ports of each.
const CLIENTS: usize = 9;
const PORTS: usize = 48;

/// A conversation.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub service: usize,
    /// Of the client's packets.
    pub ways: Ways,
    pub protocol: u8,
    step: u8,
    sequence: u32,
    answered: u32,
    router: usize,
}

impl Session {
    /// With anybody, about anything.
    #[must_use]
    pub fn any(random: &mut Random, world: &World) -> Self {
        let at = random.below(world.services.len());
        let service = &world.services[at];
        let v6 = service.vip.v6;
        let ports = usize::from(service.last_port - service.vip.port) + 1;
        let port = match random.below(4) {
            0 => service.last_port,
            1 => service.vip.port + random.below(ports) as u16,
            _ => service.vip.port,
        };
        // Few where one client may need two flows for the same way back.
        let (clients, ports) = match service.mode {
            mode::ROUTE if service.has_ports() => (2, 2),
            _ => (CLIENTS, PORTS),
        };
        let client = plan::client(
            v6,
            random.below(clients) as u16,
            40_000 + random.below(ports) as u16,
        );
        let mut ways = Ways {
            source: client,
            destination: service.vip.at_port(port),
        };
        if service.protocol == protocol::TCP && world.shape.is_crowded() && random.once_in(3) {
            to_one_tag(&mut ways, random);
        }
        Self {
            service: at,
            ways,
            protocol: service.protocol,
            step: 0,
            sequence: random.word() as u32,
            answered: random.word() as u32,
            router: 0,
        }
    }

    pub fn key(&self) -> Key {
        (self.protocol, self.ways)
    }

    /// Writes the next packet. Returns what it is.
    pub fn next(
        &mut self,
        frame: &mut Frame,
        random: &mut Random,
        world: &World,
        flows: &Flows,
    ) -> &'static str {
        if random.once_in(40) {
            self.router = 1 - self.router;
        }
        let one_way = world.services[self.service].is_one_way();
        let local = flows.forth(&self.key()).map(|flow| flow.local);
        let local = local.filter(|_| !one_way);
        let name = match self.protocol {
            protocol::TCP => self.next_tcp(frame, random, local, one_way),
            _ => self.next_udp(frame, random, local),
        };
        self.step = self.step.saturating_add(1);
        name
    }

    fn next_tcp(
        &mut self,
        frame: &mut Frame,
        random: &mut Random,
        local: Option<Ways>,
        one_way: bool,
    ) -> &'static str {
        // Some go on for long, some end at once, a few begin anew with the same ports.
        if self.step > 3 && random.once_in(12) {
            self.step = random.pick(&[200, 202, 204, 0]);
        }
        let (sequence, answered) = (self.sequence, self.answered);
        let payload = self.payload(random);
        match (self.step, local) {
            (0, _) | (_, None) if self.step == 0 || !one_way => {
                self.step = 0;
                self.by_client(frame, random, SYN, sequence, 0, 0);
                "syn"
            }
            (1, Some(local)) => {
                self.by_backend(frame, random, local, SYN | ACK, 0);
                "syn-ack"
            }
            (1 | 2, _) => {
                self.step = self.step.max(2);
                self.by_client(frame, random, ACK, sequence + 1, answered + 1, 0);
                "ack"
            }
            (200, _) => {
                let (next, answer) = (sequence + 1, answered + 1);
                self.by_client(frame, random, FIN | ACK, next, answer, 0);
                "client's fin"
            }
            (201, Some(local)) => {
                self.by_backend(frame, random, local, FIN | ACK, 0);
                "backend's fin"
            }
            (202, _) => {
                self.by_client(frame, random, RST, sequence + 1, 0, 0);
                "client's rst"
            }
            (204, Some(local)) => {
                self.by_backend(frame, random, local, RST | ACK, 0);
                "backend's rst"
            }
            (3..200, Some(local)) if random.once_in(2) => {
                self.by_backend(frame, random, local, ACK | PSH, payload);
                "backend's data"
            }
            _ => {
                if self.step >= 206 {
                    self.step = random.pick(&[0, 3]);
                }
                let (next, answer) = (sequence + 1, answered + 1);
                self.by_client(frame, random, ACK | PSH, next, answer, payload);
                "client's data"
            }
        }
    }

    fn next_udp(
        &self,
        frame: &mut Frame,
        random: &mut Random,
        local: Option<Ways>,
    ) -> &'static str {
        let payload = self.payload(random);
        let v4 = !self.ways.source.v6;
        let summed = |random: &mut Random| !(v4 && random.once_in(8));
        match local {
            Some(local) if random.once_in(2) => {
                let v4 = !local.source.v6;
                let summed = !(v4 && random.once_in(8));
                let macs = [plan::backend_mac(0), BACK];
                let spec = Spec::new(local.back(), macs, Body::Udp { summed });
                varied(spec, random).write(frame, Payload::Text(payload));
                "backend's datagram"
            }
            _ => {
                let body = Body::Udp {
                    summed: summed(random),
                };
                let spec = varied(Spec::new(self.ways, self.macs(), body), random);
                match local {
                    Some(local) if random.once_in(16) => ends_in_zero(frame, &spec, local),
                    _ => spec.write(frame, Payload::Text(payload)),
                }
                "client's datagram"
            }
        }
    }

    /// Small ones are quicker; some are larger than a tunnel carries.
    fn payload(&self, random: &mut Random) -> usize {
        match random.below(24) {
            0 => 1_300 + random.below(120),
            1 => random.below(600),
            2..=12 => 0,
            _ => random.below(40),
        }
    }

    fn by_client(
        &self,
        frame: &mut Frame,
        random: &mut Random,
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
        payload: usize,
    ) {
        let body = Body::Tcp {
            sequence,
            acknowledgement,
            flags,
            options: options(random),
        };
        let spec = Spec::new(self.ways, self.macs(), body);
        varied(spec, random).write(frame, Payload::Text(payload));
    }

    fn by_backend(
        &self,
        frame: &mut Frame,
        random: &mut Random,
        local: Ways,
        flags: u8,
        payload: usize,
    ) {
        let sequence = self.answered.wrapping_add(u32::from(flags & SYN == 0));
        let body = Body::Tcp {
            sequence,
            acknowledgement: self.sequence.wrapping_add(1),
            flags,
            options: options(random),
        };
        let spec = Spec::new(local.back(), [plan::backend_mac(0), BACK], body);
        varied(spec, random).write(frame, Payload::Text(payload));
    }

    pub const fn macs(&self) -> [Mac; 2] {
        [ROUTERS[self.router], FRONT]
    }

    /// Ends between which an error about this flow may be: who got the packet that it quotes.
    #[must_use]
    pub fn seen_by_backend(&self, world: &World, flows: &Flows) -> Option<Ways> {
        let service = &world.services[self.service];
        let flow = flows.forth(&self.key())?;
        match service.mode {
            mode::NAT | mode::ROUTE => Some(flow.local),
            _ => None,
        }
    }
}

/// Gives the client a port by which its flow has the lowest tag in the table's heads, next to that of a
/// free place: what searches for tags must tell the two apart.
fn to_one_tag(ways: &mut Ways, random: &mut Random) {
    const TRIES: usize = 512;
    for _ in 0..TRIES {
        ways.source.port = 10_000 + random.below(50_000) as u16;
        let [source, destination] =
            [ways.source, ways.destination].map(|end| SocketAddr::new(end.ip(), end.port));
        if (key_hash(source, destination) >> 32) as u8 <= 1 {
            return;
        }
    }
}

fn options(random: &mut Random) -> usize {
    random.pick(&[0, 0, 3, 5, 10])
}

/// A datagram whose checksum is 0 between these ends, where it must be sent as the other form of that.
fn ends_in_zero(frame: &mut Frame, spec: &Spec, ways: Ways) {
    const PAYLOAD: Payload<'_> = Payload::Text(8);
    const CHECKSUM: usize = 6;
    Spec { ways, ..*spec }.write(frame, PAYLOAD);
    let end = frame.parts.end;
    let Some((start, _)) = frame.parts.transport else {
        return;
    };
    frame.set16(start + CHECKSUM, 0);
    frame.set16(end - 2, 0);
    let sum = Sum::of(&frame.bytes()[start..end]);
    let last = sum
        .and_pseudo_header(&ways, protocol::UDP, end - start)
        .checksum();
    spec.write(frame, PAYLOAD);
    let end = frame.parts.end;
    if let Some((start, _)) = frame.parts.transport {
        frame.set16(end - 2, last);
        frame.sum_transport(start, end, protocol::UDP, &spec.ways);
    }
}

/// What valid packets differ by.
fn varied(mut spec: Spec, random: &mut Random) -> Spec {
    spec.identification = random.word() as u16;
    if random.once_in(6) {
        spec.hops = random.pick(&[2, 3, 64, 128, 255]);
        spec.traffic_class = random.word() as u8;
        spec.dont_fragment = random.once_in(2);
    }
    if random.once_in(20) {
        spec.options = 1 + random.below(10);
        spec.extended = random.below(4);
        for extension in &mut spec.extensions {
            *extension = (
                random.pick(&[
                    protocol::HOP_BY_HOP,
                    protocol::ROUTING,
                    protocol::DESTINATION,
                ]),
                1 + random.below(4) as u8,
            );
        }
    }
    spec
}

/// Somebody at an address of this family, for packets of no conversation.
#[must_use]
pub fn anybody(random: &mut Random, world: &World, v6: bool) -> End {
    let n = random.below(200) as u16;
    let port = random.pick(&[
        0,
        22,
        80,
        443,
        8_080,
        33_000,
        65_535,
        world.shape.first_port,
    ]);
    match random.below(5) {
        0 => plan::client(v6, n % 9, 40_000 + n % 48),
        1 => plan::snat(v6, n % 2).at_port(world.shape.first_port),
        2 => world.services[usize::from(n) % world.services.len()]
            .vip
            .of_family(v6)
            .at_port(port),
        3 => world.backends[usize::from(n) % world.backends.len()]
            .end
            .of_family(v6)
            .at_port(8_080),
        _ => plan::stranger(v6, n).at_port(port),
    }
}
