//! A client may use the same source port again at once, without failure and without a second's wait
//! for a repeated SYN; and closed connections leave their source ports to new ones.

use std::time::{Duration, Instant};

use lb_tests::lab::{EchoServer, Lab, Load, Manner, URL4, VIP4};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket,
        sockopt::{Linger, ReuseAddr},
    },
    unistd::Pid,
};

#[test]
fn the_same_port_a_thousand_times() {
    stay_on_one_processor();
    let lab = Lab::routed("same_port").backends(3).start();
    let _servers: Vec<EchoServer> = (lab.backends().iter())
        .map(|backend| EchoServer::start(backend.host(), 700, Manner::CloseFirst))
        .collect();
    let yaml = (1..=3).fold(lab.config().yaml(), |yaml, n| {
        yaml.replace(&format!("10.0.{n}.2:80"), &format!("10.0.{n}.2:700"))
    });
    let yaml = yaml.replace("type: http, path: /healthz,", "type: tcp,");
    let divvy = lab.divvy_not_running(&yaml);
    divvy.start_again();
    divvy.wait_for_all_up();

    let slowest = lab.client().inside(|| {
        let mut slowest = Duration::ZERO;
        for round in 0..1_000 {
            let begun = Instant::now();
            one_connection(round % 2 == 0).unwrap_or_else(|error| panic!("round {round}: {error}"));
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    });
    // A SYN that is lost is repeated after a second (RFC 6298, section 2.1).
    assert!(slowest < Duration::from_millis(900), "one took {slowest:?}");
    assert_eq!(
        divvy.must(&["flows", "--service", "web", "--count"]).trim(),
        "1"
    );
}

/// Keeps this thread, and those it starts, on one processor: client and servers then take turns.
/// While a server's system call holds a socket on another processor, Linux queues what arrives for it,
/// the SYN of the next connection included, and drops that with the socket. With or without a
/// balancer the client then waits a second.
fn stay_on_one_processor() {
    let mut first = CpuSet::new();
    first.set(0).expect("there is a first processor");
    sched_setaffinity(Pid::from_raw(0), &first).expect("allowed for one's own thread");
}

/// One exchange from port 5555. The server closes first, so that TIME-WAIT is the backend's; the
/// client waits for that, then closes too, or resets.
fn one_connection(by_reset: bool) -> Result<(), Box<dyn std::error::Error>> {
    use std::{io::Read as _, os::fd::AsRawFd as _};

    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    setsockopt(&fd, ReuseAddr, &true)?;
    if by_reset {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&fd, Linger, &linger)?;
    }
    bind(fd.as_raw_fd(), &SockaddrIn::new(10, 0, 0, 2, 5555))?;
    let [a, b, c, d] = VIP4.octets();
    let vip = SockaddrIn::new(a, b, c, d, 80);
    while let Err(error) = connect(fd.as_raw_fd(), &vip) {
        // The client's own kernel still waits for the last acknowledgement of the one before.
        if error != nix::Error::EADDRNOTAVAIL {
            return Err(error.into());
        }
        std::thread::yield_now();
    }
    let mut stream = std::net::TcpStream::from(fd);
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

#[test]
fn more_connections_than_ports_one_after_the_other() {
    let lab = Lab::routed("few_ports").backends(1).start();
    let divvy = lab.divvy(&lab.config().with("snat: { ports: 2000-2399 }"));
    divvy.wait_for_all_up();
    // 400 ports and 100 connections a second: each port is needed again after four seconds, long
    // before its closed flow's timer of 120 s.
    let load = Load::on(URL4).clients(4).per_second(100).from(lab.client());
    load.wait_for(1_000);
    let report = load.stop();
    // A repeated SYN is allowed here: a backend that closed first holds TIME-WAIT for the port, and
    // accepts another client's SYN there only if its timestamps happen to be newer.
    assert_eq!(
        report.failed().len(),
        0,
        "{report}; counted: {}",
        divvy.status()["reasons"]
    );
}
