//! An interface as the address that frames leave by.

#![expect(
    unsafe_code,
    reason = "no library makes an address of family AF_PACKET; every other module forbids it"
)]

use socket2::{SockAddr, SockAddrStorage};

/// The address of family AF_PACKET of an interface, for frames that hold their own Ethernet header
/// (packet(7)).
#[must_use]
pub fn link_address(ifindex: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is one of the platform's `sockaddr_*` types.
    let link: &mut libc::sockaddr_ll = unsafe { storage.view_as() };
    link.sll_family = libc::AF_PACKET.cast_unsigned() as libc::sa_family_t;
    // The kernel's indices are positive.
    link.sll_ifindex = ifindex.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the storage holds an address of this family and this length, as filled in above.
    unsafe { SockAddr::new(storage, length) }
}
