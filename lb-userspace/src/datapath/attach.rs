//! Attaching the program to interfaces by pinned links, which outlive the daemon, and replacing it
//! atomically on links that an earlier daemon left.

use std::{collections::BTreeSet, io, os::fd::AsFd as _};

use aya::programs::{
    ProgramError,
    links::{FdLink, PinnedLink},
    xdp::XdpLink,
};
use tracing::{info, warn};

use super::{
    Datapath, device::Device, error::DatapathError, frags::program_name, judge::judge, pins,
    program_mut, sys,
};

/// Where in the network stack the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel makes a socket buffer.
    Native,
    /// In the network stack: works on every interface, slower.
    Generic,
}

impl Mode {
    /// Name in messages, `status` and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    /// `XDP_FLAGS_DRV_MODE` or `XDP_FLAGS_SKB_MODE` (include/uapi/linux/if_link.h).
    const fn flags(self) -> u32 {
        match self {
            Self::Native => 4,
            Self::Generic => 2,
        }
    }
}

/// An interface that the program is attached to.
pub(super) struct Attached {
    ifindex: u32,
    mode: Mode,
    /// Keeps the link's descriptor; the pin keeps the link when this is dropped.
    _link: PinnedLink,
}

impl Datapath {
    /// Attaches the program to an interface in the first of `modes` that works, or puts it in
    /// place of an earlier one there. `present` is the mode in which a program is there now.
    ///
    /// # Errors
    /// When no mode works; the last one's error.
    pub fn attach(
        &mut self,
        interface: &str,
        ifindex: u32,
        modes: &[Mode],
        present: Option<Mode>,
    ) -> Result<Mode, DatapathError> {
        self.hold_takeover()?;
        if let Some(mode) = present.filter(|mode| modes.contains(mode))
            && self.adopt(interface, ifindex, mode)?
        {
            return Ok(mode);
        }
        self.detach(interface)?;
        let mut modes = modes.iter().copied().peekable();
        loop {
            let mode = modes.next().expect("callers name at least one mode");
            match self.attach_anew(interface, ifindex, mode) {
                Ok(()) => return Ok(mode),
                Err(error) => match modes.peek() {
                    Some(next) => warn!("{error}; falling back to {} mode", next.name()),
                    None => return Err(error),
                },
            }
        }
    }

    /// The interfaces the program is attached to, with its mode there.
    pub fn attached(&self) -> impl Iterator<Item = (&str, Mode)> {
        self.attached
            .iter()
            .map(|(interface, attached)| (interface.as_str(), attached.mode))
    }

