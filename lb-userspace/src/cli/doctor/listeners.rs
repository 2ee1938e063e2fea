//! The sockets of this host that wait for connections or datagrams, from `/proc/net` (proc(5)).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::facts::Listener;
use crate::config::Protocol;

/// Of include/net/tcp_states.h: a socket that listens, and a datagram socket that is bound.
const LISTEN: &str = "0A";
const BOUND: &str = "07";

pub(super) fn all() -> Vec<Listener> {
    [
        ("tcp", Protocol::Tcp, LISTEN),
        ("tcp6", Protocol::Tcp, LISTEN),
        ("udp", Protocol::Udp, BOUND),
        ("udp6", Protocol::Udp, BOUND),
    ]
    .into_iter()
    .flat_map(|(file, protocol, state)| {
        let table = fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        parse(&table.unwrap_or_default(), protocol, state)
    })
    .collect()
}

/// The table's lines: a number, our end, the other end, the state, and what is of no interest here.
fn parse(table: &str, protocol: Protocol, state: &str) -> Vec<Listener> {
    (table.lines().skip(1))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (address, port) = words.next()?.split_once(':')?;
            (words.nth(1)? == state).then_some(())?;
            Some(Listener {
                protocol,
                address: parse_address(address)?,
                port: u16::from_str_radix(port, 16).ok()?,
            })
        })
        .collect()
}

/// Words of 32 bits in hexadecimal, each in this machine's byte order.
fn parse_address(text: &str) -> Option<IpAddr> {
    let words = (text.as_bytes().chunks(8))
        .map(|word| {
            let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
            Some(word.to_ne_bytes())
        })
        .collect::<Option<Vec<[u8; 4]>>>()?;
    match words.as_slice() {
        [v4] => Some(Ipv4Addr::from(*v4).into()),
        [a, b, c, d] => {
            let octets: [u8; 16] = [*a, *b, *c, *d].concat().try_into().ok()?;
            Some(Ipv6Addr::from(octets).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_proc_are_read() {
        // What a little-endian machine prints.
        if cfg!(target_endian = "big") {
            return;
        }
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
                     0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000\n   \
                     1: 0100007F:1F90 0200007F:C000 01 00000000:00000000 00:00000000\n   \
                     2: B80D0120000000000000000001000000:01BB 0:0 0A 0:0\n";
        let found = parse(table, Protocol::Tcp, LISTEN);
        let told: Vec<String> = (found.iter())
            .map(|one| format!("{} {}", one.address, one.port))
            .collect();
        assert_eq!(told, ["127.0.0.1 80", "2001:db8::1 443"]);
    }
}
