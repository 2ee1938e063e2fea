//! The configuration as JSON, by the keys of the file and with the file's words: for showing what
//! differs between two of them. Defaults are filled in. Times and ranges are as serde has them: who shows
//! them words them.

use std::{
    fmt::Display,
    hash::{DefaultHasher, Hash, Hasher as _},
    net::SocketAddr,
};

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    check::Probe,
    parsed::{GueVariant, Mode, OnDown, OnExit, Prefix, Protocol, Scheduler, XdpMode},
    sources::{Access, Sources},
    vip::{PortRange, Vip, backend_text},
};

/// Of a backend: without a port where it has none.
pub(super) fn address<S: Serializer>(address: &SocketAddr, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&backend_text(*address))
}

pub(super) fn variant<S: Serializer>(variant: &GueVariant, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u8(variant.number())
}

fn words<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

macro_rules! by_name {
    ($($name:ident),+) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }
    )+ };
}

by_name!(Mode, OnDown, OnExit, Protocol, Scheduler, XdpMode);

impl Serialize for Vip {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        words(self, to)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        words(self, to)
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.single() {
            Some(port) => to.collect_str(&port),
            None => to.collect_str(&format_args!("{}-{}", self.first, self.last)),
        }
    }
}

/// Its own keys beside its `type`.
impl Serialize for Probe {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("type", self.name())?;
        let http = match self {
            Self::None | Self::Tcp => None,
            Self::Http(http) => Some((http, None)),
            Self::Https(http, tls) => Some((http, Some(tls))),
            Self::Udp(udp) => {
                map.serialize_entry("send", &udp.send.escape_ascii().to_string())?;
                let expect = (udp.expect.as_ref()).map(|bytes| bytes.escape_ascii().to_string());
                map.serialize_entry("expect", &expect)?;
                None
            }
        };
        if let Some((http, tls)) = http {
            map.serialize_entry("path", &http.path)?;
            map.serialize_entry("host", &http.host)?;
            map.serialize_entry("expect", &http.expect)?;
            if let Some(tls) = tls {
                map.serialize_entry("verify", &tls.authorities.is_some())?;
                map.serialize_entry("ca", &tls.authorities.as_ref().map(digest))?;
                let name = tls.server_name.as_ref().map(|name| name.to_str());
                map.serialize_entry("server_name", &name)?;
                let client = tls.client.as_ref();
                map.serialize_entry("client_cert", &client.map(|client| digest(&client.chain)))?;
                let key = client.map(|client| digest(client.key.secret_der()));
                map.serialize_entry("client_key", &key)?;
            }
        }
        map.end()
    }
}

/// Tells what a file held from what it holds, and nothing else of it.
fn digest(content: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("a file of digest {:016x}", hasher.finish())
}

/// As the lists `allow` and `deny`. That an `allow` keeps out all others is a `deny` of `0.0.0.0/0` and
/// `::/0`.
impl Serialize for Sources {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(2))?;
        for (key, wanted) in [("allow", Access::Allow), ("deny", Access::Deny)] {
            let prefixes: Vec<&Prefix> = (self.v4.iter().chain(self.v6.iter()))
                .filter(|(_, access)| **access == wanted)
                .map(|(prefix, _)| prefix)
                .collect();
            map.serialize_entry(key, &prefixes)?;
        }
        map.end()
    }
}
