//! What happens in the machine: its first steps, up to the host's files, and then the tests.

use std::{
    fmt::Write as _,
    fs,
    path::{self, Path},
};

use anyhow::{Context as _, Result};

use super::{initramfs::Archive, modules, programs::Programs};
use crate::setup::Machine;

/// One program of tests, and which of them.
struct Step {
    package: &'static str,
    target: &'static str,
    /// Parts of names of tests that are run; none: all.
    tests: &'static [&'static str],
}

/// What an older kernel must pass: as much as an emulated machine does while somebody waits. All of them
/// would take hours.
const PLAN: [Step; 4] = [
    Step {
        package: "tests",
        target: "packets",
        // One of each kind: emulated, even these take minutes.
        tests: &[
            "verifier",
            "affinity::services_remember_their_clients_apart",
            "crossed::segments_are_translated_both_ways",
            "dsr::the_mac_addresses_alone_change",
            "established::packets_pass_both_ways_as_they_are",
            "handshake::the_clients_ack_of_the_syn_ack_confirms",
            "not_ours::packets_for_others_pass_untouched",
            "port_ranges::a_range_takes_its_ports_and_no_other",
            "resets::a_packet_of_no_flow_is_answered_as_the_rfc_says",
            "route::packets_pass_both_ways_with_the_clients_address",
            "schedulers::round_robin_goes_from_slot_to_slot",
            "sweeping::both_entries_of_a_flow_go_together",
            "tunnels::packets_come_out_wrapped",
            "udp::datagrams_pass_both_ways",
        ],
    },
    Step {
        package: "lb-userspace",
        target: "netlink",
        tests: &[],
    },
    Step {
        package: "tests",
        target: "kernel_tunnels",
        tests: &[],
    },
    Step {
        package: "tests",
        target: "lab",
        tests: &[
            "each_mode_carries::nat_between_the_families_routed",
            "each_mode_carries::route_routed",
            "each_mode_carries::dsr_one_arm",
            "generic_mode_works_and_is_reported",
            "restart_breaks_no_flow::killed_under_load",
        ],
    },
];

/// By which the machine tells the host what it does; no test prints such a line.
pub(super) const BEGIN: &str = "@begin ";
pub(super) const END: &str = "@end ";
pub(super) const OVER: &str = "@over";

/// Modules of the kernel: for the way to the host's files, and for the lab.
const MODULES: [&str; 10] = [
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "veth",
    "bridge",
    "ipip",
    "sit",
    "ip6_tunnel",
    "fou",
];

/// The first file system: modules, and a script that loads them and goes over to the host's files.
pub(super) fn initramfs(parts: &Machine, script: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    for folder in ["proc", "sys", "host", "layer", "root", "modules"] {
        archive.folder(folder);
    }
    let busybox = fs::read(&parts.busybox)
        .with_context(|| format!("cannot read {}", parts.busybox.display()))?;
    archive.program("busybox", &busybox);
    let mut load = String::new();
    for (name, bytes) in modules::with_needs(&parts.modules, &MODULES)? {
        archive.program(&format!("modules/{name}"), &bytes);
        load += &format!("b insmod /modules/{name}\n");
    }
    let script = path::absolute(script).context("the current folder is gone")?;
    let init = format!(
        "#!/busybox sh
b() {{ /busybox \"$@\" || {{ echo \"failed: $*\"; /busybox poweroff -f; }}; }}
b mount -t proc proc /proc
{load}b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host
b mount -t tmpfs layer /layer
b mkdir /layer/upper /layer/work
b mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /root
b mount -t proc proc /root/proc
b mount -t sysfs sys /root/sys
b mount -t devtmpfs dev /root/dev
b mkdir -p /root/dev/shm /root/dev/pts /root/run
for folder in dev/shm run; do b mount -t tmpfs -o mode=1777 tmpfs /root/$folder; done
b umount /proc
exec /busybox switch_root /root /bin/sh {}
",
        quoted(&script)
    );
    archive.program("init", init.as_bytes());
    Ok(archive.finish())
}

/// The tests, as a script of the machine's first process.
pub(super) fn script(programs: &Programs, filter: Option<&str>, busybox: &Path) -> Result<String> {
    let mut script = format!(
        "exec >/dev/ttyS1 2>&1 </dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
# The workspace may lie in the usual folder for such files, which stays as it is on the host.
export TMPDIR=/run/tmp
mkdir $TMPDIR
{busybox} ip link set lo up
ulimit -n 1048576
run() {{
    echo \"{BEGIN}$1\"
    cd \"$2\"
    shift 2
    \"$@\"
    echo \"{END}$?\"
}}
",
        busybox = quoted(busybox),
    );
    for step in &PLAN {
        let key = (step.package.to_owned(), step.target.to_owned());
        let program = programs
            .get(&key)
            .with_context(|| format!("cargo built no test {} of {}", step.target, step.package))?;
        write!(
            script,
            "run {} {} {} --test-threads 1 --nocapture",
            step.target,
            quoted(&program.folder),
            quoted(&program.path)
        )?;
        let tests = filter
            .as_slice()
            .iter()
            .chain(if filter.is_none() { step.tests } else { &[] });
        for test in tests {
            write!(script, " '{test}'")?;
        }
        script.push('\n');
    }
    write!(
        script,
        "echo {OVER}\nsleep 1\nexec {} poweroff -f\n",
        quoted(busybox)
    )?;
    Ok(script)
}

/// For the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
