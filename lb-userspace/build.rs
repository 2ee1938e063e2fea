//! Compiles the XDP program, so that `divvy` carries it inside.

fn main() -> anyhow::Result<()> {
    ebpf_build::compile("lb-ebpf", &["divvy-ebpf"])
}
