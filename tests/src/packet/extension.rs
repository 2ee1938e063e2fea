//! TCP options and IPv6 extension headers, by name.

use super::protocol;

/// A TCP option (RFC 9293 section 3.1, RFC 7323, RFC 2018).
#[derive(Clone, Copy, Debug)]
pub enum TcpOption {
    Nop,
    MaxSegmentSize(u16),
    WindowScale(u8),
    SackPermitted,
    Timestamps { value: u32, echo: u32 },
}

impl TcpOption {
    /// What Linux sends with a SYN.
    #[must_use]
    pub fn of_a_syn() -> Vec<Self> {
        vec![
            Self::MaxSegmentSize(1460),
            Self::SackPermitted,
            Self::Timestamps { value: 1, echo: 0 },
            Self::Nop,
            Self::WindowScale(7),
        ]
    }

    /// What Linux sends with a segment of an open connection.
    #[must_use]
    pub fn of_data() -> Vec<Self> {
        vec![Self::Nop, Self::Nop, Self::Timestamps { value: 2, echo: 1 }]
    }

    pub(super) fn write(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Nop => bytes.push(1),
            Self::MaxSegmentSize(size) => {
                bytes.extend([2, 4]);
                bytes.extend(size.to_be_bytes());
            }
            Self::WindowScale(shift) => bytes.extend([3, 3, shift]),
            Self::SackPermitted => bytes.extend([4, 2]),
            Self::Timestamps { value, echo } => {
                bytes.extend([8, 10]);
                bytes.extend(value.to_be_bytes());
                bytes.extend(echo.to_be_bytes());
            }
        }
    }
}

/// An IPv6 extension header (RFC 8200, section 4).
#[derive(Clone, Copy, Debug)]
pub enum Extension {
    /// Hop-by-hop options: padding over this many units of 8 bytes, at least 1.
    HopByHop { units: u8 },
    /// Destination options: padding over this many units of 8 bytes, at least 1.
    Destination { units: u8 },
    /// Routing header of an experimental type (RFC 4727) with no addresses.
    Routing { segments_left: u8 },
    /// Fragment header; the offset is in bytes and a multiple of 8.
    Fragment { offset: u16, more: bool },
}

impl Extension {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::HopByHop { .. } => protocol::HOP_BY_HOP,
            Self::Destination { .. } => protocol::DESTINATION,
            Self::Routing { .. } => protocol::ROUTING,
            Self::Fragment { .. } => protocol::FRAGMENT,
        }
    }

    /// `identification` is the lower half of a fragment header's.
    pub(super) fn write(self, next: u8, identification: u16, bytes: &mut Vec<u8>) {
        match self {
            Self::HopByHop { units } | Self::Destination { units } => {
                bytes.extend([next, units - 1]);
                // One PadN option holds at most 255 bytes (RFC 8200, section 4.2).
                let mut left = usize::from(units) * 8 - 2;
                while left > 0 {
                    let pad = left.min(256);
                    if pad == 1 {
                        bytes.push(0);
                    } else {
                        bytes.extend([1, (pad - 2) as u8]);
                        bytes.resize(bytes.len() + pad - 2, 0);
                    }
                    left -= pad;
                }
            }
            Self::Routing { segments_left } => {
                bytes.extend([next, 0, 253, segments_left, 0, 0, 0, 0]);
            }
            Self::Fragment { offset, more } => {
                bytes.extend([next, 0]);
                bytes.extend((offset & !7 | u16::from(more)).to_be_bytes());
                bytes.extend(0x5678_u16.to_be_bytes());
                bytes.extend(identification.to_be_bytes());
            }
        }
    }
}
