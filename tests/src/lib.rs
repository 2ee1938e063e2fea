//! Tools of the tests: the lab, in which real programs talk through a running balancer; packets and
//! the rig that drives the XDP program with them; the benches that measure it, alone and end to end; and a
//! look at the program as it is linked, before any kernel has seen it.

#![forbid(unsafe_code)]

pub mod bench;
pub mod e2e;
pub mod fuzz;
pub mod lab;
pub mod linked;
pub mod model;
pub mod packet;
pub mod rig;

use std::{env, fmt::Debug, str::FromStr};

/// A number that whoever runs the tests may set by an environment variable. Panics when it is set to
/// something else.
pub fn number_from_env<T: FromStr<Err: Debug>>(name: &str, default: T) -> T {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{name} is no such number: {text} ({error:?})")),
        Err(_) => default,
    }
}
