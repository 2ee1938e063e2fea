//! The kernel's switches under `/proc/sys/net`, of this thread's network namespace.
//!
//! They are reached by path, never by the dotted name of sysctl(8): `eth0.100` is one interface.

use std::path::{Path, PathBuf};
use std::{fs, io};

const ROOT: &str = "/proc/sys/net";

/// Whether the kernel forwards IPv4 packets.
///
/// # Errors
/// When `/proc` is not there.
pub fn ipv4_forwarding() -> io::Result<bool> {
    read(&Path::new(ROOT).join("ipv4/ip_forward"))
}

/// Whether the kernel forwards IPv6 packets.
///
/// # Errors
/// `NotFound` when this kernel has no IPv6.
pub fn ipv6_forwarding() -> io::Result<bool> {
    read(&Path::new(ROOT).join("ipv6/conf/all/forwarding"))
}

/// Whether the kernel takes in packets on this interface whose source is an address of this
/// host: so when either the interface or `all` allows it.
///
/// # Errors
/// `NotFound` when there is no such interface.
pub fn accept_local(interface: &str) -> io::Result<bool> {
    let own = read(&accept_local_path(interface)?)?;
    Ok(own || read(&accept_local_path("all")?)?)
}

/// Sets the interface's own switch.
///
/// # Errors
/// `NotFound` when there is no such interface, `PermissionDenied` without the right to change it.
pub fn set_accept_local(interface: &str, on: bool) -> io::Result<()> {
    let path = accept_local_path(interface)?;
    fs::write(&path, if on { "1" } else { "0" }).map_err(|error| named(&path, &error))
}

/// Whether the kernel forwards IPv4 packets that come in by this interface: 0 or 1.
///
/// # Errors
/// `NotFound` when there is no such interface.
pub fn ipv4_forwarding_of(interface: &str) -> io::Result<u8> {
    number(&of_interface(interface, "forwarding")?)
}

/// The reverse path filter that is in force on an interface, its own or that of `all`, whichever is the
/// larger number: 0 none, 1 strict, 2 loose (Documentation/networking/ip-sysctl.rst).
///
/// # Errors
/// `NotFound` when there is no such interface.
pub fn rp_filter(interface: &str) -> io::Result<u8> {
    let own = number(&of_interface(interface, "rp_filter")?)?;
    Ok(own.max(number(&of_interface("all", "rp_filter")?)?))
}

/// The first and the last port that the kernel gives this host's own connections.
///
/// # Errors
/// When `/proc` is not there, or tells something else.
pub fn ephemeral_ports() -> io::Result<(u16, u16)> {
    let path = Path::new(ROOT).join("ipv4/ip_local_port_range");
    let text = fs::read_to_string(&path).map_err(|error| named(&path, &error))?;
    let mut words = text.split_whitespace().map(str::parse);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Ok((first, last)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Those of them that it leaves alone, as ranges.
///
/// # Errors
/// When `/proc` is not there.
pub fn reserved_ports() -> io::Result<Vec<(u16, u16)>> {
    let path = Path::new(ROOT).join("ipv4/ip_local_reserved_ports");
    let text = fs::read_to_string(&path).map_err(|error| named(&path, &error))?;
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    Ok(ranges.collect())
}

/// Whether eBPF programs are compiled. Only the first network namespace has this switch.
///
/// # Errors
/// `NotFound` in any other.
pub fn bpf_jit() -> io::Result<bool> {
    read(&Path::new(ROOT).join("core/bpf_jit_enable"))
}

fn accept_local_path(interface: &str) -> io::Result<PathBuf> {
    of_interface(interface, "accept_local")
}

/// Where an IPv4 switch of an interface is.
fn of_interface(interface: &str, switch: &str) -> io::Result<PathBuf> {
    if matches!(interface, "" | "." | "..") || interface.contains('/') {
        let message = format!("{interface:?} cannot be the name of an interface");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(Path::new(ROOT)
        .join("ipv4/conf")
        .join(interface)
        .join(switch))
}

fn number(path: &Path) -> io::Result<u8> {
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    let number = text.trim().parse();
    number.map_err(|_| io::ErrorKind::InvalidData.into())
}

fn read(path: &Path) -> io::Result<bool> {
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    Ok(text.trim() != "0")
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_in_a_name_do_not_separate() {
        let path = accept_local_path("eth0.100").unwrap();
        assert_eq!(
            path,
            Path::new("/proc/sys/net/ipv4/conf/eth0.100/accept_local")
        );
    }

    #[test]
    fn a_name_cannot_lead_elsewhere() {
        for name in ["", ".", "..", "../../ipv6", "a/b"] {
            let error = accept_local(name).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
        }
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let error = accept_local("hn-none").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("/conf/hn-none/"), "{error}");
    }
}
