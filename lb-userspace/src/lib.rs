//! The parts of `divvy` that its tests use too.

/// Stands here until the datapath's own room does.
pub mod datapath {
    /// The compiled XDP program with its maps.
    pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/divvy-ebpf"));
}
