//! VLAN tags that a rig puts on each frame and takes off what comes out, so that tests which know
//! nothing of tags can be run with them.

use std::{borrow::Cow, cell::RefCell};

use crate::packet::{Tag, describe};

/// Where the first tag lies: behind the MAC addresses.
const FIRST: usize = 12;

thread_local! {
    static TAGS: RefCell<Worn> = const { RefCell::new(Worn(Vec::new())) };
}

/// Runs a test, all of whose rigs put these tags on each frame, the outermost first. What they do not
/// drop must have the same tags when it comes out, and is then seen without them.
pub fn wearing(tags: &[Tag], test: impl FnOnce()) {
    let bytes = |(kind, number): &Tag| [kind.to_be_bytes(), number.to_be_bytes()].concat();
    TAGS.set(Worn(tags.iter().flat_map(bytes).collect()));
    test();
    TAGS.set(Worn(Vec::new()));
}

/// The tags of a rig, as they lie in a frame.
#[derive(Clone, Debug)]
pub(super) struct Worn(Vec<u8>);

impl Worn {
    pub(super) fn by_this_thread() -> Self {
        TAGS.with_borrow(Self::clone)
    }

    pub(super) fn on<'a>(&self, frame: &'a [u8]) -> Cow<'a, [u8]> {
        if self.0.is_empty() {
            return Cow::Borrowed(frame);
        }
        let (macs, rest) = frame.split_at(FIRST);
        Cow::Owned([macs, &self.0, rest].concat())
    }

    #[track_caller]
    pub(super) fn off(&self, frame: &mut Vec<u8>) {
        let end = FIRST + self.0.len();
        assert!(
            frame.get(FIRST..end) == Some(&self.0),
            "the tags are gone: {}",
            describe(frame)
        );
        frame.drain(FIRST..end);
    }
}
