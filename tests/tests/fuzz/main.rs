//! A million packets of all kinds through the real XDP program, judged one by one. Needs root; touches no
//! interface.

use lb_tests::fuzz::{Effort, run};

const EFFORT: Effort = Effort {
    seed: 1,
    first: 0,
    packets: 1_000_000,
};

#[test]
fn a_million_packets_keep_every_promise() {
    let report =
        run(&EFFORT, |what| eprintln!("{what}")).unwrap_or_else(|finding| panic!("{finding}"));
    eprint!("{report}");
    let missing = report.missing();
    let Effort { seed, packets, .. } = EFFORT;
    assert!(
        missing.is_empty(),
        "not reached: {missing:?}\nagain by: cargo xtask fuzz --seed {seed} --packets {packets}"
    );
}
