//! Addresses and ports in a form that costs nothing to compare.

use std::net::{IpAddr, SocketAddr};

/// One end of a packet's way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct End {
    pub v6: bool,
    /// Of IPv4 the first four count, and the others are 0.
    address: [u8; 16],
    pub port: u16,
}

impl End {
    #[must_use]
    pub fn new(address: IpAddr, port: u16) -> Self {
        match address {
            IpAddr::V4(address) => Self::read(&address.octets(), port),
            IpAddr::V6(address) => Self::read(&address.octets(), port),
        }
    }

    /// Of 4 or 16 bytes as they stand in a packet.
    #[must_use]
    pub fn read(octets: &[u8], port: u16) -> Self {
        let mut address = [0; 16];
        address[..octets.len()].copy_from_slice(octets);
        Self {
            v6: octets.len() == 16,
            address,
            port,
        }
    }

    /// As they stand in a packet.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.address[..if self.v6 { 16 } else { 4 }]
    }

    #[must_use]
    pub fn ip(&self) -> IpAddr {
        let [a, b, c, d, ..] = self.address;
        if self.v6 {
            IpAddr::from(self.address)
        } else {
            IpAddr::from([a, b, c, d])
        }
    }

    #[must_use]
    pub const fn at_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// In the form of this family, if it is of the other: `::ffff:0:0/96` or its last four bytes.
    #[must_use]
    pub fn of_family(mut self, v6: bool) -> Self {
        match (self.v6, v6) {
            (false, true) => {
                self.address.copy_within(0..4, 12);
                self.address[..10].fill(0);
                self.address[10..12].fill(0xff);
            }
            (true, false) => {
                self.address.copy_within(12..16, 0);
                self.address[4..].fill(0);
            }
            _ => {}
        }
        self.v6 = v6;
        self
    }

    #[must_use]
    pub fn same_host(&self, other: &Self) -> bool {
        (self.v6, self.address) == (other.v6, other.address)
    }
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        SocketAddr::new(self.ip(), self.port).fmt(f)
    }
}

/// From where to where a packet goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ways {
    pub source: End,
    pub destination: End,
}

impl Ways {
    #[must_use]
    pub const fn back(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
        }
    }
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} > {:?}", self.source, self.destination)
    }
}
