//! Real DNS: dnsmasq on backends, dnsperf on a client.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    process::Stdio,
    time::Duration,
};

use super::{
    backend::Backend,
    host::Host,
    process::{self, Process},
    wait::wait_until,
};

/// Port of DNS (RFC 1035).
pub const DNS_PORT: u16 = 53;

/// Most questions of one [`Host::ask`] that wait for an answer.
pub const IN_FLIGHT: u64 = 20;

/// A dnsmasq that answers every question. It is killed when dropped.
pub struct Dns {
    _process: Process,
}

impl Backend {
    /// Starts dnsmasq, over IPv4 and IPv6, and waits until it answers.
    #[must_use]
    pub fn serve_dns(&self) -> Dns {
        let host = self.host();
        let mut command = process::command(&[
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--pid-file=",
            "--address=/#/192.0.2.53",
        ]);
        command.stderr(Stdio::null());
        let mut process = host.spawn(command);
        let addresses = [IpAddr::from(host.v4()), IpAddr::from(host.v6())];
        wait_until(
            &format!("dnsmasq on {} answers", self.name()),
            Duration::from_secs(10),
            || {
                assert!(
                    process.ended().is_none(),
                    "dnsmasq on {} ended",
                    self.name()
                );
                host.inside(|| {
                    addresses.iter().all(|address| {
                        TcpStream::connect(SocketAddr::new(*address, DNS_PORT)).is_ok()
                    })
                })
            },
        );
        Dns { _process: process }
    }
}

/// A dnsperf that runs.
pub struct Questions {
    process: Process,
}

/// What became of questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answers {
    pub sent: u64,
    pub completed: u64,
    pub lost: u64,
}

impl Host {
    /// Sends so many questions to a DNS server, so many a second, from 100 sockets, at most
    /// [`IN_FLIGHT`] unanswered at a time; one that is not answered within a second is lost.
    ///
    /// # Panics
    /// When dnsperf or its input cannot be made.
    #[must_use]
    pub fn ask(&self, server: IpAddr, count: u32, per_second: u32) -> Questions {
        let file = std::env::temp_dir().join(format!(
            "divvy-questions-{}-{}",
            std::process::id(),
            self.name()
        ));
        fs::write(&file, "divvy.example A\n").expect("the folder for temporary files takes one");
        let (server, port) = (server.to_string(), DNS_PORT.to_string());
        let (count, rate) = (count.to_string(), per_second.to_string());
        let (file, in_flight) = (file.display().to_string(), IN_FLIGHT.to_string());
        let mut command = process::command(&[
            "dnsperf", "-s", &server, "-p", &port, "-d", &file, "-n", &count, "-Q", &rate, "-c",
            "100", "-q", &in_flight, "-t", "1",
        ]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Questions {
            process: self.spawn(command),
        }
    }
}

impl Questions {
    /// Waits for the last of them.
    ///
    /// # Panics
    /// When dnsperf fails, or prints what is not understood.
    #[must_use]
    pub fn wait(self) -> Answers {
        let output = self.process.output();
        let said = process::succeeded(&["dnsperf"], &output);
        let number = |what: &str| {
            let line = said
                .lines()
                .find(|line| line.trim_start().starts_with(what));
            let number =
                line.and_then(|line| line[line.find(':')? + 1..].split_whitespace().next());
            number
                .and_then(|number| number.parse().ok())
                .unwrap_or_else(|| panic!("dnsperf tells no \"{what}\": {said}"))
        };
        Answers {
            sent: number("Queries sent"),
            completed: number("Queries completed"),
            lost: number("Queries lost"),
        }
    }
}
