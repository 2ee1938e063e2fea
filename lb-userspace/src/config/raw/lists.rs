//! The lists `allow` and `deny`, which a service and `defaults` share. Each replaces the inherited one.

use std::{collections::HashMap, sync::Arc};

use super::unique;
use crate::config::{
    address,
    field::Field,
    parsed::Prefix,
    path::{Path, Segment},
    section::Section,
    sources::Sources,
};

/// Both lists, and what they come to.
#[derive(Clone, Default)]
pub(super) struct Lists {
    allow: List,
    deny: List,
    pub(super) sources: Sources,
}

#[derive(Clone, Default)]
struct List {
    prefixes: Arc<[Prefix]>,
    /// Where it stands: a prefix is at its index below.
    at: Path,
}

/// The lists of a section; one that it does not give is as in `base`.
pub(super) fn onto(base: &Lists, keys: &mut Section<'_>) -> Lists {
    let own_allow = keys.take("allow").and_then(read);
    let own_deny = keys.take("deny").and_then(read);
    if own_allow.is_none() && own_deny.is_none() {
        return base.clone();
    }
    let or = |own: &Option<(Field<'_>, List)>, base: &List| {
        own.as_ref()
            .map_or_else(|| base.clone(), |(_, list)| list.clone())
    };
    let (allow, deny) = (or(&own_allow, &base.allow), or(&own_deny, &base.deny));
    // What is inherited as a whole was checked where it stands.
    match (&own_deny, &own_allow) {
        (Some((field, _)), _) => no_prefix_of(&allow, field, &deny),
        (None, Some((field, _))) => no_prefix_of(&deny, field, &allow),
        (None, None) => {}
    }
    Lists {
        sources: Sources::of(&allow.prefixes, &deny.prefixes),
        allow,
        deny,
    }
}

fn read(field: Field<'_>) -> Option<(Field<'_>, List)> {
    let prefixes = unique(field.items()?, |item| item.text(address::clients))?;
    let list = List {
        prefixes: prefixes.into(),
        at: field.path.clone(),
    };
    Some((field, list))
}

/// Refuses what stands in both lists; `field` is where the second one stands.
fn no_prefix_of(other: &List, field: &Field<'_>, list: &List) {
    let places: HashMap<&Prefix, usize> = (other.prefixes.iter().enumerate())
        .map(|(index, prefix)| (prefix, index))
        .collect();
    for (index, prefix) in list.prefixes.iter().enumerate() {
        if let Some(place) = places.get(prefix) {
            let place = other.at.child(Segment::Index(*place));
            field.refuse_child::<()>(
                Segment::Index(index),
                format!("`{prefix}` is also {place}; keep one of the two"),
            );
        }
    }
}
