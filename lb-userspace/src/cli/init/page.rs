//! The file's text. A line that begins with `#` and a key is that key with its default.

use std::net::SocketAddr;

use super::choose::{Choice, Vip};

pub(super) fn page(choice: &Choice) -> String {
    format!(
        "{HEAD}{}{}{GENERAL}{}{}{SERVICE}",
        interfaces(choice),
        announce(&choice.vip),
        SERVICES,
        listen(&choice.vip),
    )
}

const HEAD: &str = "\
# yaml-language-server: $schema=/usr/share/divvy/divvy.schema.json
# By that line editors complete and check this file. The package brings the schema; without it:
# `divvy schema > /usr/share/divvy/divvy.schema.json`
#
# Configuration of divvy, written for this host by `divvy init`. Edit what is marked EDIT, then:
#   divvy check      every problem in this file
#   divvy doctor     what this host lacks for it
#   divvy reload     if the daemon runs already
# A key behind a `#` is not set; it is shown with its default.

# Where packets of clients and backends arrive: the program is attached there.
interfaces:
";

fn interfaces(choice: &Choice) -> String {
    let mut lines = Vec::new();
    let mut used = 0;
    for candidate in &choice.interfaces {
        let name = &candidate.name;
        match &candidate.left_out {
            None if used == 0 => {
                used += 1;
                lines.push(format!(
                    "  - {name}   # EDIT: all that clients or backends are behind"
                ));
            }
            None => {
                used += 1;
                lines.push(format!("  - {name}"));
            }
            Some(why) => lines.push(format!("  # left out: {name}, {why}")),
        }
    }
    if used == 0 {
        lines.push("  - eth0   # EDIT: none was found that is up".to_owned());
    }
    lines.push("\n".to_owned());
    lines.join("\n")
}

fn announce(vip: &Vip) -> String {
    let words = "\
# Vips that have a backend are put on this host, and its neighbours told (docs/announce.md). Without it, a router
# must send packets for the vips here, or somebody else give this host their addresses.
";
    match vip {
        Vip::Free { .. } => format!("{words}announce: {{ addresses: true }}\n"),
        Vip::Own(_) | Vip::Unknown(_) => format!("{words}#announce: {{ addresses: false }}\n"),
    }
}

const GENERAL: &str = "
# In the driver if it can (native), in the kernel's stack if not (generic): auto | native | generic.
#xdp: auto
# Source addresses and ports of mode nat; without addresses, the host's own toward each backend.
#snat: { addresses: [], ports: 1024-32767 }
# Most connections of each address family, for which memory is taken at the start.
#limits: { flows: 262144, half_open: 65536 }
# Metrics of Prometheus are served nowhere, unless you name an address and port:
#    metrics: \"127.0.0.1:9127\"
# When the daemon stops: packets keep flowing (keep), or the program comes off (detach).
#on_exit: keep
# Whether this file is applied by itself when it changes.
#watch: false
# Any key of a service but name, listen and backends, for those that do not say otherwise.
#defaults: {}
";

const SERVICES: &str = "
services:
  - name: web
";

