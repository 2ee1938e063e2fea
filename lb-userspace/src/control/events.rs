//! What the health checker and the watcher tell, taken in: the tables follow from it.

use std::{collections::HashMap, net::SocketAddr};

use tracing::{debug, info, warn};

use super::{Control, Probed, status::mac_text, view::observed::ChangeKind};
use crate::{
    config::Config,
    health,
    net::{self, NextHop},
    tables::{self, Health},
};

impl Control {
    /// Takes in a result of the health checker.
    pub(super) fn note_health(&mut self, event: health::Event) {
        // One for a backend that is no longer looked after may still be under way.
        let Some((name, address)) = self.find_backend(event.id) else {
            return;
        };
        if self.overrides.of(event.id).disabled().is_some() {
            return;
        }
        if let Some(transition) = &event.transition {
            self.decisions.made(event.at);
            self.arrivals.decided(event.id, transition);
            let state = if event.up { "up" } else { "down" };
            let reason = &transition.reason;
            let words = format!("{name} is {state}: {reason}");
            if event.up {
                info!("{words}");
                self.changes.note(ChangeKind::Up, words);
            } else {
                warn!("{words}");
                self.changes.note(ChangeKind::Down, words);
            }
        }
        if event.stale_neighbour {
            self.watcher.refresh(address.ip());
        }
        self.probed.insert(
            event.id,
            Probed {
                health: Health {
                    up: event.up,
                    since: event.since,
                },
                reason: event.reason,
            },
        );
    }

    /// Takes in what the network is like now. True when an interface came or went.
    pub(super) fn note_net(&mut self, event: net::Event) -> bool {
        match event {
            net::Event::NextHop { address, next_hop } => {
                match next_hop {
                    Ok(next_hop) => {
                        debug!("next hop of {address}: {next_hop:?}");
                        let gone = self.unreachable.remove(&address);
                        let before = self.next_hops.insert(address, next_hop);
                        if gone.is_some() {
                            let words = format!("backend address {address} has a next hop again");
                            info!("{words}");
                            self.changes.note(ChangeKind::Network, words);
                        }
                        let interface = self.interfaces.get(&next_hop.ifindex);
                        let name = interface.map_or("another", |interface| &interface.name);
                        if let Some(before) = before
                            && let Some(words) = moved(&before, &next_hop, name)
                        {
                            let words = format!(
                                "packets to backend address {address} go {words} from now on"
                            );
                            info!("{words}");
                            self.changes.note(ChangeKind::Network, words);
                        }
                    }
                    Err(why) => {
                        let words = format!("no next hop for backend address {address}: {why}");
                        warn!("{words}");
                        self.changes.note(ChangeKind::Network, words);
                        self.next_hops.remove(&address);
                        self.unreachable.insert(address, why);
                    }
                }
                false
            }
            net::Event::Interface { ifindex, interface } => {
                self.announced.doubt();
                match interface {
                    Some(interface) => drop(self.interfaces.insert(ifindex, interface)),
                    None => drop(self.interfaces.remove(&ifindex)),
                }
                false
            }
            net::Event::LinkGone { name, .. } | net::Event::LinkCame { name, .. } => {
                self.config.interfaces.contains(&name)
            }
        }
    }

    /// `SERVICE/BACKEND` of an identity, and its address.
    fn find_backend(&self, id: u64) -> Option<(String, SocketAddr)> {
        let (service, backend) = self.places.get(&id)?;
        let service = &self.config.services[*service];
        let backend = &service.backends[*backend];
        let name = format!("{}/{}", service.name, backend.name);
        Some((name, backend.address))
    }

    /// Puts another configuration in place; returns the one before.
    pub(super) fn replace_config(&mut self, config: Config) -> Config {
        self.places = places(&config);
        std::mem::replace(&mut self.config, config)
    }
}

/// Where each backend stands, by identity.
pub(super) fn places(config: &Config) -> HashMap<u64, (usize, usize)> {
    (config.services.iter().enumerate())
        .flat_map(|(s, service)| {
            (service.backends.iter().enumerate()).map(move |(b, backend)| {
                (tables::backend_identity(service, backend.address), (s, b))
            })
        })
        .collect()
}

/// In words, where packets go that went elsewhere before, and by the interface of this name; `None` for a
/// next hop that is just no longer known, or known for the first time.
fn moved(before: &NextHop, now: &NextHop, interface: &str) -> Option<String> {
    if (before.ifindex, before.gateway) != (now.ifindex, now.gateway) {
        let way = match now.gateway {
            Some(gateway) => format!("by {gateway}"),
            None => "to it directly".to_owned(),
        };
        return Some(format!("{way} through interface {interface}"));
    }
    match (before.peer_mac, now.peer_mac) {
        (Some(old), Some(new)) if old != new => {
            Some(format!("to {} instead of {}", mac_text(new), mac_text(old)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_hop_that_moved_is_told_and_one_that_is_asked_for_is_not() {
        let before = NextHop {
            ifindex: 2,
            local_mac: [2, 0, 0, 0, 0, 1],
            peer_mac: Some([2, 0, 0, 0, 0, 2]),
            source: "10.0.0.1".parse().unwrap(),
            gateway: None,
            mtu: 1500,
        };
        let told = |now: NextHop| moved(&before, &now, "eth1");
        assert_eq!(told(before), None);
        let unknown = NextHop {
            peer_mac: None,
            ..before
        };
        assert_eq!(told(unknown), None);
        assert_eq!(moved(&unknown, &before, "eth1"), None);
        let mac = NextHop {
            peer_mac: Some([2, 0, 0, 0, 0, 3]),
            ..before
        };
        let words = "to 02:00:00:00:00:03 instead of 02:00:00:00:00:02";
        assert_eq!(told(mac).as_deref(), Some(words));
        let gateway = NextHop {
            gateway: Some("10.0.0.254".parse().unwrap()),
            ..unknown
        };
        let words = "by 10.0.0.254 through interface eth1";
        assert_eq!(told(gateway).as_deref(), Some(words));
        let interface = NextHop {
            ifindex: 3,
            ..before
        };
        let words = "to it directly through interface eth1";
        assert_eq!(told(interface).as_deref(), Some(words));
    }
}
