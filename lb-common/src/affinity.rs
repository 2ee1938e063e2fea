//! Which backend a client was given last: the LRU hashes `affinity4` and `affinity6`.

/// Most clients that are remembered, of each address family.
pub const MAX_CLIENTS: u32 = 65_536;

/// A client of a service. 8 bytes for IPv4, 20 for IPv6.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client<A> {
    pub service_idx: u32,
    /// Network byte order; bits by which the service does not tell clients apart are 0.
    pub address: A,
}
const _: () = assert!(size_of::<Client<crate::V4>>() == 8);
const _: () = assert!(size_of::<Client<crate::V6>>() == 20);

/// The backend of its last new flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// That of the backend's entry, which may have another owner since.
    #[cfg(not(feature = "second-layout"))]
    pub identity: u64,
    /// When that flow was opened.
    pub last_ns: u64,
    /// As above.
    #[cfg(feature = "second-layout")]
    pub identity: u64,
    pub backend_idx: u32,
    pub pad: u32,
}
const _: () = assert!(size_of::<Remembered>() == 24);
