//! The outer source addresses of tunnels.

use std::{collections::HashSet, net::IpAddr};

use lb_common::backend::Tunnel;
use lb_tests::{
    packet::flag::*,
    rig::{Rig, Verdict},
};

use crate::tunnels::{judged, with_each};

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The receiver may tell flows apart by addresses alone.
#[test]
fn sources_differ_from_flow_to_flow_within_their_prefix() {
    with_each(|scene, pipe| {
        let spread = Rig::address_words(pipe.spread());
        scene.rig.tunnel(
            0,
            Tunnel {
                spread,
                ..pipe.tunnel()
            },
        );
        let (prefix, spread) = (bits(pipe.source()), bits(pipe.spread()));
        let mut sources = HashSet::new();
        let first = 1_000 * (1 + scene.client.port() - 1_024);
        for n in first..first + 200 {
            let client = scene.other_client(n);
            let of_flow: HashSet<_> = [
                scene.syn(client),
                scene.syn(client),
                scene.ack(client),
                scene.ack(client).payload(b"data"),
                scene.ack(client).flags(FIN | ACK),
            ]
            .map(|packet| {
                let outcome = scene.rig.send(&packet);
                bits(judged(outcome.verdict(Verdict::Tx)).source)
            })
            .into();
            assert_eq!(of_flow.len(), 1, "one flow, one source");
            sources.extend(of_flow);
        }
        assert!(sources.iter().all(|source| source & !spread == prefix));
        let ever = sources.iter().fold(0, |all, source| all | source);
        let always = sources.iter().fold(u128::MAX, |all, source| all & source);
        assert_eq!(
            (ever, always),
            (prefix | spread, prefix),
            "every bit varies"
        );
        let least = if pipe.v6 { 200 } else { 48 };
        assert!(sources.len() >= least, "{} sources", sources.len());
    });
}
