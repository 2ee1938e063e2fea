//! Compiles the eBPF programs of the tests' own: what the packet bench measures with, and the far
//! end of tunnels.

fn main() -> anyhow::Result<()> {
    ebpf_build::compile("lb-bench-ebpf", &["rewind"], &[])?;
    ebpf_build::compile("lb-lab-ebpf", &["decap"], &[])
}
