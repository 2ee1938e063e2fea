//! Backends as far ends of the forwarding modes that leave the client's packet whole: they hold the
//! vips, take tunnels' packets out, and answer the client without the balancer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv6Addr, SocketAddr},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap, PerCpuArray},
    programs::{TestRun as _, TestRunOptions, Xdp, xdp::XdpMode},
};

use super::{
    backend::Backend,
    plan::{VIP4, VIP6},
};
use crate::rig::Verdict;

pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/decap"));
const PROGRAM: &str = "decap";

/// The map `counts`: one slot for each tunnel, outer and inner version, in the order of [`Tunnel::kinds`],
/// then one for malformed packets.
const MALFORMED: u32 = 12;
/// Room for the longest frame that a test run takes.
const FRAME_MAX: usize = 4096;

/// How a packet travels inside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tunnel {
    /// IP in IP: protocols 4 and 41.
    Ipip,
    /// Generic UDP Encapsulation, variant 0: a header of four bytes behind UDP.
    Gue0,
    /// Generic UDP Encapsulation, variant 1: IP right behind UDP.
    Gue1,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ip {
    V4,
    V6,
}

/// Counts by tunnel, outer and inner version.
pub type Carried = BTreeMap<(Tunnel, Ip, Ip), u64>;

impl Tunnel {
    pub const ALL: [Self; 3] = [Self::Ipip, Self::Gue0, Self::Gue1];

    /// Each tunnel with each outer and inner version, in the order of the slots of `counts`.
    pub fn kinds() -> impl Iterator<Item = (Self, Ip, Ip)> {
        Self::ALL.into_iter().flat_map(|tunnel| {
            let of_outer = move |outer| Ip::BOTH.map(|inner| (tunnel, outer, inner));
            Ip::BOTH.into_iter().flat_map(of_outer)
        })
    }
}

impl Ip {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

impl Backend {
    /// Lets the host take packets for [`VIP4`] and [`VIP6`], where nginx then answers; it takes no
    /// neighbour's question for them. The loopback holds them: IPv6 answers only for addresses of
    /// the interface that is asked, and IPv4 does so when told. Reverse path filters are off
    /// everywhere in a lab, so that the balancer forwards answers that come from a vip.
    pub fn hold_vips(&self) {
        let host = self.host();
        // Answer for, and ask on behalf of, no address of another interface.
        host.set("ipv4/conf/all/arp_ignore", "1");
        host.set("ipv4/conf/all/arp_announce", "2");
        for vip in [format!("{VIP4}/32"), format!("{VIP6}/128")] {
            host.must_run(&["ip", "address", "replace", &vip, "dev", "lo", "nodad"]);
        }
    }

    /// Makes the host an end of tunnels until the handle is dropped. GUE is expected at this port.
    #[must_use]
    pub fn decapsulate(&self, gue_port: u16) -> Decap {
        let mut decap = Decap::load(gue_port);
        self.host().inside(|| decap.attach());
        decap
    }
}

/// The far end of tunnels: an XDP program that takes the outer headers off, drops what is
/// malformed, and lets everything else pass. UDP checksums are not looked at.
pub struct Decap {
    ebpf: Ebpf,
}

impl Decap {
    /// Loads the program without attaching it, for [`Self::run`].
    ///
    /// # Panics
    /// When the kernel refuses it; the message holds the verifier's log.
    #[must_use]
    pub fn load(gue_port: u16) -> Self {
        let mut ebpf = EbpfLoader::new()
            .override_global("GUE_PORT", &gue_port, true)
            .load(OBJECT)
            .unwrap_or_else(|error| panic!("cannot create the maps of {PROGRAM}: {error:?}"));
        program_mut(&mut ebpf)
            .load()
            .unwrap_or_else(|error| panic!("cannot load {PROGRAM}: {error:?}"));
        Self { ebpf }
    }

    /// To `eth0` of the namespace that this thread is in. The link goes with the program.
    fn attach(&mut self) {
        program_mut(&mut self.ebpf)
            .attach("eth0", XdpMode::Driver)
            .unwrap_or_else(|error| panic!("cannot attach {PROGRAM}: {error}"));
    }

    /// What the program makes of one frame.
    ///
    /// # Panics
    /// When the kernel does not take the frame.
    #[must_use]
    pub fn run(&self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let program: &Xdp = self
            .ebpf
            .program(PROGRAM)
            .expect("the object holds the program")
            .try_into()
            .expect("which is of type XDP");
        let mut out = vec![0; FRAME_MAX];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(frame),
                data_out: Some(&mut out),
                ..TestRunOptions::default()
            })
            .unwrap_or_else(|error| panic!("a frame of {} bytes: {error}", frame.len()));
        out.truncate(result.data_size_out as usize);
        (result.return_value.into(), out)
    }

    /// Packets that were taken out so far; what has not come at all is not listed.
    #[must_use]
    pub fn carried(&self) -> Carried {
        Tunnel::kinds()
            .zip(0..)
            .map(|(kind, slot)| (kind, self.count(slot)))
            .filter(|&(_, count)| count > 0)
            .collect()
    }

    /// Packets for a tunnel that were dropped so far.
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.count(MALFORMED)
    }

    /// Outer source addresses and ports that packets were taken out from, up to the 16,384 latest;
    /// the port is 0 for [`Tunnel::Ipip`].
    #[must_use]
    pub fn sources(&self) -> BTreeSet<SocketAddr> {
        let map = self.ebpf.map("sources").expect("the object holds the map");
        let map: HashMap<_, [u32; 5], u32> = map.try_into().expect("which is of these types");
        map.keys()
            .map(|key| {
                let [a, b, c, d, port] = key.expect("a map of our own can be read");
                let words = [a, b, c, d].map(u32::from_be);
                let bits = words
                    .iter()
                    .fold(0, |sum, &word| sum << 32 | u128::from(word));
                let port = u16::try_from(port).expect("the program widens a port");
                SocketAddr::new(Ipv6Addr::from(bits).to_canonical(), port)
            })
            .collect()
    }

    /// A slot of `counts`, summed over all CPUs.
    fn count(&self, slot: u32) -> u64 {
        let map = self.ebpf.map("counts").expect("the object holds the map");
        let map: PerCpuArray<_, u64> = map.try_into().expect("which is of this type");
        let values = map.get(&slot, 0).expect("a map of our own can be read");
        values.iter().sum()
    }
}

fn program_mut(ebpf: &mut Ebpf) -> &mut Xdp {
    ebpf.program_mut(PROGRAM)
        .expect("the object holds the program")
        .try_into()
        .expect("which is of type XDP")
}
