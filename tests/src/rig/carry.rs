//! The program `carry`, run as the daemon runs it when it takes over from another layout.

use std::{mem::offset_of, net::SocketAddr};

use aya::programs::{TestRun as _, TestRunOptions};
use lb_common::{
    carry::{CarriedFlow, what},
    flow::Flow,
    names,
};

use super::{
    Rig, Verdict,
    entry::{Entry, Table, by_family, key},
};

impl Rig {
    /// Has an entry for packets from `source` to `destination` carried over, as one of the table that it
    /// says. Returns one of [`lb_common::carry::outcome`].
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn carry(&mut self, source: SocketAddr, destination: SocketAddr, entry: &Entry) -> u32 {
        let protocol = self.protocol;
        let confirmed = u32::from(entry.table == Table::Confirmed);
        let what = if source.is_ipv4() {
            what::FLOW4
        } else {
            what::FLOW6
        };
        let mut bytes = [what, confirmed].map(u32::to_ne_bytes).concat();
        by_family!(source, A => {
            assert_eq!(offset_of!(CarriedFlow<A>, key), bytes.len());
            let key = key::<A>(protocol, source, destination);
            put_words(&mut bytes, &[&key.source, &key.destination]);
            put_ports(&mut bytes, key.source_port_be, key.destination_port_be);
            bytes.extend(key.protocol.to_ne_bytes());
            assert_eq!(offset_of!(CarriedFlow<A>, flow), bytes.len());
            put_flow(&mut bytes, &entry.flow::<A>());
            assert_eq!(size_of::<CarriedFlow<A>>(), bytes.len());
        });
        let mut result = vec![0; bytes.len()];
        let run = self
            .beside(names::CARRY)
            .test_run(TestRunOptions {
                data_in: Some(&bytes),
                data_out: Some(&mut result),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("carrying an entry: {error}"));
        assert_eq!(Verdict::from(run.return_value), Verdict::Pass);
        let word = result.first_chunk().expect("it is longer than a word");
        u32::from_ne_bytes(*word)
    }
}

fn put_words(bytes: &mut Vec<u8>, addresses: &[&[u32]]) {
    for word in addresses.iter().copied().flatten() {
        bytes.extend(word.to_ne_bytes());
    }
}

fn put_ports(bytes: &mut Vec<u8>, source_be: u16, destination_be: u16) {
    bytes.extend(source_be.to_ne_bytes());
    bytes.extend(destination_be.to_ne_bytes());
}

fn put_flow<A: AsRef<[u32]>>(bytes: &mut Vec<u8>, flow: &Flow<A>) {
    put_words(bytes, &[flow.source.as_ref(), flow.destination.as_ref()]);
    put_ports(bytes, flow.source_port_be, flow.destination_port_be);
    bytes.extend(flow.backend_idx.to_ne_bytes());
    bytes.extend(flow.last_seen_ns.to_ne_bytes());
    bytes.extend([flow.state, flow.side, flow.closed_by, flow.flags]);
    bytes.extend([flow.pending, flow.ifindex].map(u32::to_ne_bytes).concat());
    bytes.extend(flow.peer_mac);
    bytes.extend(flow.local_mac);
}
