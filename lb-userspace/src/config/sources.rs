//! Which clients may open flows of a service, settled from its lists.

use std::{collections::BTreeMap, net::Ipv4Addr, net::Ipv6Addr, sync::Arc};

use super::parsed::Prefix;

/// What becomes of new flows from some address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Allow,
    Deny,
}

/// What holds for which addresses of one family: the longest prefix decides, and an address without any
/// may come.
pub type Rules = BTreeMap<Prefix, Access>;

/// The rules of a service. Services that inherit them share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    pub v4: Arc<Rules>,
    pub v6: Arc<Rules>,
}

impl Sources {
    /// Those of two lists that have no prefix in common. Any `allow` keeps out the addresses of both
    /// families that have no prefix of their own.
    pub(super) fn of(allow: &[Prefix], deny: &[Prefix]) -> Self {
        let (mut v4, mut v6) = (Rules::new(), Rules::new());
        if !allow.is_empty() {
            for (rules, address) in [
                (&mut v4, Ipv4Addr::UNSPECIFIED.into()),
                (&mut v6, Ipv6Addr::UNSPECIFIED.into()),
            ] {
                rules.insert(Prefix { address, length: 0 }, Access::Deny);
            }
        }
        for (list, access) in [(allow, Access::Allow), (deny, Access::Deny)] {
            for prefix in list {
                let rules = if prefix.address.is_ipv4() {
                    &mut v4
                } else {
                    &mut v6
                };
                rules.insert(*prefix, access);
            }
        }
        Self {
            v4: Arc::new(v4),
            v6: Arc::new(v6),
        }
    }
}
