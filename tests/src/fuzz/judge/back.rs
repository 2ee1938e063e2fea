//! What went to a client.

use super::{
    Case, Fate, Fault, Judge,
    bytes::{self, Rewrite},
    claim, forth, translated,
};
use crate::{
    fuzz::{dissect::Segment, flows::Back},
    rig::Verdict,
};

impl Judge {
    /// Only the client whose flow it is may get it, from the vip that it talks to.
    pub(super) fn sent_back(
        &mut self,
        case: &Case<'_>,
        segment: &Segment,
        back: &Back,
    ) -> Result<Fate, Fault> {
        let resolved = case.verdict != Verdict::Pass;
        let crossed = back.client.source.v6 != segment.ip.v6;
        claim!(
            resolved || forth::may_be_fragmented(case, &segment.ip, crossed),
            "a backend's packet was changed and passed"
        );
        claim!(
            segment.ip.hops > 1,
            "it was sent on with {} hops left",
            segment.ip.hops
        );
        let ways = back.client.back();
        let macs = resolved.then_some((back.router, back.front(case.out)));
        if ways.source.v6 == segment.ip.v6 {
            let rewrite = Rewrite {
                ways,
                macs,
                hop: resolved,
            };
            bytes::rewrite(&mut self.expected, case, segment, &rewrite)?;
        } else {
            translated::rewrite(&mut self.expected, case, segment, &ways, macs, resolved)?;
        }
        bytes::same(&self.expected, case.out)?;
        if resolved {
            forth::leaves_by(case, true)?;
        }
        Ok(Fate::ToClient {
            backend_idx: back.backend_idx,
            resolved,
        })
    }
}
