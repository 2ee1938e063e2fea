//! One fragment of a packet. What it is a part of can only be judged together with the others.

use std::net::IpAddr;

use super::{Defect, flawless, ip};

/// A fragment as found in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// In bytes.
    pub offset: u16,
    pub more: bool,
    pub body: Vec<u8>,
}

/// The fragment in a frame whose IP header is right.
///
/// # Errors
/// What is wrong with it; among others, that it is none.
pub fn check_fragment(frame: &[u8]) -> Result<Fragment, Defect> {
    let mut defects = Vec::new();
    let (_, ip) = ip::read(frame, &mut defects)?;
    let (offset, more) = ip.fragment.ok_or(Defect::NoFragment)?;
    let fragment = Fragment {
        source: ip.source,
        destination: ip.destination,
        ttl: ip.ttl,
        offset,
        more,
        body: ip.body.to_vec(),
    };
    flawless(fragment, defects)
}
