//! The traced form of the program: it takes the place of the plain one on the links while somebody asks
//! for a trace, so that the plain one pays nothing for it.

use std::{
    num::NonZeroU32,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{MapData, RingBuf},
};
use lb_common::{
    names,
    trace::{RING_BYTES, Record},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

use super::{
    Capacity, Clock, Datapath,
    error::{self, DatapathError},
    frags::traced_program_name,
    own_fd,
    pins::Pins,
    program_mut, sys,
};

/// The traced form of the program, over the pinned maps; attached nowhere yet.
pub struct Traced {
    program: TracedProgram,
    records: RingBuf<MapData>,
    clock: Clock,
    /// Keeps its maps.
    _ebpf: Ebpf,
}

/// What of it is put on links.
#[derive(Debug)]
pub struct TracedProgram {
    fd: OwnedFd,
    id: u32,
}

impl Traced {
    /// Loads it over the pinned maps below `run_dir`, to tell of one packet of `every` on average. The kernel
    /// verifies it meanwhile, which takes about a second.
    ///
    /// # Errors
    /// When the kernel does not take it, or a pin cannot be opened.
    pub fn load(
        run_dir: &Path,
        capacity: Capacity,
        every: NonZeroU32,
    ) -> Result<Self, DatapathError> {
        let pins = Pins::new(run_dir);
        let maps = names::MAPS.map(|name| (name, pins.map(name)));
        let every = every.get();
        let mut loader = EbpfLoader::new();
        for (name, path) in &maps {
            loader.map_pin_path(name, path.as_path());
        }
        capacity.apply(&mut loader);
        Clock::apply(&mut loader);
        loader.override_global(names::TRACE_EVERY, &every, true);
        loader.map_max_entries(names::TRACE_RECORDS, RING_BYTES);
        let log_level: u8 = 0;
        let mut ebpf = loader
            .override_global("AYA_LOG_LEVEL", &log_level, false)
            .load(super::OBJECT)
            .map_err(error::while_loading)?;
        let clock = Clock::start(&mut ebpf)?;
        let name = traced_program_name();
        let program = program_mut(&mut ebpf, name);
        program.load().map_err(error::while_verifying)?;
        let info = (program.info()).map_err(|source| DatapathError::Program { name, source })?;
        let program = TracedProgram {
            fd: own_fd(program, name)?,
            id: info.id(),
        };
        Ok(Self {
            program,
            records: super::store::taken(&mut ebpf, names::TRACE_RECORDS)?,
            clock,
            _ebpf: ebpf,
        })
    }

    /// What [`Datapath::trace_by`] puts on the links.
    ///
    /// # Errors
    /// When there are too many open files.
    pub fn program(&self) -> Result<TracedProgram, DatapathError> {
        let fd = (self.program.fd.try_clone()).map_err(|source| DatapathError::Run {
            name: names::PROGRAM_TRACED,
            source,
        })?;
        Ok(TracedProgram {
            fd,
            id: self.program.id,
        })
    }

    /// Hands on the records that are ready, after waiting for some for at most so many milliseconds. Sets the
    /// program's clock, too.
    ///
    /// # Errors
    /// When the kernel cannot be waited for.
    pub fn take(
        &mut self,
        wait_ms: u16,
        mut visit: impl FnMut(&Record),
    ) -> Result<(), DatapathError> {
        let failed = |source| DatapathError::Run {
            name: names::PROGRAM_TRACED,
            source,
        };
        self.clock.set()?;
        let mut readable = [PollFd::new(self.records.as_fd(), PollFlags::POLLIN)];
        match poll(&mut readable, PollTimeout::from(wait_ms)) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(failed(error.into())),
        }
        while let Some(bytes) = self.records.next() {
            if let Some(record) = Record::from_bytes(&bytes) {
                visit(&record);
            }
        }
        Ok(())
    }
}

impl Datapath {
    /// Puts the traced program on all links; also on those that are made from now on.
    ///
    /// # Errors
    /// When a link does not take it; all have the plain one then.
    pub fn trace_by(&mut self, traced: TracedProgram) -> Result<(), DatapathError> {
        let all = self.attached.keys().cloned().collect::<Vec<_>>();
        let done = (all.iter()).try_for_each(|interface| self.put(interface, traced.fd.as_fd()));
        self.traced = Some(traced);
        done.inspect_err(|_| self.end_trace())
    }

    /// Puts the plain program back.
    pub fn end_trace(&mut self) {
        if self.traced.take().is_none() {
            return;
        }
        let name = super::frags::program_name();
        let plain = match own_fd(program_mut(&mut self.ebpf, name), name) {
            Ok(plain) => plain,
            Err(error) => {
                warn!("a trace cannot be ended: {error}; the next start of divvy ends it");
                return;
            }
        };
        for interface in self.attached.keys() {
            if let Err(error) = self.put(interface, plain.as_fd()) {
                warn!("{error}; the traced program stays there until the next start of divvy");
            }
        }
    }

    /// A link of this program is ours while it traces.
    pub(super) fn is_traced_program(&self, id: u32) -> bool {
        self.traced.as_ref().is_some_and(|traced| traced.id == id)
    }

    /// Has a link that was just made traced, too, if links are. That it cannot be is no error: packets go by
    /// the plain program there.
    pub(super) fn trace_too(&self, interface: &str) {
        if let Some(traced) = &self.traced
            && let Err(error) = self.put(interface, traced.fd.as_fd())
        {
            warn!("{error}; its packets are not traced");
        }
    }

    fn put(
        &self,
        interface: &str,
        program: std::os::fd::BorrowedFd<'_>,
    ) -> Result<(), DatapathError> {
        let path = self.pins.link(interface);
        let link = sys::open_pin(&path);
        link.and_then(|link| sys::update_link(link.as_fd(), program))
            .map_err(|source| DatapathError::Folder { path, source })
    }
}
