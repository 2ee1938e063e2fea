//! What the XDP program logs, on its way into the daemon's log.

use std::{os::fd::AsFd as _, thread};

use aya::Ebpf;
use aya_log::EbpfLogger;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

/// Starts a thread that hands the program's log records on for as long as the process lives.
/// Without it they are dropped in the kernel.
pub(super) fn forward(ebpf: &mut Ebpf) {
    let mut logger = match EbpfLogger::init(ebpf) {
        Ok(logger) => logger,
        Err(error) => {
            warn!("the XDP program's log cannot be read: {error}");
            return;
        }
    };
    let reader = move || {
        loop {
            let mut readable = [PollFd::new(logger.as_fd(), PollFlags::POLLIN)];
            match poll(&mut readable, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => logger.flush(),
                Err(error) => {
                    warn!("the XDP program's log cannot be read: {error}");
                    return;
                }
            }
        }
    };
    if let Err(error) = thread::Builder::new()
        .name("ebpf-log".to_owned())
        .spawn(reader)
    {
        warn!("the XDP program's log cannot be read: {error}");
    }
}
