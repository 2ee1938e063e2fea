//! Packets through the real XDP program, one by one: input, expected verdict, expected bytes,
//! expected counters. Each runs in IPv4 and in IPv6. Needs root; touches no interface.

mod closing;
mod established;
mod handshake;
mod new_flows;
mod resets;
mod scene;
