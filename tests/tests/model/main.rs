//! The program and the reference model go through the same events and must agree after each. Needs root;
//! touches no interface. `DIVVY_MODEL_SEED` and `DIVVY_MODEL_EVENTS` ask for other ones (docs/testing.md).

use std::io::Write as _;

use lb_common::reason::Reason;
use lb_tests::{
    model::{Rigs, State, Tally},
    number_from_env,
};

/// Of the run that is always the same.
const SEED: u64 = 4;
const EVENTS: u64 = 100_000;

#[test]
fn program_and_model_agree() {
    let seed = number_from_env("DIVVY_MODEL_SEED", SEED);
    let events = number_from_env("DIVVY_MODEL_EVENTS", EVENTS);
    let tally = Rigs::default()
        .run(seed, events)
        .unwrap_or_else(|story| panic!("{story}"));
    // Past the capture of output, which would hide it from whoever runs a test that passes.
    let _ = writeln!(std::io::stderr().lock(), "seed {seed}: {tally}");
    if events >= EVENTS {
        covers_everything(&tally);
    }
}

/// What never came up was not compared.
fn covers_everything(tally: &Tally) {
    for state in State::ALL {
        for confirmed in [false, true] {
            let possible = !confirmed || state >= State::Established;
            let reached = tally.reached(confirmed, state);
            assert_eq!(reached >= 20, possible, "{confirmed} {state}: {reached}");
        }
    }
    for reason in [
        Reason::NotOurs,
        Reason::NextHopUnknown,
        Reason::BackendUnresolved,
        Reason::FlowConflict,
        Reason::Unanswered,
        Reason::PortsExhausted,
        Reason::RstLimited,
        Reason::RstForRst,
        Reason::NoFlow,
        Reason::NoBackend,
        Reason::BackendDown,
        Reason::FlowTableFull,
        Reason::FlowNew,
        Reason::FlowConfirmed,
        Reason::PortReused,
    ] {
        let counted = tally.counted(reason);
        assert!(counted >= 20, "{}: {counted}", reason.name());
    }
}
