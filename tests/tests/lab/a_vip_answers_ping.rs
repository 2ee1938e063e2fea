//! The balancer answers every ping of a vip, small and large, and leaves those of all other addresses to
//! whoever answers them without it.

use std::net::IpAddr;

use lb_tests::lab::{Host, Lab, VIP4, VIP6};

const COUNT: u64 = 200;
/// Bytes of the payload: the usual one, and one that nearly fills a packet.
const SIZES: [&str; 2] = ["56", "1400"];

/// What a real ping prints of each answer, without its time. Panics unless all come, each as it was sent:
/// ping compares the payload.
fn ping(host: &Host, address: IpAddr, size: &str) -> Vec<String> {
    let (count, address) = (COUNT.to_string(), address.to_string());
    let words = [
        "ping", "-n", "-i", "0.002", "-W", "2", "-c", &count, "-s", size, &address,
    ];
    let said = host.must_run(&words);
    let all = format!("{COUNT} packets transmitted, {COUNT} received, 0% packet loss");
    assert!(said.contains(&all), "{said}");
    for wrong in ["DUP!", "wrong data", "truncated", "BAD CHECKSUM"] {
        assert!(!said.contains(wrong), "{said}");
    }
    let answers = said.lines().filter_map(|line| line.split_once(" time="));
    answers.map(|(answer, _)| answer.to_owned()).collect()
}

/// Echo requests that the host's own kernel got.
fn asked(host: &Host, address: IpAddr) -> u64 {
    host.kernel_count(if address.is_ipv4() {
        "IcmpInEchos"
    } else {
        "Icmp6InEchos"
    })
}

#[test]
fn every_one() {
    let lab = Lab::routed("ping").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    for vip in [IpAddr::from(VIP4), VIP6.into()] {
        for size in SIZES {
            let before = (divvy.reason("icmp_echo"), asked(lab.balancer(), vip));
            let answers = ping(lab.client(), vip, size);
            assert_eq!(answers.len() as u64, COUNT);
            let from = format!("bytes from {vip}: ");
            assert!(
                answers.iter().all(|answer| answer.contains(&from)),
                "{answers:?}"
            );
            let after = (divvy.reason("icmp_echo"), asked(lab.balancer(), vip));
            assert_eq!(after, (before.0 + COUNT, before.1), "{vip}, {size} bytes");
        }
    }
}

#[test]
fn while_no_backend_is_up() {
    let lab = Lab::routed("ping_down").backends(1).start();
    let divvy = lab.divvy(&lab.config());
    lab.backend("web-1").kill();
    for place in ["web/web-1", "web6/web-1"] {
        divvy.wait_for_state(place, "down");
    }
    for vip in [IpAddr::from(VIP4), VIP6.into()] {
        assert_eq!(ping(lab.client(), vip, SIZES[0]).len() as u64, COUNT);
    }
}

#[test]
fn of_other_addresses_as_without_a_balancer() {
    let lab = Lab::routed("ping_others").backends(1).start();
    let others = [lab.balancer(), lab.backend("web-1").host()];
    let all = |host: &Host| {
        let addresses = [IpAddr::from(host.v4()), host.v6().into()];
        addresses.map(|address| {
            let before = asked(host, address);
            let answers = SIZES.map(|size| ping(lab.client(), address, size));
            assert_eq!(asked(host, address) - before, 2 * COUNT, "{address}");
            answers
        })
    };
    let without = others.map(all);
    let divvy = lab.divvy(&lab.config());
    divvy.wait_for_all_up();
    assert_eq!(others.map(all), without);
    assert_eq!(divvy.reason("icmp_echo"), 0);
}