fn listen(vip: &Vip) -> String {
    let told = |address| SocketAddr::new(address, 80).to_string();
    match vip {
        Vip::Free {
            address,
            network,
            asked,
            own,
        } => {
            let asked = if *asked {
                "No host answered for it just now; one that is off, or a pool of DHCP, may still have it."
            } else {
                "Nobody was asked for it, which takes root."
            };
            format!(
                "    # The vip: an address of {network} that this host does not have.
    # {asked}
    # EDIT: check that it is free. This host's own address would do as well: \"{}\".
    listen: [\"{}\"]
",
                told(*own),
                told(*address)
            )
        }
        Vip::Own(own) => format!(
            "    # The vip: this host's own address. Its other ports, such as that of ssh, stay the host's.
    # EDIT: the port that clients ask for; on this host nothing else listens on it.
    listen: [\"{}\"]
",
            told(*own)
        ),
        Vip::Unknown(address) => format!(
            "    # The vip: this host has no address yet, so this is one of documentation.
    # EDIT: an address that is routed to this host.
    listen: [\"{}\"]
",
            told(*address)
        ),
    }
}

const SERVICE: &str = "    # tcp | udp
    #protocol: tcp
    # How packets reach the backends: nat | route | dsr | ipip | gue (docs/modes.md).
    #mode: nat
    # maglev | round_robin | random | least_conn (docs/services/schedulers.md)
    #scheduler: maglev
    # none | client_ip: a client's new connections go where its last one went.
    #affinity: none
    # Connections of a backend that goes down: reset | keep; of one that drains, how long they go on; how long one
    # that came up takes to get its full share (docs/services/backends.md).
    #on_down: reset
    #drain_timeout: 300s
    #slow_start: 0s
    # When fewer of the backends are up, all are used.
    #panic_threshold: 0%
    # How long a connection without packets is kept.
    #timeouts: { half_open: 60s, established: 900s, fin: 120s, reset: 10s, udp: 60s }
    # Clients that may come, and clients that may not (docs/services/sources.md). All may, unless you say for example:
    #    allow: [10.0.0.0/8]
    #    deny: [10.9.0.0/16]
    # In modes ipip and gue only; these are the defaults:
    #    tunnel: { sources: [], port: 6080, variant: 0 }
    # none | tcp | http | https | udp (docs/services/health.md). A web server is better asked for a page:
    #    health_check: { type: http, path: /healthz }
    #health_check: { type: tcp, interval: 2s, timeout: 1s, rise: 2, fall: 3, jitter: 10%, damping: none }
    backends:
      # EDIT: your servers. These addresses are of documentation, and nobody's.
      - { name: web-1, address: \"192.0.2.11:80\" }
      - { name: web-2, address: \"192.0.2.12:80\" }
      # More of a backend: weight: 1, backup: false, max_flows: (any number)
";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::{
        cli::init::choose::{self, tests::host},
        config::{Config, SCHEMA, parse},
        net::survey::Peer,
    };

    fn pages() -> Vec<String> {
        let mut nowhere = host("10.0.0.5", 24, |_| Peer::Silent);
        nowhere.links.truncate(1);
        nowhere.addresses.clear();
        [
            host("10.0.0.5", 24, |_| Peer::Silent),
            host("10.0.0.5", 24, |_| Peer::Unknown),
            host("192.0.2.7", 32, |_| Peer::Silent),
            host("2001:db8::7", 64, |_| Peer::Silent),
            nowhere,
        ]
        .iter()
        .map(|survey| page(&choose::choice(survey)))
        .collect()
    }

    fn parsed(page: &str) -> Config {
        parse(page, "divvy.yaml").unwrap_or_else(|error| panic!("{error}\n{page}"))
    }

    /// A key that is shown behind a `#`, and the line with the key set.
    fn shown(line: &str) -> Option<(&str, String)> {
        let (indent, rest) = line.split_once('#')?;
        let (key, _) = rest.split_once(':')?;
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        (indent.trim().is_empty() && is_key).then(|| (key, format!("{indent}{rest}")))
    }

    #[test]
    fn it_is_valid_as_written() {
        for page in pages() {
            assert!(page.lines().all(|line| line.len() <= 120), "{page}");
            assert!(page.starts_with(
                "# yaml-language-server: $schema=/usr/share/divvy/divvy.schema.json\n"
            ));
            assert!(page.contains("EDIT"), "{page}");
            let config = parsed(&page);
            assert_eq!(config.services[0].backends.len(), 2);
        }
    }

    #[test]
    fn what_is_shown_as_a_default_is_one() {
        for page in pages() {
            let config = parsed(&page);
            let mut keys = 0;
            for (at, line) in page.lines().enumerate() {
                let Some((key, set)) = shown(line) else {
                    continue;
                };
                keys += 1;
                let lines: Vec<&str> = (page.lines().enumerate())
                    .map(|(n, line)| if n == at { set.as_str() } else { line })
                    .collect();
                assert_eq!(
                    parsed(&lines.join("\n")),
                    config,
                    "{key} is not as without it"
                );
            }
            assert!(keys > 15, "{keys}");
        }
    }

    #[test]
    fn all_keys_are_shown_that_the_schema_knows() {
        let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
        let page = &pages()[0];
        for place in [
            "/properties",
            "/$defs/service/properties",
            "/$defs/backend/properties",
        ] {
            let keys = schema
                .pointer(place)
                .and_then(Value::as_object)
                .expect(place);
            let missing: BTreeSet<&String> = (keys.keys())
                .filter(|key| !page.contains(&format!("{key}:")))
                .collect();
            assert_eq!(missing, BTreeSet::new(), "{place}");
        }
    }

    #[test]
    fn the_hosts_interfaces_stand_in_it() {
        let page = &pages()[0];
        assert_eq!(parsed(page).interfaces, ["eth0"]);
        for words in [
            "  # left out: lo, loopback\n",
            "  # left out: docker0, of containers",
            "check that it is free",
            "listen: [\"10.0.0.253:80\"]",
            "announce: { addresses: true }",
            "\"10.0.0.5:80\"",
        ] {
            assert!(page.contains(words), "{words} is missing in {page}");
        }
        let own = &pages()[2];
        assert!(own.contains("listen: [\"192.0.2.7:80\"]") && own.contains("ssh, stay the host's"));
        assert!(!parsed(own).announce.addresses);
    }
}
