//! Compiles the XDP program, so that `divvy` carries it inside.

fn main() -> anyhow::Result<()> {
    let features: &[&str] = if cfg!(feature = "second-layout") {
        &["second-layout"]
    } else {
        &[]
    };
    ebpf_build::compile("lb-ebpf", &["divvy-ebpf"], features)
}
