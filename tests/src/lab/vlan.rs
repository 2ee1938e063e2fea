//! Hosts whose TCP is in VLANs. The kernel may lack VLAN devices, so two eBPF programs put the tags on
//! and take them off; in between they are in the frames, on the wire.

use aya::{
    Ebpf, EbpfLoader,
    maps::PerCpuArray,
    programs::{SchedClassifier, TcAttachType, Xdp, tc::qdisc_add_clsact, xdp::XdpMode},
};

use super::{far_end::OBJECT, host::Host};
use crate::packet::Tag;

const INTERFACE: &str = "eth0";

impl Host {
    /// Puts all TCP of the host into VLANs until the handle is dropped: one tag or two, the outer one
    /// first. All else stays untagged, among it the search for neighbours.
    #[must_use]
    pub fn in_vlans(&self, tags: &[Tag]) -> Vlans {
        // Else a tag would travel beside the frame, not in it.
        for feature in ["tx-vlan-hw-insert", "tx-vlan-stag-hw-insert"] {
            self.must_run(&["ethtool", "-K", INTERFACE, feature, "off"]);
        }
        // Nobody allows for a second tag in the length of a frame.
        for family in ["-4", "-6"] {
            let route = self.must_run(&["ip", family, "route", "show", "default"]);
            let before = ["ip", family, "route", "replace"];
            let words = route.split_whitespace().chain(["mtu", "1492"]);
            let words: Vec<&str> = before.into_iter().chain(words).collect();
            self.must_run(&words);
        }
        self.inside(|| Vlans::attach(tags))
    }
}

/// The VLANs of a host.
pub struct Vlans {
    ebpf: Ebpf,
}

impl Vlans {
    fn attach(tags: &[Tag]) -> Self {
        // As they lie in a frame.
        let word = |at: usize| {
            let (kind, number) = tags.get(at).copied().unwrap_or_default();
            let [[a, b], [c, d]] = [kind, number].map(u16::to_be_bytes);
            u32::from_ne_bytes([a, b, c, d])
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("OUTER_TAG", &word(0), true)
            .override_global("INNER_TAG", &word(1), true)
            .load(OBJECT)
            .unwrap_or_else(|error| panic!("cannot create the maps: {error:?}"));
        let untag: &mut Xdp = (ebpf.program_mut("untag"))
            .and_then(|program| program.try_into().ok())
            .expect("the object holds this XDP program");
        untag
            .load()
            .and_then(|()| untag.attach(INTERFACE, XdpMode::Driver).map(drop))
            .unwrap_or_else(|error| panic!("cannot load and attach `untag`: {error:?}"));
        let tag: &mut SchedClassifier = (ebpf.program_mut("tag"))
            .and_then(|program| program.try_into().ok())
            .expect("the object holds this classifier");
        // Kernels before 6.6 need it; that it is there already is no harm.
        let _ = qdisc_add_clsact(INTERFACE);
        tag.load()
            .and_then(|()| tag.attach(INTERFACE, TcAttachType::Egress).map(drop))
            .unwrap_or_else(|error| panic!("cannot load and attach `tag`: {error:?}"));
        Self { ebpf }
    }

    /// TCP segments that came with these tags so far, and those that came otherwise and were dropped.
    #[must_use]
    pub fn came(&self) -> (u64, u64) {
        let map = self.ebpf.map("tagged").expect("the object holds the map");
        let map: PerCpuArray<_, u64> = map.try_into().expect("which is of this type");
        let sum = |slot| {
            let values = map.get(&slot, 0).expect("a map of our own can be read");
            values.iter().sum()
        };
        (sum(0), sum(1))
    }
}
