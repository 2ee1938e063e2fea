//! Vips: addresses with the ports that are listened on.

use std::{
    fmt::{self, Display, Formatter},
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

/// Ports from `first` to `last`, both included: `1 <= first <= last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self {
        first: 1,
        last: u16::MAX,
    };

    /// The range of one port.
    #[must_use]
    pub const fn one(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }

    /// How many ports there are: 1 to 65,535.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.last - self.first + 1
    }

    /// The port, of a range of one.
    #[must_use]
    pub fn single(self) -> Option<u16> {
        (self.first == self.last).then_some(self.first)
    }

    /// The other's ports are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Some port is in both.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The fewest prefixes that hold exactly these ports, at most 30, from the lowest on. Port 0 is
    /// nobody's: it counts as one of a range that begins with 1, so that all ports are one prefix.
    #[must_use]
    pub fn prefixes(self) -> Vec<PortPrefix> {
        let mut prefixes = Vec::new();
        let mut next = if self.first == 1 {
            0
        } else {
            u32::from(self.first)
        };
        let end = u32::from(self.last) + 1;
        while next < end {
            // As large as the first port is aligned and as the rest of the range allows.
            let aligned = if next == 0 { 16 } else { next.trailing_zeros() };
            let left_out = aligned.min((end - next).ilog2());
            prefixes.push(PortPrefix {
                first: u16::try_from(next).expect("it is at most the last port"),
                bits: 16 - left_out,
            });
            next += 1 << left_out;
        }
        prefixes
    }
}

impl Default for PortRange {
    /// For source ports: clear of the ephemeral range of Linux, which starts at 32,768.
    fn default() -> Self {
        Self {
            first: 1024,
            last: 32_767,
        }
    }
}

/// Ports whose numbers begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPrefix {
    /// The lowest of them.
    pub first: u16,
    /// Bits that are alike, from the highest on: 0 to 16.
    pub bits: u32,
}

/// An address, and the ports of it that a service listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vip {
    pub address: IpAddr,
    pub ports: PortRange,
}

impl Vip {
    #[must_use]
    pub const fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }
}

impl From<SocketAddr> for Vip {
    fn from(address: SocketAddr) -> Self {
        Self {
            address: address.ip(),
            ports: PortRange::one(address.port()),
        }
    }
}

/// As in the file.
impl Display for Vip {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(v4) => write!(f, "{v4}:")?,
            IpAddr::V6(v6) => write!(f, "[{v6}]:")?,
        }
        match (self.ports, self.ports.single()) {
            (_, Some(port)) => write!(f, "{port}"),
            (PortRange::ALL, None) => f.write_str("*"),
            (PortRange { first, last }, None) => write!(f, "{first}-{last}"),
        }
    }
}

/// A backend's address as in the file: without the port where it has none of its own, which is 0.
#[must_use]
pub fn backend_text(address: SocketAddr) -> String {
    match address.port() {
        0 => address.ip().to_string(),
        _ => address.to_string(),
    }
}

/// What an IPv6 address looks like before a port.
pub(super) fn bracketed(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes(first: u16, last: u16) -> Vec<(u16, u32)> {
        (PortRange { first, last }.prefixes().iter())
            .map(|prefix| (prefix.first, prefix.bits))
            .collect()
    }

    #[test]
    fn a_range_is_as_few_prefixes_as_can_be() {
        assert_eq!(prefixes(1, u16::MAX), [(0, 0)]);
        assert_eq!(prefixes(1, 1023), [(0, 6)]);
        assert_eq!(prefixes(80, 80), [(80, 16)]);
        assert_eq!(
            prefixes(8000, 8100),
            [(8000, 10), (8064, 11), (8096, 14), (8100, 16)]
        );
        assert_eq!(prefixes(u16::MAX, u16::MAX), [(u16::MAX, 16)]);
        assert_eq!(prefixes(3, 65_534).len(), 29);
    }

    proptest! {
        #[test]
        fn prefixes_hold_exactly_the_ports_of_the_range(a in 1..=u16::MAX, b in 1..=u16::MAX) {
            let range = PortRange { first: a.min(b), last: a.max(b) };
            let prefixes = range.prefixes();
            prop_assert!(prefixes.len() <= 30);
            for port in 1..=u16::MAX {
                let holding = (prefixes.iter())
                    .filter(|prefix| u32::from(port ^ prefix.first) >> (16 - prefix.bits) == 0)
                    .count();
                prop_assert_eq!(holding, usize::from(range.contains(PortRange::one(port))));
            }
        }
    }
}
