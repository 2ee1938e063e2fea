//! What it costs the kernel to accept the program.

use lb_tests::rig::{LOG_EVERYTHING, LOG_NOTHING, Rig, SIZES, tracing};

/// The kernel's own limit is a million; ours leaves half of it to kernels that look more closely than those that
/// we know, and to what is to come. Linux 6.1 takes a third more than 6.18.
const MOST_INSTRUCTIONS: u32 = 500_000;

#[test]
fn the_verifier_needs_few_instructions() {
    for (log, log_level) in [("off", LOG_NOTHING), ("on", LOG_EVERYTHING)] {
        let instructions = Rig::load_logging(SIZES, log_level).verified_instructions();
        println!("with its log {log}, the verifier processed {instructions} instructions");
        assert!(instructions < MOST_INSTRUCTIONS);
    }
    tracing(1, || {
        let instructions = Rig::load(SIZES).verified_instructions();
        println!("traced, the verifier processed {instructions} instructions");
        assert!(instructions < MOST_INSTRUCTIONS);
    });
}
