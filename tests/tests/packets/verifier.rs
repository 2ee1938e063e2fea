//! What it costs the kernel to accept the program.

use lb_tests::rig::{Rig, Sizes};

/// The kernel's own limit is a million; ours leaves room for the modes to come.
const MOST_INSTRUCTIONS: u32 = 200_000;

#[test]
fn the_verifier_needs_few_instructions() {
    let instructions = Rig::load(Sizes::default()).verified_instructions();
    println!("the verifier processed {instructions} instructions");
    assert!(instructions < MOST_INSTRUCTIONS, "{instructions}");
}
