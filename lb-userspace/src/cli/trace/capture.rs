//! Decisions as a capture that Wireshark opens (pcapng, draft-ietf-opsawg-pcapng): each is two packets, as it
//! came and as it went, whose comments say what became of it and why.

use std::{
    borrow::Cow,
    io::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pcap_file::{
    DataLink, PcapError,
    pcapng::{
        PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption},
        },
    },
};

use super::human;
use crate::control::view::trace::Decision;

/// The interface of frames as they left: by which of the host's is not told.
const SENT: &str = "divvy";

/// Low bits of a packet's flags.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A capture that is being written.
pub(super) struct Capture<W: Write> {
    writer: PcapNgWriter<W>,
    /// In the order of their numbers.
    interfaces: Vec<String>,
}

impl<W: Write> Capture<W> {
    pub(super) fn begin(writer: W) -> io::Result<Self> {
        Ok(Self {
            writer: PcapNgWriter::new(writer).map_err(error)?,
            interfaces: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, decision: &Decision) -> io::Result<()> {
        let timestamp = since_epoch(&decision.time);
        let comment = human::line(decision);
        let arrived = (
            decision.interface.as_str(),
            decision.arrived_bytes.as_str(),
            decision.arrived_length,
            INBOUND,
        );
        let left = (
            SENT,
            decision.left_bytes.as_str(),
            decision.left_length,
            OUTBOUND,
        );
        for (interface, digits, original_len, flags) in [arrived, left] {
            if original_len == 0 {
                continue;
            }
            let block = EnhancedPacketBlock {
                interface_id: self.interface(interface)?,
                timestamp,
                original_len,
                data: Cow::Owned(bytes(digits)),
                options: vec![
                    EnhancedPacketOption::Comment(Cow::Borrowed(&comment)),
                    EnhancedPacketOption::Flags(flags),
                ],
            };
            self.writer.write_pcapng_block(block).map_err(error)?;
        }
        // Whoever reads a pipe sees each packet as it comes.
        self.flush()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.get_mut().flush()
    }

    /// The number of an interface, which is described where it is first met.
    fn interface(&mut self, name: &str) -> io::Result<u32> {
        let known = self.interfaces.iter().position(|known| known == name);
        let place = match known {
            Some(place) => place,
            None => {
                let block = InterfaceDescriptionBlock {
                    linktype: DataLink::ETHERNET,
                    snaplen: 0,
                    options: vec![
                        InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                        // Nanoseconds.
                        InterfaceDescriptionOption::IfTsResol(9),
                    ],
                };
                self.writer.write_pcapng_block(block).map_err(error)?;
                self.interfaces.push(name.to_owned());
                self.interfaces.len() - 1
            }
        };
        u32::try_from(place).map_err(io::Error::other)
    }
}

fn since_epoch(time: &str) -> Duration {
    let at = humantime::parse_rfc3339(time).unwrap_or_else(|_| SystemTime::now());
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What hexadecimal digits say.
fn bytes(digits: &str) -> Vec<u8> {
    (digits.as_bytes().chunks_exact(2))
        .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

fn error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}
