//! What became of one packet, and what a test may claim about it.

use std::fmt;

use lb_common::reason::Reason;

use crate::packet::{
    Packet, describe,
    oracle::{self, Defect, Segment},
    protocol,
};

/// XDP actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Aborted,
    Drop,
    Pass,
    Tx,
    Redirect,
}

impl From<u32> for Verdict {
    /// XDP treats what it does not know as `XDP_ABORTED`.
    fn from(action: u32) -> Self {
        match action {
            1 => Self::Drop,
            2 => Self::Pass,
            3 => Self::Tx,
            4 => Self::Redirect,
            _ => Self::Aborted,
        }
    }
}

/// What became of one packet.
#[derive(Debug)]
pub struct Outcome {
    pub sent: Vec<u8>,
    pub verdict: Verdict,
    /// The bytes when the program was done.
    pub frame: Vec<u8>,
    /// Reasons that were counted, and how often.
    pub counted: Vec<(Reason, u64)>,
}

/// Claims. Each panics with the whole story when it does not hold, and returns the outcome
/// otherwise.
impl Outcome {
    /// It left by the interface it came in by, as exactly this packet.
    #[track_caller]
    pub fn transmitted_as(&self, expected: &Packet) -> &Self {
        self.verdict(Verdict::Tx).bytes_are(expected)
    }

    /// It left by another interface, as exactly this packet.
    #[track_caller]
    pub fn redirected_as(&self, expected: &Packet) -> &Self {
        self.verdict(Verdict::Redirect).bytes_are(expected)
    }

    /// It went to the kernel, as exactly this packet.
    #[track_caller]
    pub fn passed_as(&self, expected: &Packet) -> &Self {
        self.verdict(Verdict::Pass).bytes_are(expected)
    }

    /// It went to the kernel byte for byte, counted for this reason alone.
    #[track_caller]
    pub fn passed_untouched(&self, reason: Reason) -> &Self {
        self.verdict(Verdict::Pass).counts(&[reason]);
        assert!(self.frame == self.sent, "the packet changed\n{self}");
        self
    }

    /// It was dropped, counted for this reason alone.
    #[track_caller]
    pub fn dropped(&self, reason: Reason) -> &Self {
        self.verdict(Verdict::Drop).counts(&[reason])
    }

    /// It left by the interface it came in by, and the oracle finds nothing wrong with it.
    #[track_caller]
    pub fn transmitted(&self) -> Segment {
        self.verdict(Verdict::Tx).segment()
    }

    /// Exactly these were counted, once each.
    #[track_caller]
    pub fn counts(&self, reasons: &[Reason]) -> &Self {
        let mut expected: Vec<(Reason, u64)> = reasons.iter().map(|reason| (*reason, 1)).collect();
        expected.sort();
        assert!(
            self.counted == expected,
            "should count {expected:?}\n{self}"
        );
        self
    }

    /// The verdict is this one.
    #[track_caller]
    pub fn verdict(&self, verdict: Verdict) -> &Self {
        assert!(self.verdict == verdict, "should be {verdict:?}\n{self}");
        self
    }

    /// The segment in the packet, with which the oracle finds nothing wrong.
    #[track_caller]
    pub fn segment(&self) -> Segment {
        oracle::check(&self.frame).unwrap_or_else(|defect| panic!("{defect}\n{self}"))
    }

    /// The oracle finds nothing wrong with the segment, datagram or message in the packet.
    #[track_caller]
    pub fn sound(&self) -> &Self {
        let judged = match oracle::check(&self.frame) {
            Err(Defect::NotTcp(protocol::UDP)) => oracle::check_udp(&self.frame).map(drop),
            Err(Defect::NotTcp(protocol::ICMP | protocol::ICMPV6)) => {
                oracle::check_icmp(&self.frame).map(drop)
            }
            judged => judged.map(drop),
        };
        if let Err(defect) = judged {
            panic!("{defect}\n{self}");
        }
        self
    }

    #[track_caller]
    fn bytes_are(&self, expected: &Packet) -> &Self {
        let expected = expected.build();
        assert!(
            self.frame == expected,
            "should be {}\n{self}\ndiffers at byte {:?}",
            describe(&expected),
            (0..).find(|at| self.frame.get(*at) != expected.get(*at)),
        );
        self
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sent      {}", describe(&self.sent))?;
        writeln!(f, "became    {:?}: {}", self.verdict, describe(&self.frame))?;
        write!(f, "counted   {:?}", self.counted)
    }
}
