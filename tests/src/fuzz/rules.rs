//! Which rules are in force: those of what the program under test can do.

use std::sync::LazyLock;

use lb_common::reason::Reason;

/// What the program can do.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Looks behind VLAN tags, and keeps them.
    pub tags: bool,
    /// Drops what nobody sound sends, if it is for a vip.
    pub unsound: bool,
    /// Answers echo requests, and sends errors on that are about flows.
    pub icmp: bool,
    /// Tells senders that hops are used up, or that a packet is too big.
    pub own_errors: bool,
    /// Sends fragments on.
    pub fragments: bool,
}

pub static RULES: LazyLock<Rules> = LazyLock::new(|| {
    let has = |name| Reason::ALL.iter().any(|reason| reason.name() == name);
    Rules {
        tags: Reason::NotIp.meaning().contains("behind"),
        unsound: has("bad_length"),
        icmp: has("icmp_echo"),
        own_errors: has("time_exceeded"),
        fragments: has("bad_fragment"),
    }
});
