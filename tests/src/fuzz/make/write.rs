//! Packets from named fields into a frame. Everything is right in them; what is wrong comes later.

use crate::{
    fuzz::{end::Ways, frame::Frame},
    packet::{Mac, ethertype, protocol},
};

/// A packet to be.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub source_mac: Mac,
    pub destination_mac: Mac,
    /// How many of the tags there are.
    pub tagged: usize,
    pub tags: [(u16, u16); 2],
    pub ways: Ways,
    pub hops: u8,
    pub traffic_class: u8,
    pub identification: u16,
    pub dont_fragment: bool,
    /// Words of IPv4 options.
    pub options: usize,
    /// IPv6 extension headers: kinds and units of 8 bytes; a fragment header is of the whole packet.
    pub extensions: [(u8, u8); 3],
    pub extended: usize,
    pub body: Body,
}

#[derive(Clone, Copy, Debug)]
pub enum Body {
    Tcp {
        sequence: u32,
        acknowledgement: u32,
        flags: u8,
        /// Words of options.
        options: usize,
    },
    Udp {
        summed: bool,
    },
    /// Of either version.
    Icmp {
        kind: u8,
        code: u8,
        rest: u32,
    },
}

impl Spec {
    #[must_use]
    pub const fn new(ways: Ways, macs: [Mac; 2], body: Body) -> Self {
        let [source_mac, destination_mac] = macs;
        Self {
            source_mac,
            destination_mac,
            tagged: 0,
            tags: [(ethertype::VLAN, 0); 2],
            ways,
            hops: 64,
            traffic_class: 0,
            identification: 0x1234,
            dont_fragment: true,
            options: 0,
            extensions: [(protocol::DESTINATION, 1); 3],
            extended: 0,
            body,
        }
    }

    const fn protocol(&self) -> u8 {
        match (self.body, self.ways.source.v6) {
            (Body::Tcp { .. }, _) => protocol::TCP,
            (Body::Udp { .. }, _) => protocol::UDP,
            (Body::Icmp { .. }, false) => protocol::ICMP,
            (Body::Icmp { .. }, true) => protocol::ICMPV6,
        }
    }

    /// Writes the frame anew.
    pub fn write(&self, frame: &mut Frame, payload: Payload<'_>) {
        frame.clear();
        let v6 = self.ways.source.v6;
        frame.ethernet(
            &self.source_mac,
            &self.destination_mac,
            &self.tags[..self.tagged],
            v6,
        );
        let start = frame.len();
        frame.parts.ip = Some((start, v6));
        let transport = self.write_ip(frame, payload);
        frame.parts.transport = Some((transport, self.protocol()));
        frame.parts.end = frame.len();
    }

    /// Appends the packet from its IP header on. Returns where the transport begins.
    pub fn write_ip(&self, frame: &mut Frame, payload: Payload<'_>) -> usize {
        let start = frame.len();
        let Ways {
            source,
            destination,
        } = &self.ways;
        if source.v6 {
            frame.push32(6 << 28 | u32::from(self.traffic_class) << 20);
            frame.push16(0);
            frame.push(&[self.protocol(), self.hops]);
            frame.push(source.octets());
            frame.push(destination.octets());
            self.write_extensions(frame, start + 6);
        } else {
            frame.push(&[0x45 + self.options as u8, self.traffic_class]);
            frame.push16(0);
            frame.push16(self.identification);
            frame.push16(u16::from(self.dont_fragment) << 14);
            frame.push(&[self.hops, self.protocol(), 0, 0]);
            frame.push(source.octets());
            frame.push(destination.octets());
            for _ in 0..self.options {
                frame.push(&[1, 1, 1, 1]);
            }
        }
        let transport = frame.len();
        self.write_transport(frame);
        match payload {
            Payload::Text(len) => frame.push_text(len),
            Payload::Bytes(bytes) => frame.push(bytes),
        }
        let end = frame.len();
        if source.v6 {
            frame.set16(start + 4, (end - start - 40) as u16);
        } else {
            frame.set16(start + 2, (end - start) as u16);
            frame.sum_ip(start);
        }
        if let Body::Udp { summed } = self.body {
            frame.set16(transport + 4, (end - transport) as u16);
            if !summed {
                return transport;
            }
        }
        frame.sum_transport(transport, end, self.protocol(), &self.ways);
        transport
    }

    /// `next_at` is where the number of the first goes.
    fn write_extensions(&self, frame: &mut Frame, mut next_at: usize) {
        for (kind, units) in &self.extensions[..self.extended] {
            frame.bytes_mut()[next_at] = *kind;
            next_at = frame.len();
            frame.push(&[self.protocol()]);
            match *kind {
                protocol::FRAGMENT => {
                    frame.push(&[0, 0, 0]);
                    frame.push32(0x1234_5678);
                }
                protocol::ROUTING => frame.push(&[0, 253, 0, 0, 0, 0, 0]),
                _ => {
                    let units = usize::from((*units).clamp(1, 16));
                    // One PadN option over all of it.
                    frame.push(&[units as u8 - 1, 1, units as u8 * 8 - 4]);
                    let end = frame.len() + units * 8 - 4;
                    frame.resize(end);
                }
            }
        }
    }

    fn write_transport(&self, frame: &mut Frame) {
        let (from, to) = (self.ways.source.port, self.ways.destination.port);
        match self.body {
            Body::Tcp {
                sequence,
                acknowledgement,
                flags,
                options,
            } => {
                frame.push16(from);
                frame.push16(to);
                frame.push32(sequence);
                frame.push32(acknowledgement);
                frame.push(&[(5 + options as u8) << 4, flags]);
                frame.push16(64_240);
                frame.push32(0);
                for _ in 0..options {
                    frame.push(&[1, 1, 1, 1]);
                }
            }
            Body::Udp { .. } => {
                frame.push16(from);
                frame.push16(to);
                frame.push32(0);
            }
            Body::Icmp { kind, code, rest } => {
                frame.push(&[kind, code, 0, 0]);
                frame.push32(rest);
            }
        }
    }
}

/// What follows the header.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// So many bytes.
    Text(usize),
    Bytes(&'a [u8]),
}
