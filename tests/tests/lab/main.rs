//! Real programs talk through the balancer: one file per promise. Needs root.

mod lab_carries_packets;
