//! The vips of all services together: what they must not share with one another, with backends, and
//! with the source addresses.

use std::{cmp::Reverse, collections::HashMap, net::IpAddr, net::SocketAddr, rc::Rc};

use lb_common::{MAX_VIP_PREFIXES, MAX_VIPS};

use super::{Unique, too_many};
use crate::config::{
    field::Field,
    parsed::{Protocol, Snat},
    path::Path,
    vip::{PortRange, Vip},
};

/// Every vip read so far, and every backend.
#[derive(Default)]
pub(super) struct Vips<'a> {
    claimed: Unique<(Vip, Protocol)>,
    /// By address and protocol, in the order of the file.
    places: Vec<Place<'a>>,
    index: HashMap<(IpAddr, Protocol), usize>,
    backends: Vec<BackendAt<'a>>,
}

/// The vips of one address and protocol, in the order of the file.
struct Place<'a> {
    address: IpAddr,
    vips: Vec<(Field<'a>, PortRange)>,
}

struct BackendAt<'a> {
    field: Field<'a>,
    address: SocketAddr,
    protocol: Protocol,
    /// Of its service's vips: a backend without a port gets packets on those.
    ports: Rc<[PortRange]>,
}

impl<'a> Vips<'a> {
    /// Takes in a vip, or reports that it stands elsewhere too.
    pub(super) fn claim(&mut self, vip: Vip, protocol: Protocol, field: &Field<'a>) -> Option<()> {
        self.claimed.claim((vip, protocol), field, &vip)?;
        let Vip { address, ports } = vip;
        let next = self.places.len();
        let place = *self.index.entry((address, protocol)).or_insert(next);
        if place == next {
            let vips = Vec::new();
            self.places.push(Place { address, vips });
        }
        self.places[place].vips.push((field.clone(), ports));
        Some(())
    }

    /// Takes in a backend of a service whose vips have these ports.
    pub(super) fn add_backend(
        &mut self,
        field: Field<'a>,
        address: SocketAddr,
        protocol: Protocol,
        ports: &Rc<[PortRange]>,
    ) {
        self.backends.push(BackendAt {
            field,
            address,
            protocol,
            ports: Rc::clone(ports),
        });
    }

    pub(super) fn backends(&self) -> usize {
        self.backends.len()
    }

    /// Reports what does not go together. `services` is the list of all services.
    pub(super) fn check(&self, services: &Field<'_>, snat: Option<&Snat>) {
        for place in &self.places {
            place.one_within_the_other();
            if let Some(snat) = snat {
                place.clear_of(snat);
            }
        }
        self.no_loops();
        for (v4, family) in [(true, "IPv4"), (false, "IPv6")] {
            self.sizes(services, v4, family);
        }
    }

    /// A packet that the program has rewritten does not come back to it: a vip cannot be a backend.
    fn no_loops(&self) {
        let reaches: Vec<Reach<'_>> = self.places.iter().map(Place::reach).collect();
        for backend in &self.backends {
            let at = (backend.address.ip(), backend.protocol);
            let Some(reach) = self.index.get(&at).map(|place| &reaches[*place]) else {
                continue;
            };
            let port = backend.address.port();
            if port != 0 {
                if let Some(vip) = reach.meeting(PortRange::one(port)) {
                    backend.field.refuse::<()>(format!(
                        "is also the vip {vip}; give the address of a server"
                    ));
                }
            } else if let Some(vip) = backend.ports.iter().find_map(|p| reach.meeting(*p)) {
                backend.field.refuse::<()>(format!(
                    "has no port, so that packets keep theirs, and on these the address is the vip \
                     {vip}; give the address of a server"
                ));
            }
        }
    }

