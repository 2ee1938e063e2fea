//! Packets through the real XDP program, one by one: input, expected verdict, expected bytes,
//! expected counters. Each runs in IPv4 and in IPv6. Needs root; touches no interface.

mod affinity;
mod aged;
mod backends;
mod checksums;
mod closing;
mod crossed;
mod dsr;
mod established;
mod fragments;
mod fragments_astray;
mod full_tables;
mod handshake;
mod icmp_echo;
mod jumbo;
mod loads;
mod new_flows;
mod not_ours;
mod old_kernels;
mod one_way;
mod options;
mod overdue;
mod port_ranges;
mod ports;
mod resets;
mod route;
mod scene;
mod schedulers;
mod source_lists;
mod sweeping;
mod truncated;
mod tunnels;
mod two_balancers_agree;
mod udp;
mod verifier;
mod vlan;
