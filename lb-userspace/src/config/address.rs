//! Addresses as people write them, and which of them packets can be sent to. As in `units`, an
//! error is the message.

use std::net::{IpAddr, SocketAddr};

use super::{
    parsed::Prefix,
    path::shown,
    units,
    vip::{PortRange, Vip, bracketed},
};

/// A vip: one port, `8000-8100` or `*`. Unicast, and reachable from another host.
pub(super) fn vip(text: &str) -> Result<Vip, String> {
    let vip = match several_ports(text) {
        Some((address, ports)) => Vip {
            address,
            ports: ports?,
        },
        None => socket(text)?.into(),
    };
    unicast(vip.address, text)?;
    Ok(vip)
}

/// A backend's address, and its port or none, which is port 0: unicast, and reachable from another
/// host.
pub(super) fn backend(text: &str) -> Result<SocketAddr, String> {
    let address = match (several_ports(text), text.parse::<IpAddr>()) {
        (Some((address, Ok(PortRange::ALL))), _) | (None, Ok(address)) => {
            SocketAddr::new(address, 0)
        }
        (Some(_), _) => {
            return Err(format!(
                "`{}` names a range of ports, but packets go to one: leave the port out to keep the \
                 one that the client asked for, or give one port",
                shown(text)
            ));
        }
        (None, Err(_)) => match bracketed(text) {
            Some(address) => SocketAddr::new(address.into(), 0),
            None => socket(text)?,
        },
    };
    unicast(address.ip(), text)?;
    Ok(address)
}

/// The address before more ports than one, and those; `None` for a text of another form.
fn several_ports(text: &str) -> Option<(IpAddr, Result<PortRange, String>)> {
    let (host, ports) = text.rsplit_once(':')?;
    let address = match host.parse() {
        Ok(IpAddr::V4(v4)) => v4.into(),
        _ => bracketed(host)?.into(),
    };
    if ports == "*" {
        return Some((address, Ok(PortRange::ALL)));
    }
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (first, last) = ports.split_once('-')?;
    let wrong = |why| format!("`{}`: {why}", shown(text));
    (digits(first) && digits(last)).then(|| (address, units::ports(ports).map_err(wrong)))
}

/// A source address of mode `nat`.
pub(super) fn source(text: &str) -> Result<IpAddr, String> {
    let address = text.parse().map_err(|_| {
        format!(
            "`{}` is no address; write for example 10.0.0.5 or 2001:db8::5",
            shown(text)
        )
    })?;
    unicast(address, text)?;
    Ok(address)
}

/// A prefix; a single address is a prefix of full length.
pub(super) fn prefix(text: &str) -> Result<Prefix, String> {
    let shown = shown(text);
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let wrong =
        || format!("`{shown}` is no prefix; write for example 10.9.0.0/16 or 2001:db8::/64");
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(length) => length.parse().map_err(|_| wrong())?,
    };
    if length > most {
        return Err(format!(
            "`{shown}` is longer than an address; use /0-/{most}"
        ));
    }
    let first = network(address, length);
    if first != address {
        return Err(format!(
            "`{shown}` has bits beyond its length; write {first}/{length}"
        ));
    }
    Ok(Prefix { address, length })
}

/// The prefix of some clients, as their packets carry it.
pub(super) fn clients(text: &str) -> Result<Prefix, String> {
    let prefix = prefix(text)?;
    match (prefix.address, prefix.length.checked_sub(96)) {
        (IpAddr::V6(v6), Some(length)) => match v6.to_ipv4_mapped() {
            None => Ok(prefix),
            Some(v4) => Err(format!(
                "`{}` is IPv4 written as IPv6; write {v4}/{length}",
                shown(text)
            )),
        },
        _ => Ok(prefix),
    }
}

/// The first address of the prefix of this length that an address lies in.
pub(super) fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

/// An address and a port other than 0.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    let shown = shown(text);
    let Ok(address) = text.parse::<SocketAddr>() else {
        return Err(not_a_socket(text));
    };
    if address.port() == 0 {
        return Err(format!("`{shown}` has port 0; use 1-65535"));
    }
    if let SocketAddr::V6(v6) = address
        && v6.scope_id() != 0
    {
        return Err(format!(
            "`{shown}` has a scope; leave out `%{}`",
            v6.scope_id()
        ));
    }
    Ok(address)
}

fn not_a_socket(text: &str) -> String {
    let shown = shown(text);
    let bare = (text.parse().ok()).or_else(|| bracketed(text).map(IpAddr::from));
    match bare {
        Some(IpAddr::V4(v4)) => {
            return format!("`{shown}` has no port; write for example {v4}:80, or {v4}:* for all");
        }
        Some(IpAddr::V6(v6)) => {
            return format!(
                "`{shown}` has no port; write for example [{v6}]:80, or [{v6}]:* for all"
            );
        }
        None => {}
    }
    if several_ports(text).is_some() {
        return format!("`{shown}` names a range of ports; give one port");
    }
    if let Some((host, _)) = text.rsplit_once(':') {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.parse::<IpAddr>().is_ok() {
            return format!("`{shown}` does not end in a port; use 1-65535");
        }
    }
    format!(
        "`{shown}` is no address and port; write for example 10.0.0.11:8080 or \
         [2001:db8::11]:8080 (names are not looked up)"
    )
}

fn unicast(address: IpAddr, text: &str) -> Result<(), String> {
    let shown = shown(text);
    let reason = match address {
        IpAddr::V4(v4) if v4.octets()[0] == 0 => "is in 0.0.0.0/8, which stands for no host",
        IpAddr::V4(v4) if v4.is_broadcast() => "is the broadcast address",
        IpAddr::V6(v6) if v6.is_unspecified() => "stands for no host",
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            return Err(format!(
                "`{shown}` is an IPv4 address written as IPv6; write it as IPv4"
            ));
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            return Err(format!(
                "`{shown}` is a link-local address, which no router forwards; \
                 use a global or unique local one"
            ));
        }
        _ if address.is_loopback() => "is a loopback address, which no other host reaches",
        _ if address.is_multicast() => "is a multicast address",
        _ => return Ok(()),
    };
    Err(format!(
        "`{shown}` {reason}; use a unicast address of a host"
    ))
}
