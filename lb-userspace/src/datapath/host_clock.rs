//! Whether the host's clock is kept right by somebody.

#![expect(
    unsafe_code,
    reason = "raw system calls; every other module forbids it"
)]

use std::io;

/// Whether the kernel counts the wall clock as synchronised: a daemon of NTP or PTP has said so within the
/// last hours (adjtimex(2)). Takes no rights.
///
/// # Errors
/// What the kernel says.
pub fn clock_is_synchronised() -> io::Result<bool> {
    // SAFETY: it is made of integers; with no mode set the call only reads.
    let mut request: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes no more than this structure.
    let state = unsafe { libc::adjtimex(&raw mut request) };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(state != libc::TIME_ERROR && request.status & libc::STA_UNSYNC == 0)
}
