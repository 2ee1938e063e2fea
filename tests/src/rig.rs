//! The rig: the real XDP program, loaded but attached nowhere, its maps filled directly, driven
//! packet by packet through `BPF_PROG_TEST_RUN`. Needs root. In such a run every packet arrives on
//! interface 1, the loopback (net/bpf/test_run.c, `bpf_prog_test_run_xdp`).

mod affinity;
mod buckets;
mod buffers;
mod carry;
mod clock;
mod cpu;
mod entry;
mod flows;
mod fragments;
mod interfaces;
mod loads;
mod outcome;
mod paths;
mod placed;
mod pool;
mod sources;
mod sweep;
mod tables;
mod tags;
mod traces;
mod whole;

use aya::programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp};
use lb_common::{PROTOCOL_TCP, reason::Reason, service::Settings};

pub use buckets::{CONFIRMED_PLACES, HALF_OPEN_PLACES, Held};
pub use buffers::in_buffers;
pub use cpu::pin_this_thread;
pub use entry::{Entry, Table, key_hash, now_ns, wait_for_a_past};
pub use lb_userspace::datapath::{Capacity, Clock};
pub use outcome::{Outcome, Verdict};
pub use placed::Placed;
pub use tags::wearing;
pub use traces::tracing;

use self::{
    pool::{Lent, Make},
    tags::Worn,
};
use crate::packet::Packet;

/// The interface that packets of a test run arrive on.
pub const INGRESS: u32 = 1;

/// The longest frame that a test sends, and what comes out of it. From about 3,500 bytes on (a page less
/// headroom and the kernel's bookkeeping) a frame lies in several buffers.
const FRAME_MAX: usize = 16_384;

/// Levels of aya-log: what is off is removed by the verifier.
pub const LOG_NOTHING: u8 = 0;
pub const LOG_EVERYTHING: u8 = 5;

/// Buckets of the flow tables by default, each of 36 entries for confirmed flows and 4 for half-open
/// ones. A flow takes two entries.
pub const SIZES: Capacity = Capacity::of_buckets(2_048);

/// A loaded program with its maps.
pub struct Rig {
    loaded: Lent,
    settings: Settings,
    /// Of vips, replies and flows that are written or looked for.
    protocol: u8,
    /// Number of the last sweep.
    sweep_pass: u64,
    /// Sums over all CPUs when last read, by reason.
    reasons: Vec<u64>,
    worn: Worn,
}

impl Rig {
    /// Loads the program with empty tables and pins this thread to one CPU, because the kernel
    /// keeps free entries of its hash tables, and we counters, by CPU.
    ///
    /// # Panics
    /// When the kernel refuses; the message holds the verifier's log.
    #[must_use]
    pub fn load(sizes: Capacity) -> Self {
        Self::load_logging(sizes, LOG_NOTHING)
    }

    /// The same with the program's log at one of aya-log's levels.
    ///
    /// # Panics
    /// As [`Self::load`].
    #[must_use]
    pub fn load_logging(sizes: Capacity, log_level: u8) -> Self {
        Self::of(Make {
            sizes,
            log_level,
            ticking: true,
            trace_every: traces::by_this_thread(),
        })
    }

    fn of(make: Make) -> Self {
        pin_this_thread();
        let mut rig = Self {
            loaded: Lent::of(make),
            settings: Settings::new(1_024, 31_744),
            protocol: PROTOCOL_TCP,
            sweep_pass: 0,
            reasons: vec![0; Reason::ALL.len()],
            worn: Worn::by_this_thread(),
        };
        rig.write_settings();
        rig.reasons = rig.read_reasons();
        rig
    }

    /// From now on vips, replies and flows are of this IP protocol; TCP at first.
    pub fn over(&mut self, protocol: u8) {
        self.protocol = protocol;
    }

    /// Instructions that the verifier looked at to accept the program.
    ///
    /// # Panics
    /// On kernels before 5.16, which do not tell.
    #[must_use]
    pub fn verified_instructions(&self) -> u32 {
        self.program()
            .info()
            .expect("a loaded program has info")
            .verified_instruction_count()
            .expect("the kernel tells since 5.16")
    }

    /// For tail calls into the program.
    ///
    /// # Panics
    /// Never: the program is loaded.
    #[must_use]
    pub fn program_fd(&self) -> &ProgramFd {
        self.program().fd().expect("the program is loaded")
    }

    /// A program that the daemon runs beside the main one, loaded by the first test that needs it.
    fn beside(&mut self, name: &str) -> &Xdp {
        let program: &mut Xdp = self
            .loaded
            .ebpf
            .program_mut(name)
            .expect("the object holds the program")
            .try_into()
            .expect("which is of type XDP");
        if program.fd().is_err() {
            program
                .load()
                .unwrap_or_else(|error| panic!("cannot load the program: {error:?}"));
        }
        program
    }

    /// Sends one packet through the program.
    pub fn send(&mut self, packet: &Packet) -> Outcome {
        self.send_frame(&packet.build())
    }

    /// Sends any bytes, at least 14 (the kernel's limit), through the program.
    ///
    /// # Panics
    /// When the kernel does not take the frame.
    pub fn send_frame(&mut self, frame: &[u8]) -> Outcome {
        let mut out = vec![0; FRAME_MAX];
        let arrived = self.worn.on(frame).into_owned();
        let (verdict, len) = self.run(&arrived, &mut out);
        out.truncate(len);
        let counted = self.newly_counted();
        self.check_record(&arrived, &out, verdict, &counted);
        if verdict != Verdict::Drop {
            self.worn.off(&mut out);
        }
        Outcome {
            sent: frame.to_vec(),
            verdict,
            frame: out,
            counted,
        }
    }

    /// Sends any bytes and looks at nothing but the verdict: many times faster, for floods.
    ///
    /// # Panics
    /// When the kernel does not take the frame.
    pub fn fire(&self, frame: &[u8]) -> Verdict {
        self.run(&self.worn.on(frame), &mut [0; 4_096]).0
    }

    /// Sends any bytes. Returns the verdict, and how many bytes came out.
    pub(crate) fn run(&self, frame: &[u8], out: &mut [u8]) -> (Verdict, usize) {
        let result = self
            .program()
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(out),
                ctx_in: buffers::context(frame).as_deref(),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("a frame of {} bytes: {error}", frame.len()));
        let verdict = Verdict::from(result.return_value);
        (verdict, result.data_size_out as usize)
    }

    /// Which reasons were counted since the last call, and how often.
    pub fn newly_counted(&mut self) -> Vec<(Reason, u64)> {
        let now = self.read_reasons();
        let before = std::mem::replace(&mut self.reasons, now);
        Reason::ALL
            .iter()
            .zip(before.iter().zip(&self.reasons))
            .filter(|(_, (before, now))| before != now)
            .map(|(reason, (before, now))| (*reason, now - before))
            .collect()
    }

    fn program(&self) -> &Xdp {
        self.loaded
            .ebpf
            .program(self.loaded.make.program())
            .expect("the object holds the program")
            .try_into()
            .expect("which is of type XDP")
    }
}
