//! Tools of the tests: the lab, in which real programs talk through a running balancer; packets and
//! the rig that drives the XDP program with them; the bench that measures it; and a look at the
//! program as it is linked, before any kernel has seen it.

#![forbid(unsafe_code)]

pub mod bench;
pub mod fuzz;
pub mod lab;
pub mod linked;
pub mod model;
pub mod packet;
pub mod rig;
