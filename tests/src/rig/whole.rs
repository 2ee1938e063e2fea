//! Filling the maps with tables that the daemon's own code computed.

use aya::maps::HashMap;
use lb_common::{
    NO_BACKEND, V4, V6,
    backend::{Backend, Tunnel},
    names,
    service::{Service, VipKey},
};
use lb_userspace::tables::Tables;

use super::{FRAME_MAX, Rig, Verdict};

impl Rig {
    /// Takes these tables as a whole. The rig's maps must be as they were loaded.
    ///
    /// # Panics
    /// When the kernel refuses an entry.
    pub fn take(&mut self, tables: &Tables) {
        self.change_settings(|settings| *settings = *tables.settings);
        for (idx, words) in (0..).zip(&tables.snat) {
            let mut snat = self.array::<V6>(names::SNAT);
            snat.set(idx, *words, 0).expect("snat takes its entries");
        }
        for (idx, tunnel) in &tables.tunnels {
            let mut tunnels = self.array::<Tunnel>(names::TUNNELS);
            tunnels.set(*idx, *tunnel, 0).expect("a tunnel is taken");
        }
        for (idx, backend) in &tables.backends {
            let mut backends = self.array::<Backend>(names::BACKENDS);
            backends.set(*idx, *backend, 0).expect("a backend is taken");
        }
        for (idx, ring) in &tables.rings {
            self.rings(*idx, |half, slot| match half == ring.half {
                true => ring.slots[slot as usize],
                false => NO_BACKEND,
            });
        }
        for (idx, service) in &tables.services {
            let mut services = self.array::<Service>(names::SERVICES);
            services.set(*idx, *service, 0).expect("a service is taken");
        }
        let map = self.loaded.ebpf.map_mut(names::VIPS4).expect("vips exist");
        let mut vips4 = HashMap::<_, VipKey<V4>, u32>::try_from(map).expect("a hash of indices");
        for (vip, service) in &tables.vips4 {
            vips4.insert(vip, service, 0).expect("vips have room");
        }
        let map = self.loaded.ebpf.map_mut(names::VIPS6).expect("vips exist");
        let mut vips6 = HashMap::<_, VipKey<V6>, u32>::try_from(map).expect("a hash of indices");
        for (vip, service) in &tables.vips6 {
            vips6.insert(vip, service, 0).expect("vips have room");
        }
    }

    /// Sends any bytes and looks at no counter: what leaves, if something does.
    ///
    /// # Panics
    /// When the kernel does not take the frame.
    #[must_use]
    pub fn forwarded(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![0; FRAME_MAX];
        let (verdict, len) = self.run(frame, &mut out);
        out.truncate(len);
        (verdict == Verdict::Tx).then_some(out)
    }
}