    /// Interfaces on which the program is no longer, though it was attached: somebody took it off, or the
    /// pin away; with what is wrong. Interfaces that are gone are not told of here, nor again.
    pub fn lost_links(&mut self) -> Vec<(String, String)> {
        let program = program_mut(&mut self.ebpf, program_name());
        let ours = program.info().map(|info| info.id()).ok();
        let pins = &self.pins;
        let lost: Vec<(String, String)> = (self.attached.iter())
            .filter_map(|(interface, attached)| {
                let target = sys::open_pin(&pins.link(interface))
                    .and_then(|link| sys::link_target(link.as_fd()));
                let why = match target {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        "the pin of its link is gone".to_owned()
                    }
                    Err(error) => format!("its link cannot be asked: {error}"),
                    Ok(target) if target.ifindex != attached.ifindex => {
                        "somebody took the program off".to_owned()
                    }
                    Ok(target)
                        if ours.is_some_and(|ours| ours != target.program_id)
                            && !self.is_traced_program(target.program_id) =>
                    {
                        "another program is on its link".to_owned()
                    }
                    Ok(_) => return None,
                };
                Some((interface.clone(), why))
            })
            .collect();
        for (interface, _) in &lost {
            self.attached.remove(interface);
        }
        lost
    }

    /// Takes the program off interfaces that are not among these.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn detach_others(&mut self, wanted: &BTreeSet<&str>) -> Result<(), DatapathError> {
        for interface in self.pins.linked_interfaces()? {
            if !wanted.contains(interface.as_str()) {
                self.detach(&interface)?;
                info!("took the program off {interface}, which the configuration no longer names");
            }
        }
        Ok(())
    }

    /// Puts the program on the link that is pinned for this interface. False: there is none, or
    /// it belongs to an interface of the same name that is gone.
    fn adopt(&mut self, interface: &str, ifindex: u32, mode: Mode) -> Result<bool, DatapathError> {
        let path = self.pins.link(interface);
        let target = match sys::open_pin(&path) {
            Ok(fd) => sys::link_target(fd.as_fd()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => Err(error),
        };
        match target {
            Ok(target) if target.ifindex == ifindex => {}
            Ok(_) => return Ok(false),
            Err(source) => return Err(DatapathError::Folder { path, source }),
        }
        let failed = |reason: String| DatapathError::Attach {
            interface: interface.to_owned(),
            mode: mode.name(),
            reason,
            hint: String::new(),
        };
        let pinned = PinnedLink::from_pin(&path).map_err(|error| failed(error.to_string()))?;
        let link =
            XdpLink::try_from(FdLink::from(pinned)).map_err(|error| failed(error.to_string()))?;
        let program = program_mut(&mut self.ebpf, program_name());
        let id = program
            .attach_to_link(link)
            .map_err(|error| failed(reason(&error)))?;
        // The pin holds the link from here on.
        drop(
            program
                .take_link(id)
                .map_err(|error| failed(error.to_string()))?,
        );
        let link = PinnedLink::from_pin(&path).map_err(|error| failed(error.to_string()))?;
        self.remember(interface, ifindex, mode, link);
        Ok(true)
    }

    fn attach_anew(
        &mut self,
        interface: &str,
        ifindex: u32,
        mode: Mode,
    ) -> Result<(), DatapathError> {
        let failed = |(reason, hint): (String, String)| DatapathError::Attach {
            interface: interface.to_owned(),
            mode: mode.name(),
            reason,
            hint,
        };
        let broken = |reason: String| failed((reason, String::new()));
        let program = program_mut(&mut self.ebpf, program_name());
        let program = program.fd().map_err(|error| broken(reason(&error)))?;
        // Not by aya: where the kernel refuses a link it attaches by netlink instead, and such a
        // program stays when the process ends.
        let link =
            sys::create_xdp_link(program.as_fd(), ifindex, mode.flags()).map_err(|error| {
                match error.raw_os_error() {
                    Some(libc::EBUSY | libc::EEXIST) => DatapathError::InterfaceBusy {
                        interface: interface.to_owned(),
                        mode: mode.name(),
                    },
                    Some(libc::EPERM) => DatapathError::NotPermitted,
                    _ => failed(judge(interface, &error, &Device::look_at(interface))),
                }
            })?;
        let path = self.pins.link(interface);
        sys::pin(link.as_fd(), &path)
            .map_err(|error| broken(format!("it cannot be pinned: {error}")))?;
        let link = PinnedLink::from_pin(&path).map_err(|error| broken(error.to_string()))?;
        self.remember(interface, ifindex, mode, link);
        Ok(())
    }

    fn remember(&mut self, interface: &str, ifindex: u32, mode: Mode, link: PinnedLink) {
        let attached = Attached {
            ifindex,
            mode,
            _link: link,
        };
        self.attached.insert(interface.to_owned(), attached);
        self.trace_too(interface);
    }

    /// The mode in which this datapath attached the program to this interface, if it did.
    #[must_use]
    pub fn attached_mode(&self, interface: &str, ifindex: u32) -> Option<Mode> {
        (self.attached.get(interface))
            .filter(|attached| attached.ifindex == ifindex)
            .map(|attached| attached.mode)
    }

    /// Takes the program off an interface; that it is not there is no error.
    fn detach(&mut self, interface: &str) -> Result<(), DatapathError> {
        self.attached.remove(interface);
        let path = self.pins.link(interface);
        pins::remove_link(&path).map_err(|source| DatapathError::Folder { path, source })
    }
}

fn reason(error: &ProgramError) -> String {
    match error {
        ProgramError::SyscallError(call) => call.io_error.to_string(),
        other => other.to_string(),
    }
}
