//! What the balancer remembers of the ways to the ends of tunnels.

use aya::maps::HashMap;
use lb_common::{V6, path::Path};

use super::Rig;

/// The map's name: it is not pinned.
pub(super) const PATH_MTUS: &str = "path_mtus";

impl Rig {
    /// Makes it all so many seconds older.
    ///
    /// # Panics
    /// When the kernel refuses to read or write it.
    pub fn age_paths(&mut self, seconds: u64) {
        let map = self.loaded.ebpf.map_mut(PATH_MTUS).expect("paths exist");
        let mut paths = HashMap::<_, V6, Path>::try_from(map).expect("they are a hash by address");
        let all: Vec<_> = paths.iter().map(|path| path.expect("it is read")).collect();
        for (end, mut path) in all {
            path.until_ns = path.until_ns.saturating_sub(seconds * 1_000_000_000);
            paths.insert(end, path, 0).expect("it is there already");
        }
    }
}
