//! Compiles the programs that the packet bench measures with.

fn main() -> anyhow::Result<()> {
    ebpf_build::compile("lb-bench-ebpf", &["rewind"])
}
