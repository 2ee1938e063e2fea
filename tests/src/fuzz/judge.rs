//! Judges what became of a packet: by what came out, by what the packets before it showed, and by what
//! the world holds. One file for each thing that can become of it.

mod answer;
mod back;
mod bytes;
mod echo;
mod error;
mod forth;
mod fragment;
mod kept;
mod path;
mod tags;
mod told;
mod translated;
mod tunnel;
mod unsound;
mod why;
mod why_icmp;

use super::{
    dissect::{self, Content, Segment},
    end::Ways,
    flows::Flows,
    frame::Frame,
    plan::Service,
    reasons::Reasons,
    world::World,
};
use crate::{packet::protocol, rig::Verdict};

/// What became of a packet, as far as counters are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// To the kernel, as it came.
    Passed,
    Dropped,
    Answered,
    ToBackend {
        idx: u32,
        /// Else the kernel finds the way.
        resolved: bool,
    },
    ToClient {
        backend_idx: u32,
        resolved: bool,
    },
    /// An ICMP error about a flow, to either of its ends.
    ErrorSent {
        resolved: bool,
    },
}

/// What became of a packet that is all right.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    pub fate: Fate,
    /// Bytes of it that count.
    pub bytes: usize,
    /// Of these one may have been counted; of those that are no events one must, if there is any.
    pub reasons: Reasons,
}

/// A packet without tags, and what came out, without them as well.
pub struct Case<'a> {
    pub world: &'a World,
    pub sent: &'a [u8],
    pub verdict: Verdict,
    pub out: &'a [u8],
}

/// A promise that was broken.
pub type Fault = String;

#[derive(Default)]
pub struct Judge {
    pub flows: Flows,
    /// What should have come out.
    expected: Frame,
    /// Frames without their tags.
    bare: [Frame; 2],
    /// An established flow was treated as if it were not there. That is allowed only where a table was
    /// full, which the counters tell.
    pub lost: Option<Fault>,
}

/// Fails with a message unless something holds.
macro_rules! claim {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}
pub(super) use claim;

impl Judge {
    pub fn clear(&mut self) {
        self.flows.clear();
        self.lost = None;
    }

    /// Says what became of the packet.
    ///
    /// # Errors
    /// When something is wrong with what came out.
    pub fn packet(&mut self, case: &Case<'_>) -> Result<Judged, Fault> {
        let tags = tags::length(case.sent);
        if tags == 0 {
            return self.bare_packet(case);
        }
        let [mut sent, mut out] = std::mem::take(&mut self.bare);
        tags::strip(&mut sent, case.sent, tags);
        let kept = tags::is_kept(case, tags);
        if kept {
            tags::strip(&mut out, case.out, tags);
        }
        let bare = Case {
            world: case.world,
            sent: sent.bytes(),
            verdict: case.verdict,
            out: out.bytes(),
        };
        let judged = if kept || case.verdict == Verdict::Drop {
            self.bare_packet(&bare)
        } else {
            Err("a tag was lost".to_owned())
        };
        self.bare = [sent, out];
        judged
    }

    fn bare_packet(&mut self, case: &Case<'_>) -> Result<Judged, Fault> {
        let content = dissect::frame(case.sent);
        let fate = match case.verdict {
            Verdict::Aborted => Err("the program gave up".to_owned()),
            Verdict::Drop => self.dropped(case, &content),
            Verdict::Pass if case.out == case.sent => self.passed(case, &content),
            Verdict::Pass | Verdict::Tx | Verdict::Redirect => self.sent_on(case, &content),
        }?;
        let reasons = self.why(case, &content, fate)?;
        self.watch_fragments(&content);
        if let Content::Segment(segment) = &content {
            self.watch(case, segment, fate);
        }
        Ok(Judged {
            fate,
            bytes: case.sent.len(),
            reasons,
        })
    }

    /// Something came out that is not what went in.
    fn sent_on(&mut self, case: &Case<'_>, content: &Content) -> Result<Fate, Fault> {
        let segment = match content {
            Content::Segment(segment) => segment,
            Content::Later(ip) => return self.fragment_sent_on(case, ip),
            Content::NoPorts(ip) if matches!(ip.protocol, protocol::ICMP | protocol::ICMPV6) => {
                return self.icmp_sent_on(case, ip);
            }
            _ => return Err(format!("what is no whole segment was sent on: {content:?}")),
        };
        let wrong = unsound::of_any(case, segment);
        claim!(
            wrong.is_empty(),
            "what is unsound was sent on or answered: {wrong:?}"
        );
        if answer::is_error(case, &segment.ip) {
            return self.told(case, segment);
        }
        if answer::is_reset(case, segment) {
            return self.answered(case, segment);
        }
        let key = (segment.ip.protocol, segment.ways);
        if let Some(back) = self.flows.back(&key).copied() {
            return self.sent_back(case, segment, &back);
        }
        match self.service(case, segment) {
            Some(service) => self.sent_forth(case, segment, service),
            None => Err(format!("what is not ours was sent on: {:?}", segment.ways)),
        }
    }

    fn service<'a>(&self, case: &Case<'a>, segment: &Segment) -> Option<&'a Service> {
        (case.world).service_of(segment.ip.protocol, &segment.ways.destination)
    }

    /// It is for a vip, or of a backend's side of some flow.
    fn is_ours(&self, case: &Case<'_>, (protocol, ways): (u8, Ways)) -> bool {
        case.world.service_of(protocol, &ways.destination).is_some()
            || self.flows.back(&(protocol, ways)).is_some()
    }

    /// The flow of a segment, by the client's packets.
    fn client_of(&self, segment: &Segment) -> Ways {
        self.flows
            .back(&(segment.ip.protocol, segment.ways))
            .map_or(segment.ways, |back| back.client)
    }
}
