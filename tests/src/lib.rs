//! Tools of the tests: packets and the rig that drives the XDP program with them.

pub mod packet;
pub mod rig;
