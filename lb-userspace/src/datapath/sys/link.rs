//! XDP links: making one or failing, which program it has, and what it is attached to (kernel 5.9).

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use super::{BPF_OBJ_GET_INFO_BY_FD, InfoAttr, bpf, owned, raw};

/// Commands of `bpf(2)` (include/uapi/linux/bpf.h, enum bpf_cmd).
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;
const BPF_LINK_DETACH: libc::c_long = 34;

/// `enum bpf_attach_type`.
const BPF_XDP: u32 = 37;

/// The start of `bpf_attr.link_create`.
#[repr(C)]
struct LinkCreateAttr {
    program_fd: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// `bpf_attr.link_update`.
#[repr(C)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_program_fd: u32,
    flags: u32,
    old_program_fd: u32,
}

/// `bpf_attr.link_detach`.
#[repr(C)]
struct LinkDetachAttr {
    link_fd: u32,
}

/// The start of `struct bpf_link_info`, with its XDP part.
#[repr(C)]
#[derive(Default)]
struct XdpLinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    pad: u32,
    ifindex: u32,
    rest: [u32; 11],
}

/// What an XDP link joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkTarget {
    pub program_id: u32,
    /// 0 once the interface is gone.
    pub ifindex: u32,
}

/// Attaches an XDP program to an interface until the link, its pins included, is gone.
///
/// # Errors
/// What the kernel or the driver says; nothing is attached then.
pub fn create_xdp_link(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = LinkCreateAttr {
        program_fd: raw(program),
        ifindex,
        attach_type: BPF_XDP,
        flags,
    };
    // SAFETY: the attribute holds no pointer.
    let fd = unsafe { bpf(BPF_LINK_CREATE, &mut attr) }?;
    // SAFETY: the kernel just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { owned(fd) })
}

/// Puts another program on a link, without a moment at which there is none.
///
/// # Errors
/// What the kernel or the driver says; the program before stays then.
pub fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdateAttr {
        link_fd: raw(link),
        new_program_fd: raw(program),
        flags: 0,
        old_program_fd: 0,
    };
    // SAFETY: the attribute holds no pointer.
    unsafe { bpf(BPF_LINK_UPDATE, &mut attr) }.map(drop)
}

/// Takes a link's program off at once. Closing the last reference does it too, but later, from a
/// work queue of the kernel's.
///
/// # Errors
/// What the kernel says.
pub fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkDetachAttr { link_fd: raw(link) };
    // SAFETY: the attribute holds no pointer.
    unsafe { bpf(BPF_LINK_DETACH, &mut attr) }.map(drop)
}

/// What a link joins.
///
/// # Errors
/// What the kernel says.
pub fn link_target(link: BorrowedFd<'_>) -> io::Result<LinkTarget> {
    let mut info = XdpLinkInfo::default();
    let mut attr = InfoAttr {
        bpf_fd: raw(link),
        info_len: u32::try_from(size_of::<XdpLinkInfo>()).expect("a small constant"),
        info: (&raw mut info) as u64,
    };
    // SAFETY: `info` has the length given, and the kernel writes no more than that.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(LinkTarget {
        program_id: info.program_id,
        ifindex: info.ifindex,
    })
}
