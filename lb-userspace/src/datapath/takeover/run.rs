//! Running the program `carry`.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::Pod;
use lb_common::carry::{CarriedCount, CarriedFlow, CarriedStats, outcome};

use crate::datapath::sys;

/// Has the program carry one entry or counter: one of [`outcome`].
pub(super) fn run<Request: Pod + Carried>(program: &OwnedFd, request: &Request) -> io::Result<u32> {
    let (_, answer) = sys::run_program::<Request, Request>(program.as_fd(), request)?;
    match answer.first_word() {
        done @ outcome::DONE..=outcome::TAKEN => Ok(done),
        _ => Err(io::Error::other("the program `carry` refused an entry")),
    }
}

/// What the program overwrites with its answer.
pub(super) trait Carried {
    fn first_word(&self) -> u32;
}

impl<A: lb_common::Address> Carried for CarriedFlow<A> {
    fn first_word(&self) -> u32 {
        self.what
    }
}

impl Carried for CarriedStats {
    fn first_word(&self) -> u32 {
        self.what
    }
}

impl Carried for CarriedCount {
    fn first_word(&self) -> u32 {
        self.what
    }
}
