//! Programs of classic BPF by which the kernel lets only answers through to a socket
//! (Documentation/networking/filter.rst).

use socket2::SockFilter;

/// Instructions (include/uapi/linux/bpf_common.h): loads into A of a half word and a byte at a fixed
/// place, of a half word beyond X, of an IPv4 header's length into X; comparisons; the verdict.
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_BEYOND: u16 = 0x48;
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Bytes of a packet that are let through: more than the headers of an answer have.
const SNAP: u32 = 256;
const TCP: u32 = 6;
/// Places in packets, in bytes.
const PROTOCOL4: u32 = 9;
const FRAGMENT4: u32 = 6;
const FRAGMENT4_OFFSET: u32 = 0x1fff;
const NEXT_HEADER6: u32 = 6;
const HEADER6: u32 = 40;
const DESTINATION_PORT: u32 = 2;

/// TCP over IPv4 to one of these ports; packets begin with the IP header.
pub(super) fn tcp4(ports: &[u16]) -> Vec<SockFilter> {
    let away = |beyond: usize| small(ports.len() + beyond);
    let mut program = vec![
        op(LOAD_BYTE, 0, 0, PROTOCOL4),
        op(JUMP_EQUAL, 0, away(4), TCP),
        op(LOAD_HALF, 0, 0, FRAGMENT4),
        op(JUMP_SET, away(2), 0, FRAGMENT4_OFFSET),
        op(LOAD_HEADER_LENGTH, 0, 0, 0),
        op(LOAD_HALF_BEYOND, 0, 0, DESTINATION_PORT),
    ];
    one_of(ports, &mut program);
    program
}

/// The same over IPv6, without extension headers.
pub(super) fn tcp6(ports: &[u16]) -> Vec<SockFilter> {
    let mut program = vec![
        op(LOAD_BYTE, 0, 0, NEXT_HEADER6),
        op(JUMP_EQUAL, 0, small(ports.len() + 1), TCP),
        op(LOAD_HALF, 0, 0, HEADER6 + DESTINATION_PORT),
    ];
    one_of(ports, &mut program);
    program
}

/// What is in A is one of these ports: the last instruction lets the packet through, the one before
/// it does not.
fn one_of(ports: &[u16], program: &mut Vec<SockFilter>) {
    for (at, port) in ports.iter().enumerate() {
        program.push(op(JUMP_EQUAL, small(ports.len() - at), 0, u32::from(*port)));
    }
    program.push(op(RETURN, 0, 0, 0));
    program.push(op(RETURN, 0, 0, SNAP));
}

/// `yes` and `no` are how many instructions a comparison skips.
const fn op(code: u16, yes: u8, no: u8, k: u32) -> SockFilter {
    SockFilter::new(code, yes, no, k)
}

fn small(instructions: usize) -> u8 {
    u8::try_from(instructions).expect("there are few ports")
}
