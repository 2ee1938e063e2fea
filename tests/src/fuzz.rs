//! The structured fuzzer: valid packets changed field by field, and conversations with such members,
//! through the real program. The same seed makes the same packets. Nothing of the program's own code is
//! used to judge it: see [`judge`].

mod dissect;
mod end;
mod finding;
mod flows;
mod frame;
mod judge;
mod ledger;
mod make;
mod plan;
mod random;
mod reasons;
mod report;
mod run;
mod story;
mod sum;
mod tables;
#[cfg(test)]
mod tests;
mod world;

pub use finding::Finding;
pub use report::Report;
pub use run::{Effort, run};
