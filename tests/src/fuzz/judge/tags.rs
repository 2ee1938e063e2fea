//! VLAN tags (IEEE 802.1Q and 802.1ad): up to two before IP are as if they were not there, and are kept.

use super::Case;
use crate::{
    fuzz::{dissect::be16, frame::Frame},
    packet::ethertype,
};

const MACS: usize = 12;
const TAG: usize = 4;
const SERVICE_TAG: u16 = 0x88a8;

/// Bytes of the tags of a frame that has IP behind them.
pub fn length(frame: &[u8]) -> usize {
    for tags in 0..=2 {
        let at = MACS + TAG * tags;
        if at + 2 > frame.len() {
            return 0;
        }
        match be16(frame, at) {
            ethertype::IPV4 | ethertype::IPV6 => return TAG * tags,
            ethertype::VLAN | SERVICE_TAG => {}
            _ => return 0,
        }
    }
    0
}

/// What came out has the same tags.
pub fn is_kept(case: &Case<'_>, tags: usize) -> bool {
    case.out.len() > MACS + tags && case.out[MACS..MACS + tags] == case.sent[MACS..MACS + tags]
}

/// Has `bare` hold the frame without tags of this length.
pub fn strip(bare: &mut Frame, frame: &[u8], tags: usize) {
    bare.clear();
    bare.push(&frame[..MACS]);
    bare.push(&frame[MACS + tags..]);
}
