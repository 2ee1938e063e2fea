//! The key `affinity`, which a service and `defaults` share: a word, or a section with the word as
//! `type`.

use std::{ops::RangeInclusive, time::Duration};

use crate::config::{field::Field, parsed::Affinity, section::Section};

const TIMEOUT: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    None,
    ClientIp,
}

impl Kind {
    const ALL: &[Self] = &[Self::None, Self::ClientIp];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientIp => "client_ip",
        }
    }
}

/// The section with every key filled in, those of `client_ip` as well.
#[derive(Clone)]
pub(super) struct AffinityOptions<'a> {
    kind: Kind,
    affinity: Affinity,
    /// Keys given in this very section that only `client_ip` has.
    own: Vec<Field<'a>>,
}

impl Default for AffinityOptions<'_> {
    fn default() -> Self {
        Self {
            kind: Kind::None,
            affinity: Affinity::default(),
            own: Vec::new(),
        }
    }
}

/// The options of a service or of `defaults`; what it does not give is as in `base`.
pub(super) fn onto<'a>(base: &AffinityOptions<'a>, keys: &mut Section<'a>) -> AffinityOptions<'a> {
    let inherited = AffinityOptions {
        own: Vec::new(),
        ..base.clone()
    };
    keys.inherited("affinity", &inherited, |field| {
        if field.is_section() {
            section(&inherited, &field)
        } else {
            Some(AffinityOptions {
                kind: kind(&field)?,
                ..inherited.clone()
            })
        }
    })
}

fn section<'a>(base: &AffinityOptions<'a>, field: &Field<'a>) -> Option<AffinityOptions<'a>> {
    let mut keys = field.section()?;
    let mut own = Vec::new();
    let options = AffinityOptions {
        // A wrong type stands for `client_ip`, which allows every key: one problem, not two.
        kind: keys.inherited("type", &base.kind, |field| {
            kind(&field).or(Some(Kind::ClientIp))
        }),
        affinity: Affinity {
            prefix4: keys.inherited("prefix4", &base.affinity.prefix4, |field| {
                own.push(field.clone());
                field.number(1..=32)
            }),
            prefix6: keys.inherited("prefix6", &base.affinity.prefix6, |field| {
                own.push(field.clone());
                field.number(1..=128)
            }),
            timeout: keys.inherited("timeout", &base.affinity.timeout, |field| {
                own.push(field.clone());
                field.duration(TIMEOUT)
            }),
        },
        own,
    };
    keys.finish();
    Some(options)
}

fn kind(field: &Field<'_>) -> Option<Kind> {
    field.word(Kind::ALL, Kind::name, &[])
}

impl AffinityOptions<'_> {
    /// Reports the keys of this section that only `client_ip` has, unless that is the type.
    pub(super) fn refuse_idle_keys(&self) {
        if self.kind == Kind::ClientIp {
            return;
        }
        for field in &self.own {
            field.refuse::<()>("has no effect without affinity; remove it or set type: client_ip");
        }
    }

    /// The affinity, if there is any.
    pub(super) fn settled(&self) -> Option<Affinity> {
        (self.kind == Kind::ClientIp).then_some(self.affinity)
    }
}
