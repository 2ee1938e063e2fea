//! Tools of the tests: packets, the rig that drives the XDP program with them, and the bench that
//! measures it.

pub mod bench;
pub mod packet;
pub mod rig;
