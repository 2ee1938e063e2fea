//! What an interface's driver is set to, as `ethtool` shows it: asked by `ioctl` on a socket, so that it
//! is of the calling thread's network namespace (/sys shows that in which it was mounted).

#![expect(
    unsafe_code,
    reason = "raw system calls; every other module forbids it"
)]

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Of `include/uapi/linux/sockios.h`.
const SIOCETHTOOL: libc::Ioctl = 0x8946;
/// Commands of `include/uapi/linux/ethtool.h`.
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
/// The set of strings that names the features.
const ETH_SS_FEATURES: u32 = 4;
/// Bytes of a string in such a set (`ETH_GSTRING_LEN`).
const STRING: usize = 32;
/// More features than a kernel has: 64 in Linux 6.1.
const MOST_FEATURES: usize = 256;

/// What may keep an XDP program from being attached, or from seeing packets as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Bytes; 0 where it is not known.
    pub mtu: u32,
    /// Of the driver, such as `veth`; empty where it is not known.
    pub driver: String,
    /// Large receive offload, by the kernel's names: `rx-lro`.
    pub lro: bool,
    /// The same in hardware, in a form that can be undone: `rx-gro-hw`.
    pub gro_hw: bool,
    /// It takes the outer VLAN tag off each frame: `rx-vlan-hw-parse`.
    pub rx_vlan: bool,
    /// Queues that it receives by, where the driver tells.
    pub receive_queues: Option<u32>,
}

impl Device {
    /// What can be known of an interface. What cannot is left out: this is asked for messages only.
    #[must_use]
    pub fn look_at(interface: &str) -> Self {
        let Ok(asked) = Asked::new(interface) else {
            return Self::default();
        };
        let features = asked.features().unwrap_or_default();
        let is_on = |name: &str| features.iter().any(|feature| feature == name);
        Self {
            mtu: asked.mtu().unwrap_or_default(),
            driver: asked.driver().unwrap_or_default(),
            lro: is_on("rx-lro"),
            gro_hw: is_on("rx-gro-hw"),
            rx_vlan: is_on("rx-vlan-hw-parse"),
            receive_queues: asked.receive_queues().ok(),
        }
    }
}

/// A socket to ask by, and the interface that is asked for.
struct Asked<'a> {
    socket: OwnedFd,
    interface: &'a str,
}

impl<'a> Asked<'a> {
    fn new(interface: &'a str) -> io::Result<Self> {
        // SAFETY: a call without memory arguments.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: the kernel just made this descriptor for us, and nobody else knows it.
            socket: unsafe { OwnedFd::from_raw_fd(fd) },
            interface,
        })
    }

    fn mtu(&self) -> io::Result<u32> {
        let mut request = self.request()?;
        self.call(libc::SIOCGIFMTU, &mut request)?;
        // SAFETY: the call has filled this member in.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        Ok(mtu.cast_unsigned())
    }

    fn driver(&self) -> io::Result<String> {
        /// `struct ethtool_drvinfo`.
        const LENGTH: usize = 196;
        let mut info = vec![0; LENGTH / 4];
        info[0] = ETHTOOL_GDRVINFO;
        self.ethtool(&mut info)?;
        Ok(text(&bytes(&info)[4..4 + 32]))
    }

    fn receive_queues(&self) -> io::Result<u32> {
        /// `struct ethtool_channels`: the command, four maxima, and then what is.
        const LENGTH: usize = 9;
        let mut channels = vec![0; LENGTH];
        channels[0] = ETHTOOL_GCHANNELS;
        self.ethtool(&mut channels)?;
        let (receive, combined) = (channels[5], channels[8]);
        Ok(receive + combined)
    }

    /// The names of the features that are on.
    fn features(&self) -> io::Result<Vec<String>> {
        // `struct ethtool_sset_info`: a mask of sets, and the length of each.
        let mut sets = vec![ETHTOOL_GSSET_INFO, 0, 1 << ETH_SS_FEATURES, 0, 0];
        self.ethtool(&mut sets)?;
        let count = (sets[4] as usize).min(MOST_FEATURES);

        let mut names = vec![0; 3 + count * STRING / 4];
        names[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, sets[4]]);
        self.ethtool(&mut names)?;

        // For each 32 features four words: which there are, which are wanted, on, and fixed.
        let blocks = count.div_ceil(32);
        let mut states = vec![0; 2 + 4 * blocks];
        states[..2].copy_from_slice(&[ETHTOOL_GFEATURES, blocks as u32]);
        self.ethtool(&mut states)?;

        let names = bytes(&names[3..]);
        Ok((names.chunks_exact(STRING).enumerate())
            .filter(|(at, _)| states[2 + at / 32 * 4 + 2] >> (at % 32) & 1 == 1)
            .map(|(_, name)| text(name))
            .collect())
    }

    /// An ethtool command, which the kernel answers in the same memory.
    fn ethtool(&self, command: &mut [u32]) -> io::Result<()> {
        let mut request = self.request()?;
        request.ifr_ifru.ifru_data = command.as_mut_ptr().cast();
        self.call(SIOCETHTOOL, &mut request)
    }

    fn request(&self) -> io::Result<libc::ifreq> {
        // SAFETY: it is made of integers, and of a pointer that may be null.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let name = self.interface.as_bytes();
        // The last byte ends the name.
        if name.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(name) {
            *to = *from as libc::c_char;
        }
        Ok(request)
    }

    fn call(&self, command: libc::Ioctl, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: these commands read and write the request, and by its pointer no more than the
        // lengths given there, which are those of the memory behind it.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), command, request) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A string that a zero byte ends.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
