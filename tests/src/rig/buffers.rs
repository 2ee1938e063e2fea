//! Frames whose first buffer is as short as a test likes, so that tests which know nothing of buffers can
//! be run with several for each frame.

use std::cell::Cell;

thread_local! {
    static FIRST: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Runs a test in which the first buffer of each frame holds so many bytes, and others the rest. Where the
/// kernel cannot do that (before Linux 6.18), says so and runs nothing.
pub fn in_buffers(first: usize, test: impl FnOnce()) {
    if !kernel_can() {
        eprintln!("this kernel makes no such frames (Linux 6.18 does): nothing is tested");
        return;
    }
    FIRST.set(Some(first));
    test();
    FIRST.set(None);
}

/// The context of a test run with this frame (`struct xdp_md`), if its buffers are not the kernel's
/// choice.
pub(super) fn context(frame: &[u8]) -> Option<Vec<u8>> {
    let data_end = FIRST.get()?.min(frame.len()) as u32;
    // Data, its end, metadata, interface, queue, and interface on the way out.
    let words = [0, data_end, 0, 0, 0, 0];
    Some(words.iter().copied().flat_map(u32::to_ne_bytes).collect())
}

fn kernel_can() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    let version: (u32, u32) = (
        numbers.next().unwrap_or_default(),
        numbers.next().unwrap_or_default(),
    );
    version >= (6, 18)
}
