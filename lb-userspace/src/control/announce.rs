//! `announce`: each vip that has a backend is an address of this host, and its neighbours are told so;
//! one that has none is taken off.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::IpAddr,
};

use tracing::{info, warn};

use super::{Control, start};
use crate::{
    datapath::link_address,
    net::{
        NetError,
        gratuitous::{News, Teller, Telling},
        held::{self, Outcome},
        links::{self, Link},
        sysctl,
    },
    tables,
};

/// What of `announce` is in force.
#[derive(Default)]
pub(super) struct Announced {
    /// Each address that is ours, and the name of its interface.
    held: BTreeMap<IpAddr, String>,
    /// What the neighbours are being told.
    telling: BTreeMap<IpAddr, Telling>,
    /// What was wanted when the host was last brought to it; `None` for never.
    wanted: Option<BTreeSet<IpAddr>>,
    /// Addresses of interfaces that are down: neighbours are told once these are up.
    untold: HashSet<IpAddr>,
    /// Addresses that the host has by other means: said once.
    others: HashSet<IpAddr>,
    /// Said once, as long as it stays the same.
    failures: Vec<String>,
}

impl Announced {
    /// The vip's address is one that this daemon put on the host.
    pub(super) fn holds(&self, address: IpAddr) -> bool {
        self.held.contains_key(&address)
    }

    /// The host has to be looked at anew, if anything is announced: an interface or an address has
    /// changed.
    pub(super) fn doubt(&mut self) {
        self.wanted = self.wanted.take().filter(BTreeSet::is_empty);
    }

    fn say_failures(&mut self, failures: Vec<String>) {
        if failures != self.failures {
            for failure in &failures {
                warn!("announce: {failure}; tried again every few seconds");
            }
            self.failures = failures;
        }
    }
}

impl Control {
    /// Brings the host's addresses to what `announce` says, if anything has changed since the last time.
    pub(super) async fn announce(&mut self) {
        let wanted = self.announceable();
        if self.announced.wanted.as_ref() == Some(&wanted) {
            return;
        }
        match self.hold(&wanted).await {
            Ok(()) => {
                // What failed is tried again at the next look.
                let whole = self.announced.failures.is_empty();
                self.announced.wanted = whole.then_some(wanted);
            }
            Err(error) => self.announced.say_failures(vec![error.to_string()]),
        }
    }

    /// Takes all addresses off the host that a daemon put there; returns them.
    pub(super) async fn withdraw(&mut self) -> Result<Vec<IpAddr>, NetError> {
        let removed = held::remove_held().await?;
        self.announced = Announced::default();
        Ok(removed)
    }

    fn announceable(&self) -> BTreeSet<IpAddr> {
        if self.config.announce.addresses {
            tables::served(&self.config, &self.applied)
        } else {
            BTreeSet::new()
        }
    }

    async fn hold(&mut self, wanted: &BTreeSet<IpAddr>) -> Result<(), NetError> {
        let links = self.links_for_vips().await?;
        let outcome = held::hold(wanted, &links).await?;
        let named = |ifindex: u32| links.iter().find(|link| link.ifindex == ifindex);
        self.announced.held = (outcome.held.iter())
            .filter_map(|(address, ifindex)| Some((*address, named(*ifindex)?.name.clone())))
            .collect();
        for address in &outcome.removed {
            // Nothing more may be said of it: another host may be saying it now.
            self.announced.telling.remove(address);
            self.announced.untold.remove(address);
            info!(
                "vip {address} taken off this host: {}",
                self.why_removed(*address)
            );
        }
        for address in &outcome.others {
            if self.announced.others.insert(*address) {
                info!("vip {address} is an address of this host already: left as it is");
            }
        }
        (self.announced.others).retain(|address| outcome.others.contains(address));
        for (address, ifindex) in &outcome.added {
            let name = named(*ifindex).map_or("", |link| &link.name);
            info!("vip {address} put on {name}");
            self.announced.untold.insert(*address);
        }
        let held: Vec<(IpAddr, &Link)> = (outcome.held.iter())
            .filter_map(|(address, ifindex)| Some((*address, named(*ifindex)?)))
            .collect();
        let down = held.iter().filter(|(_, link)| !link.up);
        (self.announced.untold).extend(down.map(|(address, _)| *address));
        self.tell(&held);
        let Outcome { mut failures, .. } = outcome;
        if links.is_empty() && !wanted.is_empty() {
            failures.push("no interface is there to put vips on".to_owned());
        }
        self.announced.say_failures(failures);
        Ok(())
    }

    /// Where vips are put: the interface that is named for it, or those of the configuration.
    async fn links_for_vips(&self) -> Result<Vec<Link>, NetError> {
        match &self.config.announce.interface {
            Some(name) => {
                let mut present = links::links().await?;
                present.retain(|link| link.name == *name);
                Ok(present)
            }
            None => Ok(start::links_there(&self.config).await?.0),
        }
    }

    fn why_removed(&self, address: IpAddr) -> &'static str {
        if !self.config.announce.addresses {
            return "`announce` says so no longer";
        }
        let services = self.config.services.iter();
        let mut vips = services.flat_map(|service| &service.listen);
        if vips.any(|vip| vip.address == address) {
            "no backend behind it is up"
        } else {
            "no service has it any more"
        }
    }

    /// Has the neighbours told who has those addresses now of which they do not know. Those of an
    /// interface without MAC addresses have none.
    fn tell(&mut self, held: &[(IpAddr, &Link)]) {
        let announced = &mut self.announced;
        let told: Vec<News> = (held.iter())
            .filter(|(address, link)| link.up && announced.untold.remove(address))
            .filter_map(|(address, link)| {
                Some(News {
                    address: *address,
                    link: link_address(link.ifindex),
                    mac: link.mac.filter(|_| link.resolves)?,
                    router: sysctl::ipv6_forwarding().unwrap_or_default(),
                })
            })
            .collect();
        if told.is_empty() {
            return;
        }
        match Teller::open() {
            Ok(teller) => {
                for news in told {
                    let address = news.address;
                    self.announced.telling.insert(address, teller.tell(news));
                }
            }
            Err(error) => warn!(
                "announce: neighbours are not told of new vips: no packet socket: {error}; give \
                 the daemon CAP_NET_RAW"
            ),
        }
    }
}
