//! Host side of the program `rewind`: sets it up for one kind of packet, runs it, and holds the
//! outcome against what it had to be.

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp},
};
use nix::time::{ClockId, clock_gettime};

use crate::{
    packet::{Packet, describe},
    rig::Verdict,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/rewind"));

/// Words that `rewind` can restore and judge.
const WORDS: usize = 10;
/// Scatters flow numbers: odd, so that all come before one comes again, and large, so that
/// neighbours in time are none in any table.
const STRIDE: u32 = 0x9e37_79b1;

/// A kind of packet, and what must become of it.
pub struct Plan<'a> {
    /// The packet of flow 0.
    pub packet: &'a Packet,
    /// What the program makes of it.
    pub left: &'a Packet,
    pub verdict: Verdict,
    /// How many flows, a power of two; 2^32 means that each packet is of a new one.
    pub flows: u64,
    /// Of which end of the packet a flow's number changes the port. The address that it changes
    /// is always the source's.
    pub port_of: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Source,
    Destination,
}

/// A loaded `rewind` in front of a program under test.
pub struct Rewinder {
    ebpf: Ebpf,
    frame: Vec<u8>,
    left: Vec<u8>,
    mask: Vec<u8>,
    verdict: Verdict,
    /// By how many bytes the packet gets longer, and after how many packets `rewind` takes that back.
    growth: i32,
    growths: usize,
}

impl Rewinder {
    /// Loads it in front of `target`, or of the baseline.
    pub fn load(plan: &Plan<'_>, target: Option<&ProgramFd>) -> Result<Self> {
        let (mut frame, left) = (plan.packet.build(), plan.left.build());
        let words_restored = WORDS.min(frame.len() / 8) as u32;
        let growth = left.len() as i32 - frame.len() as i32;
        let growths = growths(growth);
        if growth < 0 {
            // Padding, for the packets that will be laid further and further behind.
            frame.resize(frame.len() + growth.unsigned_abs() as usize * growths, 0);
        }
        let is_v4 = |frame: &[u8]| frame[12..14] == [0x08, 0x00];
        let v4 = is_v4(&frame);
        let mask = if growth == 0 {
            mask(v4, left.len()).to_vec()
        } else {
            changed_mask(is_v4(&left), growth < 0).to_vec()
        };
        let mut masked = mask.clone();
        for (byte, left) in masked.iter_mut().zip(&left) {
            *byte &= left;
        }
        let (address_at, port_at, flags_word) = if v4 { (26, 34, 5) } else { (34, 54, 8) };
        let (port_at, of_destination) = match plan.port_of {
            End::Source => (port_at, 0),
            End::Destination => (port_at + 2, 1),
        };
        let port_base = u16::from_be_bytes([frame[port_at], frame[port_at + 1]]);
        let scalars = [
            ("LENGTH", frame.len() as u32),
            ("GROWTH", growth.cast_unsigned()),
            ("GROWTHS", growths as u32),
            ("WORDS", words_restored),
            ("FLOW_MASK", (plan.flows - 1) as u32),
            ("FLOW_STRIDE", STRIDE),
            ("PORT_BASE", port_base.into()),
            ("PORT_OF_DESTINATION", of_destination),
            ("ADDRESS_BASE", be32(&frame[address_at..])),
        ];
        let judged = |bytes: &[u8]| {
            let all = words(bytes);
            [all[0], all[1], all[2], all[flags_word]].to_vec()
        };
        let arrays = [
            ("TEMPLATE", words(&frame).to_vec()),
            ("LEFT", judged(&masked)),
            ("LEFT_MASK", judged(&mask)),
        ];
        let mut loader = EbpfLoader::new();
        for (name, value) in &scalars {
            loader.override_global(name, value, true);
        }
        for (name, value) in &arrays {
            loader.override_global(name, value.as_slice(), true);
        }
        let mut ebpf = loader.load(OBJECT).context("cannot create rewind's maps")?;
        for name in ["rewind", "baseline"] {
            program_mut(&mut ebpf, name)?
                .load()
                .with_context(|| format!("cannot load {name}"))?;
        }
        let target = match target {
            Some(target) => target.try_clone()?,
            None => program_mut(&mut ebpf, "baseline")?.fd()?.try_clone()?,
        };
        let map = ebpf.map_mut("target").context("rewind has a target")?;
        ProgramArray::try_from(map)?
            .set(0, &target, 0)
            .context("the kernel does not allow tail calls from rewind to the program")?;
        Ok(Self {
            ebpf,
            frame,
            left,
            mask,
            verdict: plan.verdict,
            growth,
            growths,
        })
    }

