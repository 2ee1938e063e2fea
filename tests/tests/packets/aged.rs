//! Flows in every state that can be made to look old, and sweeping them.

use lb_common::service::Timeouts;
use lb_tests::{
    packet::flag::*,
    rig::{Table, wait_for_a_past},
};

use crate::scene::{Connection, Scene};

/// Far apart, and short: what a flow was seen in must be the machine's past.
pub const TIMEOUTS: Timeouts = Timeouts {
    half_open_ms: 20_000,
    reset_ms: 40_000,
    fin_ms: 60_000,
    established_ms: 80_000,
};
pub const HALF_OPEN_S: u64 = 20;
pub const RESET_S: u64 = 40;
pub const FIN_S: u64 = 60;
pub const ESTABLISHED_S: u64 = 80;
/// Longer than a test takes.
pub const MARGIN_S: u64 = 10;

pub const TABLES: [Table; 2] = [Table::Confirmed, Table::HalfOpen];

/// A flow in some state, and how long that is kept.
pub struct Kept {
    pub connection: Connection,
    pub state: (Table, &'static str),
    pub seconds: u64,
}

pub fn scenes() -> [Scene; 2] {
    wait_for_a_past(ESTABLISHED_S + MARGIN_S);
    let mut scenes = Scene::both();
    for scene in &mut scenes {
        scene
            .rig
            .change_service(0, |service| service.timeouts = TIMEOUTS);
    }
    scenes
}

/// One flow in each state, of the clients from this number on.
pub fn one_in_each_state(scene: &mut Scene, first_client: u16) -> Vec<Kept> {
    type Make = fn(&mut Scene, std::net::SocketAddr) -> Connection;
    let states: [(Make, Table, &str, u64); 7] = [
        (Scene::open, Table::HalfOpen, "half_open", HALF_OPEN_S),
        (answered, Table::HalfOpen, "syn_acked", HALF_OPEN_S),
        (refused, Table::HalfOpen, "reset", RESET_S),
        (
            Scene::establish,
            Table::Confirmed,
            "established",
            ESTABLISHED_S,
        ),
        (half_closed, Table::Confirmed, "fin", FIN_S),
        (closed, Table::Confirmed, "closed", FIN_S),
        (broken_off, Table::Confirmed, "reset", RESET_S),
    ];
    let clients = first_client..;
    let made = clients
        .zip(states)
        .map(|(n, (make, table, name, seconds))| {
            let connection = make(scene, scene.other_client(n));
            let state = (table, name);
            assert_eq!(scene.state(&connection), Some(state));
            Kept {
                connection,
                state,
                seconds,
            }
        });
    made.collect()
}

pub fn answered(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = scene.open(client);
    scene.backend_sends(&connection, scene.syn_ack(&connection));
    connection
}

pub fn refused(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = scene.open(client);
    let refusal = scene.by_backend(&connection).flags(RST | ACK).seq(0);
    scene.backend_sends(&connection, refusal);
    connection
}

pub fn half_closed(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = scene.establish(client);
    let fin = scene.by_client(&connection).flags(FIN | ACK);
    scene.client_sends(&connection, fin);
    connection
}

pub fn closed(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = half_closed(scene, client);
    let fin = scene.by_backend(&connection).flags(FIN | ACK);
    scene.backend_sends(&connection, fin);
    connection
}

pub fn broken_off(scene: &mut Scene, client: std::net::SocketAddr) -> Connection {
    let connection = scene.establish(client);
    let reset = scene.by_client(&connection).flags(RST);
    scene.client_sends(&connection, reset);
    connection
}

/// Sweeps both tables; returns how many flows are left.
pub fn sweep(scene: &mut Scene) -> u32 {
    let family = scene.client.ip();
    TABLES
        .map(|table| scene.rig.sweep(family, table).0)
        .iter()
        .sum()
}

/// Sweeps both tables, which must change nothing in them.
#[track_caller]
pub fn sweep_in_vain(scene: &mut Scene) -> u32 {
    let family = scene.client.ip();
    let before = TABLES.map(|table| scene.rig.image(family, table));
    let mut flows = 0;
    for table in TABLES {
        let (left, removed) = scene.rig.sweep(family, table);
        assert_eq!(removed, 0, "nothing is removed");
        flows += left;
    }
    let after = TABLES.map(|table| scene.rig.image(family, table));
    assert!(before == after, "the tables are as they were");
    flows
}

/// One flow in each state, of which this direction (0: the client's, 1: the backend's) is overdue.
pub fn quiet_in_one_direction(scene: &mut Scene, quiet: usize) -> Vec<Kept> {
    let flows = one_in_each_state(scene, 0);
    for flow in &flows {
        let way = scene.ways(&flow.connection)[quiet];
        scene.age_way(way, flow.seconds + 1);
    }
    flows
}
