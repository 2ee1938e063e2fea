//! What the kernel has, and what a daemon may do with it.

use super::{Issue, Judgement};
use crate::{
    cli::{
        capabilities,
        doctor::{facts::Facts, finding::Severity},
    },
    datapath::Bpffs,
};

/// The oldest that divvy is made for.
const OLDEST: (u32, u32) = (6, 1);

pub(super) fn version(facts: &Facts) -> Judgement {
    let release = &facts.kernel.release;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let (Some(major), Some(minor)) = (number(), number()) else {
        return Judgement::DoesNotApply;
    };
    if (major, minor) >= OLDEST {
        return Judgement::Passed(format!("Linux {release}"));
    }
    Judgement::Found(vec![Issue {
        severity: Severity::Problem,
        subject: String::new(),
        message: format!("this is Linux {release}, and divvy needs 6.1 or newer"),
        effect: "`divvy run` ends: the kernel refuses the program or its tables".to_owned(),
        remedy: "install a newer kernel: Debian 12, Ubuntu 24.04 and RHEL 10 have one".to_owned(),
    }])
}

pub(super) fn btf(facts: &Facts) -> Judgement {
    if facts.kernel.btf {
        return Judgement::Passed("the kernel tells its types (BTF)".to_owned());
    }
    Judgement::Found(vec![Issue {
        severity: Severity::Warning,
        subject: String::new(),
        message: "/sys/kernel/btf/vmlinux is missing: the kernel does not tell its types (BTF)"
            .to_owned(),
        effect: "none on packets; tools that look into running programs cannot".to_owned(),
        remedy: "use a kernel with CONFIG_DEBUG_INFO_BTF, as those of distributions are".to_owned(),
    }])
}

pub(super) fn jit(facts: &Facts) -> Judgement {
    match facts.switches.jit {
        None => Judgement::DoesNotApply,
        Some(true) => Judgement::Passed("eBPF is compiled (JIT)".to_owned()),
        Some(false) => Judgement::Found(vec![Issue {
            severity: Severity::Warning,
            subject: String::new(),
            message: "net.core.bpf_jit_enable is 0: programs are interpreted".to_owned(),
            effect: "each packet takes several times as long, or the program is refused".to_owned(),
            remedy: "sysctl -w net.core.bpf_jit_enable=1   # then start divvy again".to_owned(),
        }]),
    }
}

pub(super) fn bpffs(facts: &Facts) -> Judgement {
    let run_dir = facts.run_dir.display();
    let (path, message, remedy) = match &facts.standing.bpffs {
        Bpffs::Mounted(path) => {
            return Judgement::Passed(format!("a bpffs is mounted at {}", path.display()));
        }
        Bpffs::Hidden(path) => {
            return Judgement::Passed(format!(
                "a bpffs is mounted at {}, which this user may not look into",
                path.display()
            ));
        }
        Bpffs::Absent(path) if !facts.kernel.knows_bpffs => (
            path,
            "the kernel has no file system `bpf`".to_owned(),
            "use a kernel with CONFIG_BPF_SYSCALL".to_owned(),
        ),
        Bpffs::Absent(path) if !facts.process.capabilities.mounts() => (
            path,
            "no bpffs is mounted there, and this user may not mount one".to_owned(),
            format!("sudo divvy prepare --user divvy --run-dir {run_dir}   # the unit does it"),
        ),
        Bpffs::Absent(path) => {
            return Judgement::Passed(format!(
                "a bpffs will be mounted at {} by `divvy run`",
                path.display()
            ));
        }
    };
    Judgement::Found(vec![Issue {
        severity: Severity::Problem,
        subject: path.display().to_string(),
        message,
        effect: "`divvy run` does not start".to_owned(),
        remedy,
    }])
}

pub(super) fn capabilities(facts: &Facts) -> Judgement {
    if facts.process.is_daemon {
        return Judgement::Passed("the daemon has the capabilities that it needs".to_owned());
    }
    let missing = facts.process.capabilities.missing();
    if missing.is_empty() {
        return Judgement::Passed("this user may load eBPF programs and attach XDP".to_owned());
    }
    Judgement::Found(vec![Issue {
        severity: Severity::Warning,
        subject: String::new(),
        message: format!("this user lacks {}", missing.join(", ")),
        effect: "`divvy run` by this user ends at once; what is pinned or not yet asked for \
                 (neighbours) is not checked here"
            .to_owned(),
        remedy: "sudo divvy doctor   # and run the daemon as root, or by divvy.service".to_owned(),
    }])
}

pub(super) fn raw_sockets(facts: &Facts) -> Judgement {
    let Ok(config) = &facts.config else {
        return Judgement::DoesNotApply;
    };
    let through = (config.services.iter()).any(|service| service.health_check.through);
    if !through && !config.announce.addresses {
        return Judgement::DoesNotApply;
    }
    if facts.process.capabilities.has(capabilities::NET_RAW) {
        return Judgement::Passed("frames of its own may be sent (CAP_NET_RAW)".to_owned());
    }
    let whose = if facts.process.is_daemon {
        "the daemon"
    } else {
        "this user"
    };
    let mut effects = Vec::new();
    if through {
        effects.push("a backend without the vip or without an unwrapper counts as up");
    }
    if config.announce.addresses {
        effects.push("neighbours learn late that a vip has moved here");
    }
    Judgement::Found(vec![Issue {
        severity: Severity::Warning,
        subject: String::new(),
        message: format!("{whose} lacks CAP_NET_RAW"),
        effect: effects.join("; "),
        remedy: "add CAP_NET_RAW and AF_PACKET to the unit, as docs/service.md tells".to_owned(),
    }])
}