    /// Sends that many packets and returns the CPU time they took, in nanoseconds.
    ///
    /// # Errors
    /// When one of them did not become what it had to.
    pub fn run(&mut self, packets: u32) -> Result<f64> {
        let [runs_before, wrong_before, ..] = self.state()?;
        self.set_state([runs_before, wrong_before, 0, 0])?;
        let mut out = [0; 512];
        let program: &Xdp = self
            .ebpf
            .program("rewind")
            .context("the object holds rewind")?
            .try_into()?;
        let start_ns = thread_cpu_ns();
        let result = program.test_run(TestRunOptions {
            data_in: Some(&self.frame),
            data_out: Some(&mut out),
            repeat: packets,
            ..TestRunOptions::default()
        })?;
        let spent_ns = thread_cpu_ns() - start_ns;

        let [runs, wrong, ..] = self.state()?;
        ensure!(
            runs - runs_before == u64::from(packets),
            "{} runs instead of {packets}",
            runs - runs_before
        );
        // All but the last were judged by `rewind` itself.
        let last = &out[..result.data_size_out as usize];
        let verdict = Verdict::from(result.return_value);
        let grown = (packets as usize - 1) % self.growths + 1;
        let length = self.frame.len() as i32 + self.growth * grown as i32;
        let right = last.len() == length as usize
            && (last.iter().zip(&self.left).zip(&self.mask)).all(|((a, b), m)| a & m == b & m);
        ensure!(
            wrong == wrong_before && right && verdict == self.verdict,
            "{} of {packets} packets did not become what they had to;\nthe last became {verdict:?} \
             {}\ninstead of {:?} {}",
            wrong - wrong_before,
            describe(last),
            self.verdict,
            describe(&self.left),
        );
        Ok(spent_ns as f64)
    }

    fn state(&self) -> Result<[u64; 4]> {
        let map = self.ebpf.map("state").context("rewind has a state")?;
        Ok(Array::<_, [u64; 4]>::try_from(map)?.get(&0, 0)?)
    }

    fn set_state(&mut self, state: [u64; 4]) -> Result<()> {
        let map = self.ebpf.map_mut("state").context("rewind has a state")?;
        Ok(Array::<_, [u64; 4]>::try_from(map)?.set(0, state, 0)?)
    }
}

/// The bytes that must be right whichever flow it was: MAC addresses, EtherType, the IP header up
/// to its checksum (IPv4) or addresses (IPv6), and TCP's length and flags.
fn mask(v4: bool, len: usize) -> [u8; WORDS * 8] {
    let (ip_until, flags_at) = if v4 { (24, 46) } else { (22, 66) };
    let mut mask = [0; WORDS * 8];
    mask[..ip_until].fill(0xff);
    mask[flags_at..flags_at + 2].fill(0xff);
    assert!(flags_at + 2 <= len / 8 * 8, "the flags lie in a whole word");
    mask
}

/// The same of a packet whose IP header is not the one that came, as far as `rewind` looks: one around
/// it, or one translated, whose identification in IPv4 may be any (RFC 7915, section 5.1).
fn changed_mask(v4: bool, translated: bool) -> [u8; WORDS * 8] {
    let mut mask = [0; WORDS * 8];
    mask[..if v4 { 24 } else { 14 }].fill(0xff);
    // Before and behind the flow label.
    mask[if v4 { 14..15 } else { 18..22 }].fill(0xff);
    if v4 && translated {
        mask[18..20].fill(0);
    }
    mask
}

/// After how many packets that grow by so many bytes the front of the frame must be put back: the
/// kernel keeps 256 bytes free in front of it, of which it needs some itself.
fn growths(growth: i32) -> usize {
    const ROOM: usize = 208;
    const MOST: usize = 8;
    (ROOM / growth.unsigned_abs().max(1) as usize).min(MOST)
}

fn words(bytes: &[u8]) -> [u64; WORDS] {
    let mut padded = [0; WORDS * 8];
    let len = bytes.len().min(padded.len());
    padded[..len].copy_from_slice(&bytes[..len]);
    std::array::from_fn(|at| {
        u64::from_ne_bytes(padded[at * 8..][..8].try_into().expect("eight bytes"))
    })
}

fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn program_mut<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name);
    Ok(program
        .with_context(|| format!("the object holds {name}"))?
        .try_into()?)
}

/// Nanoseconds that this thread has spent on a CPU, in the kernel included.
fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has this clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