    /// What the tables can hold.
    fn sizes(&self, services: &Field<'_>, v4: bool, family: &str) {
        let (mut vips, mut prefixes) = (0, 0);
        let places = self.places.iter().filter(|p| p.address.is_ipv4() == v4);
        for (_, ports) in places.flat_map(|place| &place.vips) {
            match ports.single() {
                Some(_) => vips += 1,
                None => prefixes += ports.prefixes().len(),
            }
        }
        if vips > MAX_VIPS as usize {
            services.refuse::<()>(too_many(vips, &format!("{family} vips"), MAX_VIPS));
        }
        if prefixes > MAX_VIP_PREFIXES as usize {
            services.refuse::<()>(format!(
                "the {family} vips that are ranges of ports take {prefixes} entries in the tables, \
                 which have room for {MAX_VIP_PREFIXES}: a range takes one for each power of two that \
                 it is made of, `*` one; use fewer ranges, or such as 8000-8191 (one entry)"
            ));
        }
    }
}

impl Place<'_> {
    /// Which of two ranges is the more special one must be clear.
    fn one_within_the_other(&self) {
        let mut order: Vec<usize> = (0..self.vips.len()).collect();
        order.sort_by_key(|at| {
            let ports = self.vips[*at].1;
            (ports.first, Reverse(ports.last))
        });
        let mut crossings = Vec::new();
        // Those that the next may lie in, each within the one before.
        let mut around: Vec<usize> = Vec::new();
        for at in order {
            let ports = self.vips[at].1;
            while (around.last()).is_some_and(|outer| self.vips[*outer].1.last < ports.first) {
                around.pop();
            }
            match around.last() {
                Some(outer) if !self.vips[*outer].1.contains(ports) => {
                    crossings.push((at.max(*outer), at.min(*outer)));
                }
                _ => around.push(at),
            }
        }
        crossings.sort_unstable();
        for (later, earlier) in crossings {
            let ((field, ports), (first, other)) = (&self.vips[later], &self.vips[earlier]);
            let vip = |ports: &PortRange| Vip {
                address: self.address,
                ports: *ports,
            };
            field.refuse::<()>(format!(
                "`{}` and `{}`, which is {}, share ports {}-{}, and neither lies within the other; \
                 give each ports of its own, or let one hold all of the other's",
                vip(ports),
                vip(other),
                first.path,
                ports.first.max(other.first),
                ports.last.min(other.last),
            ));
        }
    }

    /// A backend's reply that comes after its flow is forgotten would be taken for a client's packet.
    fn clear_of(&self, snat: &Snat) {
        if !snat.addresses.contains(&self.address) {
            return;
        }
        for (field, ports) in &self.vips {
            if ports.single().is_none() && ports.meets(snat.ports) {
                let (address, ports) = (self.address, *ports);
                field.refuse::<()>(format!(
                    "`{}` shares ports with `snat`, whose addresses have {address} and whose ports \
                     are {}-{}: late replies of backends would be taken for clients' packets; use \
                     another vip or source address, or ports clear of each other",
                    Vip { address, ports },
                    snat.ports.first,
                    snat.ports.last,
                ));
            }
        }
    }

    fn reach(&self) -> Reach<'_> {
        let mut vips: Vec<(PortRange, &Path)> = (self.vips.iter())
            .map(|(field, ports)| (*ports, &field.path))
            .collect();
        vips.sort_by_key(|(ports, _)| ports.first);
        let mut farthest: Vec<(u16, &Path)> = Vec::with_capacity(vips.len());
        for (ports, path) in &vips {
            farthest.push(match farthest.last() {
                Some((last, path)) if *last > ports.last => (*last, path),
                _ => (ports.last, path),
            });
        }
        Reach {
            firsts: vips.iter().map(|(ports, _)| ports.first).collect(),
            farthest,
        }
    }
}

/// Vips of one place by their first ports, to be asked about ports without a look at each.
struct Reach<'p> {
    firsts: Vec<u16>,
    /// The highest port of each and those before it, and whose it is.
    farthest: Vec<(u16, &'p Path)>,
}

impl Reach<'_> {
    /// A vip that has some of these ports.
    fn meeting(&self, ports: PortRange) -> Option<&Path> {
        let begun = self.firsts.partition_point(|first| *first <= ports.last);
        let (last, vip) = self.farthest[..begun].last()?;
        (*last >= ports.first).then_some(*vip)
    }
}
