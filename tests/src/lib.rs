//! Tools of the tests: the lab, in which real programs talk through a running balancer.

#![forbid(unsafe_code)]

pub mod lab;
