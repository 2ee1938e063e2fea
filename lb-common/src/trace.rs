//! Sampled decisions: what the traced form of the program hands to the daemon by a ring buffer, for
//! `divvy trace`.

/// Bytes of a frame that a record keeps, as it arrived and as it left: all headers of a packet in a tunnel,
/// and some of what it carries.
pub const SNAP: usize = 192;

/// Bytes of the ring buffer `trace_records` while somebody reads it; a power of two, as the kernel asks for.
pub const RING_BYTES: u32 = 1 << 20;
/// The same while nobody does: the least that the kernel makes with pages of 4 kB.
pub const IDLE_RING_BYTES: u32 = 1 << 12;

/// Length of the map `trace_gaps`: a power of two, so that interfaces and queues spread over it by a mask.
pub const GAPS: u32 = 1 << 10;

/// The value of `trace_gaps`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gap {
    /// Packets until the next sample.
    pub left: u32,
    /// The CPU that handles a sampled packet now, plus 1; 0 for none.
    pub cpu: u32,
}
const _: () = assert!(size_of::<Gap>() == 8);

/// What became of one packet.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When the decision was made, `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Records that this CPU had to leave out so far, because the ring buffer was full.
    pub lost: u64,
    /// The interface by which the packet came.
    pub ifindex: u32,
    /// The XDP action.
    pub action: u32,
    /// Why: [`crate::reason::Reason`] plus 1, or 0 for a packet that was simply forwarded.
    pub reason: u32,
    /// Bytes of the frame as it came and as it went; the latter 0 for one that was dropped.
    pub arrived_length: u32,
    pub left_length: u32,
    /// The CPU that handled it.
    pub cpu: u32,
    /// Its first bytes, then what was there before.
    pub arrived: [u8; SNAP],
    pub left: [u8; SNAP],
}
const _: () = assert!(size_of::<Record>() == 40 + 2 * SNAP);

impl Record {
    /// The record that these bytes are; `None` for another number of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: so many bytes are there, at whatever alignment, and any make a record.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

/// A verdict together with its reason, as the traced form of the program passes them on: the XDP action in
/// the lowest byte, [`Record::reason`] above.
pub mod ended {
    /// The XDP action's bits.
    pub const ACTION: u32 = 0xff;
    /// By how many bits the reason is shifted.
    pub const REASON_SHIFT: u32 = 8;
}
