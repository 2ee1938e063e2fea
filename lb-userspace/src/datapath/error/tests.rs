//! What an operator reads when the kernel refuses, for refusals that a test cannot bring about.

use super::*;

fn os(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[test]
fn the_verifiers_complaint_is_shown_without_its_statistics() {
    let log = "func#0 @0\n0: R1=ctx()\ninvalid access to packet, off=14 size=1\n\
               R2 offset is outside of the packet\n\
               verification time 12 usec\nstack depth 0\n\
               processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0\n";
    assert_eq!(complaint(log), Some("R2 offset is outside of the packet"));
    assert_eq!(complaint("processed 0 insns (limit 1000000)\n"), None);
    let said = |log| refused_program(&os(libc::EINVAL), log).to_string();
    let start = "the kernel refused the XDP program: ";
    for (log, reason) in [
        ("", "Invalid argument (os error 22); divvy needs Linux 6.1"),
        (log, "R2 offset is outside of the packet (Invalid argument"),
    ] {
        let text = said(log);
        assert!(text.starts_with(&format!("{start}{reason}")), "{text}");
    }
}

#[test]
fn a_table_without_memory_is_named() {
    let error = EbpfError::MapError(MapError::CreateError {
        name: "flows4".to_owned(),
        io_error: os(libc::ENOMEM),
    });
    assert_eq!(
        while_loading(error).to_string(),
        "no memory for the table flows4; lower `limits` in the configuration, or give the host more"
    );
}

#[test]
fn what_aya_leaves_out_is_said() {
    let error = EbpfError::MapError(MapError::CreateError {
        name: "rings".to_owned(),
        io_error: os(libc::EINVAL),
    });
    let text = while_loading(error).to_string();
    let start = "cannot make the tables: map error: failed to create map `rings`: \
                 Invalid argument (os error 22); divvy needs Linux 6.1 or newer, this is Linux";
    assert!(text.starts_with(start), "{text}");
}
