//! What an operator reads of refusals for which no driver is at hand.

use super::*;

fn said(errno: i32, device: &Device) -> String {
    let error = io::Error::from_raw_os_error(errno);
    let (reason, hint) = judge("eth0", &error, device);
    reason + &hint
}

fn plain() -> Device {
    Device {
        mtu: 1_500,
        driver: "mlx5_core".to_owned(),
        receive_queues: Some(4),
        ..Device::default()
    }
}

#[test]
fn a_large_mtu_is_named_with_the_one_to_set() {
    let jumbo = Device {
        mtu: 9_000,
        ..plain()
    };
    for errno in [libc::EINVAL, libc::ERANGE] {
        let text = said(errno, &jumbo);
        assert!(
            text.ends_with(
                ", most likely because its MTU of 9000 is more than the driver takes with XDP; \
                 lower it with `ip link set dev eth0 mtu 3498`"
            ),
            "{text}"
        );
    }
    let longest = Device {
        mtu: 3_498,
        ..plain()
    };
    assert!(!said(libc::EINVAL, &longest).contains("most likely"));
}

#[test]
fn large_receive_offload_is_named_with_how_to_turn_it_off() {
    let text = said(
        libc::EINVAL,
        &Device {
            lro: true,
            ..plain()
        },
    );
    assert_eq!(
        text,
        "Invalid argument (os error 22), most likely because large receive offload is on; turn it \
         off with `ethtool -K eth0 lro off`"
    );
    // As virtio_net says it.
    let text = said(
        libc::EOPNOTSUPP,
        &Device {
            gro_hw: true,
            ..plain()
        },
    );
    assert_eq!(
        text,
        "the driver does not support it, or not while GRO in hardware is on; turn it off with \
         `ethtool -K eth0 rx-gro-hw off`, or use `xdp: generic`"
    );
}

#[test]
fn several_causes_are_all_named() {
    let device = Device {
        mtu: 9_000,
        lro: true,
        ..plain()
    };
    let text = said(libc::EINVAL, &device);
    for word in [
        "large receive offload is on and its MTU of 9000",
        "ethtool -K eth0 lro off",
        "ip link set dev eth0 mtu 3498",
    ] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn a_veth_is_judged_by_what_veth_asks_for() {
    let veth = |mtu| Device {
        mtu,
        driver: "veth".to_owned(),
        receive_queues: Some(1),
        ..Device::default()
    };
    let text = said(libc::ERANGE, &veth(9_000));
    assert!(
        text.contains("the MTU of its peer, if it is also 9000"),
        "{text}"
    );
    let text = said(libc::ENOSPC, &veth(1_500));
    assert!(
        text.contains("receives by 1 queues") && text.contains("ethtool -L eth0 rx N"),
        "{text}"
    );
}

#[test]
fn without_a_cause_none_is_made_up() {
    assert_eq!(
        said(libc::EOPNOTSUPP, &plain()),
        "the driver does not support it; use `xdp: generic`"
    );
    assert!(said(libc::EINVAL, &plain()).contains("a kernel before 5.9"));
    for errno in [libc::ENOMEM, libc::ENOSPC, libc::EIO] {
        assert!(said(errno, &plain()).ends_with("; the kernel's log (dmesg) may say more"));
    }
    let unknown = Device::default();
    assert!(!said(libc::ERANGE, &unknown).contains("most likely"));
}
