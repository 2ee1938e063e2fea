//! The other programs: where they lie, and how they are told to do what divvy does.
//!
//! `cargo xtask bench e2e` unpacks into `.tools/rivals` what the host does not have; nothing is installed, so
//! that no service of theirs runs on the host.

use std::{
    env, fs,
    net::SocketAddrV4,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::lab::{Host, Process, wait_until};

const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.tools/rivals");
const NGINX_STREAM: &str = "usr/lib/nginx/modules/ngx_stream_module.so";
const SOON: Duration = Duration::from_secs(10);

/// What the way needs and this host does not have: a program, by name.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    let programs = ["nft", "haproxy", "nginx"];
    let mut missing: Vec<_> = (programs.into_iter())
        .filter(|name| find(name).is_none())
        .collect();
    if stream_module().is_none() {
        missing.push("nginx's stream module");
    }
    missing
}

/// A program of theirs with its libraries.
fn program(name: &str) -> Result<Command> {
    let path = find(name)
        .with_context(|| format!("there is no {name}; `cargo xtask bench e2e` unpacks it"))?;
    let mut command = Command::new(&path);
    if path.starts_with(UNPACKED) {
        let folder = format!("usr/lib/{}-linux-gnu", env::consts::ARCH);
        command.env("LD_LIBRARY_PATH", Path::new(UNPACKED).join(folder));
    }
    Ok(command)
}

/// The unpacked one before the host's, so that nginx and its module are of one version.
fn find(name: &str) -> Option<PathBuf> {
    let unpacked = Path::new(UNPACKED).join("usr/sbin");
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    std::iter::once(unpacked)
        .chain(folders)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn stream_module() -> Option<PathBuf> {
    [UNPACKED, "/"]
        .map(|root| Path::new(root).join(NGINX_STREAM))
        .into_iter()
        .find(|path| path.is_file())
}

/// A vip and who stands behind it, in turns.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: &'static str,
    pub vip: SocketAddrV4,
    pub backends: Vec<SocketAddrV4>,
}

/// Starts HAProxy in mode tcp with its defaults: a thread for each CPU, backends in turns.
pub fn haproxy(host: &Host, folder: &Path, services: &[Service]) -> Result<Process> {
    let mut text = "global\n    maxconn 8000\ndefaults\n    mode tcp\n    timeout connect 5s\n    \
                    timeout client 60s\n    timeout server 60s\n"
        .to_owned();
    for Service {
        name,
        vip,
        backends,
    } in services
    {
        text.push_str(&format!(
            "listen {name}\n    bind {vip}\n    balance roundrobin\n"
        ));
        for (number, backend) in (1..).zip(backends) {
            text.push_str(&format!("    server web-{number} {backend}\n"));
        }
    }
    let file = put(folder, "haproxy.cfg", &text)?;
    let mut command = program("haproxy")?;
    command.arg("-db").arg("-f").arg(file);
    started(host, command, services)
}

/// Starts nginx as a TCP proxy: a worker for each CPU, each with sockets of its own, backends in turns.
pub fn nginx(host: &Host, folder: &Path, services: &[Service]) -> Result<Process> {
    let module = stream_module().context("there is no stream module for nginx")?;
    let mut text = format!(
        "load_module {};\nerror_log stderr alert;\ndaemon off;\nuser root;\nworker_processes auto;\n\
         pid {}/rival-nginx.pid;\nevents {{ worker_connections 16384; }}\nstream {{\n",
        module.display(),
        folder.display()
    );
    for Service {
        name,
        vip,
        backends,
    } in services
    {
        let servers: String = (backends.iter())
            .map(|backend| format!("server {backend}; "))
            .collect();
        text.push_str(&format!(
            "    upstream {name} {{ {servers}}}\n    server {{ listen {vip} reuseport backlog=8192; proxy_pass \
             {name}; }}\n"
        ));
    }
    text.push_str("}\n");
    let file = put(folder, "rival-nginx.conf", &text)?;
    let mut command = program("nginx")?;
    command.args(["-e", "stderr", "-c"]).arg(file);
    started(host, command, services)
}

/// What nftables does in mode `nat`'s place: new connections to the backends in turns, with a source of the
/// balancer's. Returns the name of the table, to be deleted after use.
pub fn nftables(host: &Host, folder: &Path, services: &[Service]) -> Result<Nftables> {
    let mut rules = String::new();
    for Service { vip, backends, .. } in services {
        let (address, port) = (vip.ip(), vip.port());
        let ends: Vec<String> = (backends.iter().enumerate())
            .map(|(number, backend)| format!("{number} : {} . {}", backend.ip(), backend.port()))
            .collect();
        rules.push_str(&format!(
            "        ip daddr {address} tcp dport {port} dnat ip to numgen inc mod {} map {{ {} }}\n",
            backends.len(),
            ends.join(", ")
        ));
    }
    let text = format!(
        "table ip e2e {{\n    chain in {{\n        type nat hook prerouting priority dstnat;\n{rules}    }}\n    \
         chain out {{\n        type nat hook postrouting priority srcnat;\n        ct status dnat \
         masquerade\n    }}\n}}\n"
    );
    let file = put(folder, "e2e.nft", &text)?;
    nft(host, &["-f", &file.display().to_string()])?;
    Ok(Nftables { host: host.clone() })
}

/// Rules in force. They go when this is dropped.
pub struct Nftables {
    host: Host,
}

impl Drop for Nftables {
    fn drop(&mut self) {
        if let Err(error) = nft(&self.host, &["delete", "table", "ip", "e2e"]) {
            eprintln!("{error:#}");
        }
    }
}

fn nft(host: &Host, words: &[&str]) -> Result<()> {
    let mut command = program("nft")?;
    command.args(words);
    let output = host
        .inside(|| command.output())
        .context("cannot start nft")?;
    ensure!(
        output.status.success(),
        "nft {} failed: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Starts a proxy and waits until it listens on every vip.
fn started(host: &Host, command: Command, services: &[Service]) -> Result<Process> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut process = host.spawn(command);
    let mut ended = None;
    wait_until(&format!("{name} listens"), SOON, || {
        ended = process.ended();
        let listening = host.must_run(&["ss", "--listening", "--tcp", "--numeric", "--no-header"]);
        ended.is_some()
            || (services.iter()).all(|service| listening.contains(&service.vip.to_string()))
    });
    ensure!(ended.is_none(), "{name} ended at once: {ended:?}");
    Ok(process)
}

fn put(folder: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}
