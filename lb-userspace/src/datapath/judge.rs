//! Why a driver may have refused an XDP program. The kernel tells a number only (for a link there is no
//! `extack`), so that the likely cause is found by looking at the interface. Pure.

use std::io;

use super::device::Device;

#[cfg(test)]
mod tests;

/// The longest packet for which drivers need one buffer: a page of 4,096 bytes less the room in front
/// of a frame (256), what the kernel notes behind it (320), and Ethernet's header with two tags (22).
pub const ONE_BUFFER: u32 = 3_498;

/// What to say of an error by which an interface refused the program: the reason, and with its
/// semicolon what to do about it.
pub(super) fn judge(interface: &str, error: &io::Error, device: &Device) -> (String, String) {
    let causes = causes(interface, error.raw_os_error().unwrap_or_default(), device);
    let why = all(&causes, |cause| &cause.why);
    let remedy = all(&causes, |cause| &cause.remedy);
    let (reason, hint) = match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) if causes.is_empty() => (
            "the driver does not support it".to_owned(),
            "use `xdp: generic`".to_owned(),
        ),
        Some(libc::EOPNOTSUPP) => (
            format!("the driver does not support it, or not while {why}"),
            format!("{remedy}, or use `xdp: generic`"),
        ),
        _ if !causes.is_empty() => (format!("{error}, most likely because {why}"), remedy),
        Some(libc::EINVAL) => (
            error.to_string(),
            "neither its MTU nor large receive offload explains that, but a kernel before 5.9 would; \
             the kernel's log (dmesg) may say more"
                .to_owned(),
        ),
        _ => (
            error.to_string(),
            "the kernel's log (dmesg) may say more".to_owned(),
        ),
    };
    (reason, format!("; {hint}"))
}

struct Cause {
    why: String,
    remedy: String,
}

fn all<'a>(causes: &'a [Cause], part: impl Fn(&'a Cause) -> &'a String) -> String {
    let parts: Vec<&str> = causes.iter().map(|cause| part(cause).as_str()).collect();
    parts.join(" and ")
}

/// All that there is about the interface for which a driver answers with this error.
fn causes(interface: &str, errno: i32, device: &Device) -> Vec<Cause> {
    let veth = device.driver == "veth";
    match errno {
        // What is said of veth is by `veth_xdp_set`, drivers/net/veth.c.
        libc::ERANGE if veth => too_long(interface, device, "the MTU of its peer, if it is also"),
        libc::ENOSPC if veth => few_queues(interface, device),
        libc::EINVAL | libc::ERANGE | libc::EOPNOTSUPP | libc::E2BIG => {
            let mut causes = offloads(interface, device);
            causes.extend(too_long(interface, device, "its MTU of"));
            causes
        }
        _ => Vec::new(),
    }
}

/// Drivers that join received packets in hardware cannot hand them to XDP one by one.
fn offloads(interface: &str, device: &Device) -> Vec<Cause> {
    [
        (device.lro, "large receive offload", "lro"),
        (device.gro_hw, "GRO in hardware", "rx-gro-hw"),
    ]
    .into_iter()
    .filter(|(on, ..)| *on)
    .map(|(_, what, feature)| Cause {
        why: format!("{what} is on"),
        remedy: format!("turn it off with `ethtool -K {interface} {feature} off`"),
    })
    .collect()
}

fn too_long(interface: &str, device: &Device, which: &str) -> Vec<Cause> {
    if device.mtu <= ONE_BUFFER {
        return Vec::new();
    }
    vec![Cause {
        why: format!(
            "{which} {} is more than the driver takes with XDP",
            device.mtu
        ),
        remedy: format!("lower it with `ip link set dev {interface} mtu {ONE_BUFFER}`"),
    }]
}

fn few_queues(interface: &str, device: &Device) -> Vec<Cause> {
    let here = device.receive_queues.unwrap_or(1);
    vec![Cause {
        why: format!("it receives by {here} queues, and its peer sends by more"),
        remedy: format!(
            "give it as many with `ethtool -L {interface} rx N`, or its peer fewer with \
             `ethtool -L PEER tx {here}`"
        ),
    }]
}
