//! What a driver can do with XDP, as the kernel tells it by the generic netlink family `netdev` (Linux 6.3;
//! include/uapi/linux/netdev.h). Nothing has to be attached for it.

use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The family that tells the numbers of others, and its question (include/uapi/linux/genetlink.h).
const CONTROLLER: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// The question for a device, and what it and its answer hold.
const DEVICE_GET: u8 = 1;
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;

/// `NLM_F_REQUEST`, and the type of an error (include/uapi/linux/netlink.h).
const REQUEST: u16 = 1;
const ERROR: u16 = 2;
/// Bytes of a netlink header, and of a generic one after it.
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;
/// Bits of an attribute's type that are none.
const TYPE_MASK: u16 = 0x3fff;

/// What the driver of one interface can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct XdpFeatures(u64);

impl XdpFeatures {
    /// These bits of `enum netdev_xdp_act`.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Programs run in the driver, and may drop, pass and send back.
    #[must_use]
    pub const fn native(self) -> bool {
        self.0 & 1 != 0
    }

    /// It sends what programs of other interfaces redirect to it. Some drivers do so only while they have a
    /// program themselves.
    #[must_use]
    pub const fn sends_redirected(self) -> bool {
        self.0 & 4 != 0
    }

    /// It hands over frames of several buffers.
    #[must_use]
    pub const fn several_buffers(self) -> bool {
        self.0 & 32 != 0
    }
}

/// Asks for many interfaces.
pub struct Netdev {
    socket: Socket,
    family: u16,
}

impl Netdev {
    /// # Errors
    /// `NotFound` when this kernel does not tell.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let name = attribute(FAMILY_NAME, b"netdev\0");
        let answer = ask(&socket, CONTROLLER, GET_FAMILY, &name)?;
        let family = find(&answer, FAMILY_ID).and_then(|value| value.try_into().ok());
        let family = u16::from_ne_bytes(family.ok_or(io::ErrorKind::InvalidData)?);
        Ok(Self { socket, family })
    }

    /// # Errors
    /// What the kernel says, such as that there is no such interface.
    pub fn features(&self, ifindex: u32) -> io::Result<XdpFeatures> {
        let which = attribute(IFINDEX, &ifindex.to_ne_bytes());
        let answer = ask(&self.socket, self.family, DEVICE_GET, &which)?;
        let bits = find(&answer, XDP_FEATURES).and_then(|value| value.try_into().ok());
        let bits = bits.ok_or(io::ErrorKind::InvalidData)?;
        Ok(XdpFeatures(u64::from_ne_bytes(bits)))
    }
}

/// One question; the attributes of its answer.
fn ask(socket: &Socket, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let length = HEADER + GENERIC_HEADER + attributes.len();
    let length = u32::try_from(length).map_err(io::Error::other)?;
    let mut question = Vec::new();
    question.extend_from_slice(&length.to_ne_bytes());
    question.extend_from_slice(&family.to_ne_bytes());
    question.extend_from_slice(&REQUEST.to_ne_bytes());
    // Number of the question, and whose it is: the socket has one question at a time.
    question.extend_from_slice(&[0; 8]);
    question.extend_from_slice(&[command, 1, 0, 0]);
    question.extend_from_slice(attributes);
    socket.send(&question, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let (header, rest) = answer
        .split_at_checked(HEADER)
        .ok_or(io::ErrorKind::InvalidData)?;
    if u16::from_ne_bytes([header[4], header[5]]) == ERROR {
        let code = rest
            .first_chunk()
            .map_or(0, |code| i32::from_ne_bytes(*code));
        return Err(io::Error::from_raw_os_error(-code));
    }
    let end = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let attributes = answer.get(HEADER + GENERIC_HEADER..end.min(answer.len()));
    Ok(attributes.ok_or(io::ErrorKind::InvalidData)?.to_vec())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    // The callers' values have a few bytes.
    let length = (value.len() + 4) as u16;
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The value of the first attribute of this type.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) & TYPE_MASK == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found() {
        let all = [
            attribute(2, b"netdev\0"),
            attribute(1, &7_u16.to_ne_bytes()),
            attribute(3, &5_u64.to_ne_bytes()),
        ]
        .concat();
        assert_eq!(all.len() % 4, 0);
        assert_eq!(find(&all, 1), Some(&7_u16.to_ne_bytes()[..]));
        assert_eq!(find(&all, 3), Some(&5_u64.to_ne_bytes()[..]));
        assert_eq!(find(&all, 9), None);
        // What is cut is none.
        assert_eq!(find(&all[..all.len() - 1], 3), None);
        assert_eq!(find(&[0; 8], 3), None);
    }

    #[test]
    fn loopback_has_no_driver_with_xdp() {
        // Linux before 6.3 does not tell.
        let Ok(netdev) = Netdev::open() else { return };
        assert!(!netdev.features(1).expect("lo is there").native());
        assert!(netdev.features(u32::MAX >> 1).is_err());
    }
}
