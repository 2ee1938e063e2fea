//! What systemd hears of the daemon: ready, reloading and ready again, and that its control loop goes
//! round. And what it is told of it: the unit is sound.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use lb_tests::lab::{Divvy, Lab, wait_until};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};

const SOON: Duration = Duration::from_secs(20);

/// A daemon that has a systemd to tell, and the socket on which that listens.
fn told(lab: &Lab) -> (Divvy, UnixDatagram) {
    let divvy = lab.divvy_not_running(&lab.config().yaml());
    let path = lab.folder().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(SOON)).expect("a time");
    let notify = format!("NOTIFY_SOCKET={}", path.display());
    divvy.run_by(&["env", &notify, "WATCHDOG_USEC=300000"]);
    divvy.start_again();
    (divvy, socket)
}

/// The next message that holds this word.
fn wait_for(socket: &UnixDatagram, word: &str) -> String {
    let begun = Instant::now();
    while begun.elapsed() < SOON {
        let mut bytes = [0; 4096];
        let length = socket
            .recv(&mut bytes)
            .unwrap_or_else(|error| panic!("{word}: {error}"));
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        if text.contains(word) {
            return text;
        }
    }
    panic!("{word} never came");
}

fn drained(socket: &UnixDatagram) -> usize {
    socket.set_nonblocking(true).expect("a socket");
    let count = std::iter::from_fn(|| socket.recv(&mut [0; 4096]).ok()).count();
    socket.set_nonblocking(false).expect("a socket");
    count
}

#[test]
fn of_a_reload_and_of_the_end() {
    let lab = Lab::routed("notify").backends(1).start();
    let (divvy, socket) = told(&lab);
    wait_for(&socket, "READY=1");
    for yaml in [lab.config().yaml(), "interfaces: []".to_owned()] {
        divvy.write_config(&yaml);
        let before = monotonic_usec();
        divvy.signal(Signal::SIGHUP);
        let text = wait_for(&socket, "RELOADING=1");
        let usec = text
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let usec: u128 = usec.and_then(|usec| usec.parse().ok()).expect("a time");
        assert!((before..=monotonic_usec()).contains(&usec), "{text}");
        wait_for(&socket, "READY=1");
    }
    assert!(divvy.terminate().success());
    wait_for(&socket, "STOPPING=1");
}

/// A configuration that is a pipe which nobody writes to any more, but somebody could, holds whoever reads
/// it: so long the loop does not go round.
#[test]
fn that_the_control_loop_goes_round_and_not_when_it_hangs() {
    let lab = Lab::routed("watchdog").backends(1).start();
    let (divvy, socket) = told(&lab);
    for _ in 0..5 {
        wait_for(&socket, "WATCHDOG=1");
    }
    fs::remove_file(divvy.config_path()).expect("removed");
    mkfifo(divvy.config_path(), Mode::from_bits_truncate(0o644)).expect("made");
    let pipe = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(divvy.config_path())
        .expect("opened");
    divvy.signal(Signal::SIGHUP);
    wait_for(&socket, "RELOADING=1");
    // One may have been on its way.
    std::thread::sleep(Duration::from_millis(300));
    drained(&socket);
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(drained(&socket), 0, "it hangs, and says that it does not");
    drop(pipe);
    wait_for(&socket, "READY=1");
    wait_for(&socket, "WATCHDOG=1");
    wait_until("the pipe is refused", SOON, || {
        divvy.log().contains("reload failed")
    });
}

fn monotonic_usec() -> u128 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    Duration::from(now).as_micros()
}

/// The unit with a program that exists, where systemd-analyze looks for it.
fn unit(folder: &Path) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/divvy.service");
    let text = fs::read_to_string(path).expect("it is in the repository");
    let unit = folder.join("divvy.service");
    fs::write(&unit, text.replace("/usr/bin/divvy", "/bin/true")).expect("written");
    unit
}

fn analyze(words: &[&str], unit: &Path) -> String {
    let output = Command::new("systemd-analyze")
        .args(words)
        .arg(unit)
        .output();
    let output = output.expect("systemd-analyze (package systemd) is there");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{words:?}: {said}");
    said
}

#[test]
fn by_a_unit_that_is_sound_and_exposes_little() {
    let folder = std::env::temp_dir().join(format!("divvy-unit-{}", std::process::id()));
    fs::create_dir(&folder).expect("made");
    let unit = unit(&folder);
    let said = analyze(&["verify", "--man=no"], &unit);
    // A systemd before 253 does not know the second of the two types, and keeps the first.
    let others: Vec<&str> = (said.lines())
        .filter(|line| !line.contains("service type, ignoring: notify-reload"))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
    // 10 is a service that root runs without any of it; the threshold is in tenths.
    let said = analyze(
        &["security", "--offline=yes", "--no-pager", "--threshold=25"],
        &unit,
    );
    println!("{}", said.lines().last().unwrap_or_default());
    fs::remove_dir_all(&folder).expect("removed");

    let text = fs::read_to_string(
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/divvy.service"),
    );
    let text = text.expect("it is in the repository");
    for set in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        let line = format!("{set}=CAP_BPF CAP_NET_ADMIN CAP_PERFMON");
        assert!(text.lines().any(|is| is == line), "{line} is missing");
    }
}
