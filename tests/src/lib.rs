//! Tools of the tests: the lab, in which real programs talk through a running balancer; packets and
//! the rig that drives the XDP program with them; and the bench that measures it.

#![forbid(unsafe_code)]

pub mod bench;
pub mod lab;
pub mod packet;
pub mod rig;
