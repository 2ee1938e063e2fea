//! Which form of the program suits this kernel: since Linux 6.3 frames that lie in several buffers can be
//! redirected, and the program says that it takes them, by which drivers allow a large MTU. Before, such
//! frames would be lost on their way to another interface; without that word drivers refuse either the
//! program or the MTU, and generic mode puts each frame into one buffer.

use lb_common::names;
use nix::sys::utsname::uname;

/// `dev_map_enqueue` and its like ask the device for `NETDEV_XDP_ACT_NDO_XMIT_SG` from this version on.
const REDIRECTS_FRAGS: (u32, u32) = (6, 3);

/// The name of the program to attach.
#[must_use]
pub fn program_name() -> &'static str {
    if redirects_frags() {
        names::PROGRAM
    } else {
        names::PROGRAM_LINEAR
    }
}

/// The name of its form that tells of sampled decisions.
#[must_use]
pub fn traced_program_name() -> &'static str {
    if redirects_frags() {
        names::PROGRAM_TRACED
    } else {
        names::PROGRAM_LINEAR_TRACED
    }
}

/// What cannot be read is newer than what could be known here.
fn redirects_frags() -> bool {
    let release = uname().ok();
    let release = release.as_ref().and_then(|names| names.release().to_str());
    (release.and_then(version)).is_none_or(|version| version >= REDIRECTS_FRAGS)
}

/// The first two numbers of a release such as `6.1.0-28-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        for (release, expected) in [
            ("6.1.0-28-amd64", Some((6, 1))),
            ("6.18.44", Some((6, 18))),
            ("6.3-rc1", Some((6, 3))),
            ("10.0", Some((10, 0))),
            ("next", None),
            ("6", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
        assert!((6, 10) > REDIRECTS_FRAGS && (6, 1) < REDIRECTS_FRAGS);
    }
}
