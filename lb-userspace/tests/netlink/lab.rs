//! Two network namespaces, one of which the watcher watches from inside.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

/// The balancer's namespace with two links to another: net1 (10.1.0.0/24, fd01::/64) and
/// net2 (10.2.0.0/24, fd02::/64); the balancer is .1, the peer .2 on each.
pub struct Lab {
    pub balancer: String,
    pub peer: String,
}

impl Lab {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let lab = Self {
            balancer: format!("hn-{id}-lb"),
            peer: format!("hn-{id}-peer"),
        };
        for namespace in [&lab.balancer, &lab.peer] {
            run(&format!("ip netns add {namespace}"));
            run(&format!("ip -n {namespace} link set lo up"));
        }
        lab.add_link("net1", 1);
        lab.add_link("net2", 2);
        lab
    }

    pub fn add_link(&self, name: &str, net: u8) {
        self.balancer(&format!(
            "link add {name} type veth peer name {name} netns {}",
            self.peer
        ));
        for (namespace, host) in [(&self.balancer, 1), (&self.peer, 2)] {
            for address in [
                format!("10.{net}.0.{host}/24"),
                format!("fd0{net}::{host}/64 nodad"),
            ] {
                run(&format!("ip -n {namespace} addr add {address} dev {name}"));
            }
            run(&format!("ip -n {namespace} link set {name} up"));
        }
    }

    /// Runs `ip` in the balancer's namespace.
    pub fn balancer(&self, arguments: &str) {
        run(&format!("ip -n {} {arguments}", self.balancer));
    }

    /// Runs `ip` in the peer's namespace.
    pub fn peer(&self, arguments: &str) {
        run(&format!("ip -n {} {arguments}", self.peer));
    }

    /// Runs a test in the balancer's namespace, with a runtime of its own.
    pub fn run(&self, test: impl AsyncFnOnce(&Self) + Send) {
        let outcome = std::thread::scope(|scope| {
            let body = || {
                let file = std::fs::File::open(format!("/run/netns/{}", self.balancer)).unwrap();
                setns(file, CloneFlags::CLONE_NEWNET).expect("this test needs root");
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                runtime.enable_all().build().unwrap().block_on(test(self));
            };
            scope.spawn(body).join()
        });
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in [&self.balancer, &self.peer] {
            let _ = Command::new("ip")
                .args(["netns", "del", namespace])
                .status();
        }
    }
}

pub fn run(command: &str) {
    output(command);
}

pub fn output(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}
