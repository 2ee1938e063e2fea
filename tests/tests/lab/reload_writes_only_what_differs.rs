//! Of a thousand services with ten backends each one backend changes: `divvy reload` writes the maps of that
//! service and no others. Its writes are counted by strace, as the kernel sees them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::maps::MapInfo;
use lb_common::names;
use lb_tests::lab::{Divvy, Lab, Process, wait_until};
use nix::sys::signal::Signal;

const SERVICES: usize = 1_000;
const BACKENDS: usize = 10;
/// The service that changes.
const CHANGED: usize = 500;
const PATIENCE: Duration = Duration::from_secs(30);

/// Services on as many ports of one vip. `weight` and `last` are of the last backend of the one that changes.
fn yaml(lab: &Lab, weight: u32, last: &str) -> String {
    let (network, web) = (network(lab), lab.backends()[0].name());
    let mut yaml = format!(
        "interfaces: [client, {web}]\ndefaults: {{ health_check: {{ type: none }} }}\nservices:\n"
    );
    for service in 0..SERVICES {
        let port = 10_000 + service;
        yaml.push_str(&format!(
            "  - name: s{service}\n    listen: [\"203.0.113.10:{port}\"]\n    backends:\n"
        ));
        for backend in 0..BACKENDS {
            let (address, weight) = if service == CHANGED && backend == BACKENDS - 1 {
                (last.to_owned(), weight)
            } else {
                (format!("{network}.{}:8080", 100 + backend), 1)
            };
            yaml.push_str(&format!(
                "      - {{ name: b{backend}, address: \"{address}\", weight: {weight} }}\n"
            ));
        }
    }
    yaml
}

/// The first three numbers of the backends' addresses.
fn network(lab: &Lab) -> String {
    let address = lab.backends()[0].v4().ip().to_string();
    let (network, _) = address.rsplit_once('.').expect("an address");
    network.to_owned()
}

/// strace, attached to all threads of the daemon.
struct Trace {
    strace: Process,
    file: PathBuf,
}

impl Trace {
    fn begin(lab: &Lab, divvy: &Divvy, name: &str) -> Self {
        let file = lab.folder().join(name);
        let mut command = std::process::Command::new("strace");
        command
            .args([
                "-f",
                "-qq",
                "-s",
                "0",
                "-e",
                "trace=bpf",
                "-p",
                &divvy.id().to_string(),
                "-o",
            ])
            .arg(&file);
        let strace = lab.balancer().spawn(command);
        wait_until("strace looks at all threads", PATIENCE, || traced(divvy));
        Self { strace, file }
    }

    /// How many calls wrote each map, by the name of its pin.
    fn end(mut self, divvy: &Divvy) -> BTreeMap<String, usize> {
        self.strace.signal(Signal::SIGINT);
        self.strace.wait(PATIENCE).expect("strace ends");
        let text = fs::read_to_string(&self.file).expect("it wrote");
        writes(&text, &pinned(divvy), divvy.id())
    }
}

fn traced(divvy: &Divvy) -> bool {
    let tasks = fs::read_dir(format!("/proc/{}/task", divvy.id())).expect("it runs");
    tasks.flatten().all(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}

/// The names of pinned maps, by the kernel's number for them.
fn pinned(divvy: &Divvy) -> BTreeMap<u32, String> {
    let pins = fs::read_dir(divvy.pins()).expect("it is pinned");
    pins.flatten()
        .filter_map(|pin| {
            let info = MapInfo::from_pin(pin.path()).ok()?;
            Some((info.id(), pin.file_name().to_string_lossy().into_owned()))
        })
        .collect()
}

/// Counts the calls that write, by map. A map that is opened while they are made has its name by then, others
/// by the number that the kernel tells of the descriptor.
fn writes(trace: &str, pinned: &BTreeMap<u32, String>, daemon: u32) -> BTreeMap<String, usize> {
    let mut opened: BTreeMap<u32, String> = BTreeMap::new();
    let mut opening: BTreeMap<&str, String> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').expect("a thread and a call");
        if call.contains("BPF_OBJ_GET,") {
            let (_, path) = call.split_once("pathname=\"").expect("it has a path");
            let (path, _) = path.split_once('"').expect("it ends");
            let name = Path::new(path).file_name().expect("a pin");
            opening.insert(thread, name.to_string_lossy().into_owned());
        }
        if let Some(name) = opening.get(thread)
            && let Some((_, result)) = call.rsplit_once(") = ")
        {
            if let Ok(fd) = result.trim().parse() {
                opened.insert(fd, name.clone());
            }
            opening.remove(thread);
        }
        let writes = [
            "MAP_UPDATE_ELEM",
            "MAP_DELETE_ELEM",
            "MAP_UPDATE_BATCH",
            "MAP_DELETE_BATCH",
        ];
        if !writes
            .iter()
            .any(|name| call.contains(&format!("BPF_{name},")))
        {
            continue;
        }
        let (_, fd) = call.split_once("map_fd=").expect("it names a map");
        let digits: String = fd.chars().take_while(char::is_ascii_digit).collect();
        let fd = digits.parse().expect("a descriptor");
        let name = match opened.get(&fd) {
            Some(name) => name.clone(),
            None => named(fd, pinned, daemon),
        };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// The name of a map that the daemon has open.
fn named(fd: u32, pinned: &BTreeMap<u32, String>, daemon: u32) -> String {
    let info = fs::read_to_string(format!("/proc/{daemon}/fdinfo/{fd}")).unwrap_or_default();
    let id = (info.lines())
        .find_map(|line| line.strip_prefix("map_id:"))
        .and_then(|id| id.trim().parse().ok());
    (id.and_then(|id: u32| pinned.get(&id).cloned())).unwrap_or_else(|| format!("descriptor {fd}"))
}

#[test]
fn of_a_thousand_services() {
    let lab = Lab::routed("thousand").backends(1).start();
    let network = network(&lab);
    for host in 100..100 + BACKENDS + 1 {
        let address = format!("{network}.{host}/24");
        let backend = lab.backends()[0].host();
        backend.must_run(&["ip", "address", "add", &address, "dev", "eth0"]);
    }
    let last = format!("{network}.{}:8080", 100 + BACKENDS - 1);
    let other = format!("{network}.{}:8080", 100 + BACKENDS);
    let begun = Instant::now();
    let divvy = lab.divvy_not_running(&yaml(&lab, 1, &last));
    divvy.start_again();
    println!("started after {:.1?}", begun.elapsed());
    divvy.wait_for_all_up();
    // Another weight, or another address: an entry that comes and one that goes.
    for (what, weight, last, backends) in [("weight", 2, &last, 1), ("address", 2, &other, 2)] {
        divvy.write_config(&yaml(&lab, weight, last));
        let trace = Trace::begin(&lab, &divvy, what);
        divvy.must(&["reload"]);
        let mut writes = trace.end(&divvy);
        let ring = (writes.keys())
            .find(|name| name.starts_with("ring_"))
            .cloned();
        let ring = ring.unwrap_or_else(|| panic!("a ring is written: {writes:?}"));
        assert_eq!(writes.remove(&ring), Some(1), "{what}: {ring}");
        let expected = [(names::BACKENDS, backends), (names::SERVICES, 1)]
            .map(|(name, count)| (name.to_owned(), count));
        assert_eq!(writes, BTreeMap::from(expected), "{what}");
    }
    divvy.write_config(&yaml(&lab, 3, &last));
    let begun = Instant::now();
    divvy.must(&["reload"]);
    println!(
        "one backend changed, and nobody looked: {:.0?}",
        begun.elapsed()
    );
}
