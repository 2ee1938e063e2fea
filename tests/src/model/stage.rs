//! The program's side of the world: its maps are filled and changed as the daemon would do it.

use lb_common::{
    Budgeted, PROTOCOL_TCP, PROTOCOL_UDP,
    backend::{self, Tunnel, flows, state as backend_state},
    flow::{side, state as flow_state},
    service::{Settings, Timeouts, mode},
};

use super::{
    event::Change,
    flow::{Flow, State},
    judge::Judge,
    world::{BACK, FRONT, backend_mac, router_mac, timeout_ns},
};
use crate::{
    packet::GUE_PORT,
    rig::{CONFIRMED_PLACES, INGRESS, Rig, Table},
};

/// The only service.
const SERVICE: u32 = 0;

impl Judge<'_> {
    pub(super) fn set_up(&mut self) {
        let (setup, now_ns) = (self.model.world.setup, self.model.world.now_ns);
        let rig = &mut *self.rig;
        rig.over(if setup.udp {
            PROTOCOL_UDP
        } else {
            PROTOCOL_TCP
        });
        rig.set_clock(now_ns);
        rig.clear_flows(setup.vip(0).ip());
        let (first, count) = setup.port_range();
        rig.change_settings(|settings| *settings = Settings::new(first, count));
        for n in 0..setup.sources {
            rig.snat(n.into(), setup.source(n));
        }
        for n in 0..setup.vips {
            rig.vip(setup.vip(n), SERVICE);
        }
        for (what, tokens) in [
            (Budgeted::Reset, 10_000),
            (Budgeted::UnprovenFlow, 50_000),
            // More than a sequence has new flows.
            (Budgeted::RingWalk, 1_000),
        ] {
            rig.budget_since(what, tokens, now_ns);
        }
        rig.change_service(SERVICE, |service| {
            service.mode = setup.mode;
            service.version = if setup.v6 { 6 } else { 4 };
            let ms = |state| (timeout_ns(state) / 1_000_000) as u32;
            service.timeouts = Timeouts {
                half_open_ms: ms(State::HalfOpen),
                established_ms: ms(State::Established),
                fin_ms: ms(State::Fin),
                reset_ms: ms(State::Reset),
            };
        });
        for n in 0..self.model.world.backends.len() {
            self.write_backend(n, backend_state::UP, flows::FORWARD);
            if setup.mode == mode::ROUTE {
                self.rig.route(setup.backend(n));
            }
            self.rig.tunnel(
                n as u32,
                Tunnel {
                    source: Rig::address_words(setup.tunnel_source()),
                    mtu: 1_500,
                    port_be: if setup.mode == mode::GUE {
                        GUE_PORT.to_be()
                    } else {
                        0
                    },
                    version: if setup.v6 { 6 } else { 4 },
                    ..Tunnel::default()
                },
            );
        }
        self.turn_ring();
        if let Some(room) = setup.room {
            self.fill(room);
        }
        self.rig.newly_counted();
    }

    /// Others' flows take all places for confirmed entries but so many.
    fn fill(&mut self, room: u8) {
        let setup = self.model.world.setup;
        for n in 0..CONFIRMED_PLACES as u8 - room {
            let (client, vip) = (setup.stranger(n), setup.vip(0));
            self.model.flows.push(Flow {
                client,
                vip,
                local: client,
                backend: 0,
                backend_address: setup.backend(0),
                state: State::Established,
                confirmed: true,
                refused_ns: None,
                client_closed: false,
                backend_closed: false,
                backend_closed_first: false,
                expects: None,
                router: router_mac(0),
                last_ns: self.model.world.now_ns,
                has_client_entry: true,
                has_reply_entry: false,
            });
        }
        let entries: Vec<_> = self.model.entries();
        self.rig.write_entries(entries.iter().map(|entry| {
            let shown = crate::rig::Entry {
                table: Table::Confirmed,
                source: entry.new_from,
                destination: entry.new_to,
                backend_idx: 0,
                last_seen_ns: entry.last_ns,
                state: flow_state::ESTABLISHED,
                side: side::CLIENT,
                closed_by: 0,
                flags: 0,
                pending: 0,
                ifindex: INGRESS,
                local_mac: FRONT,
                peer_mac: entry.router,
            };
            (entry.from, entry.to, shown)
        }));
    }

    pub(super) fn change(&mut self, n: usize, change: Change) {
        let ends = |keep| if keep { flows::FORWARD } else { flows::RESET };
        let (state, flows) = match change {
            Change::Up => (backend_state::UP, flows::FORWARD),
            Change::Drain => (backend_state::DRAIN, flows::FORWARD),
            Change::Down { keep } => (backend_state::DOWN, ends(keep)),
            Change::Maintenance { keep } => (backend_state::MAINT, ends(keep)),
            Change::Removed { keep } => (backend_state::REMOVED, ends(keep)),
            // In the ring to come.
            Change::Weight(_) => return,
            Change::Resolved(resolved) => {
                let ifindex = if resolved { INGRESS } else { 0 };
                return self
                    .rig
                    .change_backend(n as u32, |backend| backend.ifindex = ifindex);
            }
        };
        (self.rig).change_backend(n as u32, |backend| {
            (backend.state, backend.flows) = (state, flows);
        });
    }

    fn write_backend(&mut self, n: usize, state: u8, flows: u8) {
        let setup = self.model.world.setup;
        let address = setup.backend(n);
        let backend = backend::Backend {
            address: Rig::address_words(address.ip()),
            port_be: address.port().to_be(),
            state,
            flows,
            ifindex: INGRESS,
            peer_mac: backend_mac(n),
            local_mac: BACK,
            weight: 1,
            snat_first: 0,
            snat_count: setup.sources.into(),
            mode: setup.mode,
            version: if setup.v6 { 6 } else { 4 },
            protocol: if setup.udp {
                PROTOCOL_UDP
            } else {
                PROTOCOL_TCP
            },
            identity: 1 + n as u64,
            ..backend::Backend::FREE
        };
        self.rig.backend(n as u32, backend);
    }

    pub(super) fn turn_ring(&mut self) {
        let ring = &self.model.world.ring;
        let slots: Vec<u32> = (ring.iter())
            .flat_map(|(n, weight)| vec![*n as u32; usize::from(*weight)])
            .collect();
        self.rig
            .turn_ring(SERVICE, ring.len() as u32, |slot| match slots.len() {
                0 => lb_common::NO_BACKEND,
                all => slots[slot as usize % all],
            });
    }
}
