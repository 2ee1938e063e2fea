//! What the kernel must be able to do, asked before anything is made. One that cannot would refuse
//! half-way, and aya would blame its own object for it ("error relocating function").

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{is_map_supported, is_program_supported},
};

use super::{DatapathError, refused};
use crate::datapath::Datapath;

/// The kinds of `pins::layout` and of a ring.
const MAP_TYPES: [MapType; 4] = [
    MapType::Array,
    MapType::Hash,
    MapType::PerCpuArray,
    MapType::ArrayOfMaps,
];

impl Datapath {
    /// This kernel takes maps and programs of the kinds that divvy is made of. Nothing is changed.
    ///
    /// # Errors
    /// Names what is missing, or what is not permitted.
    pub fn require_kernel() -> Result<(), DatapathError> {
        for kind in MAP_TYPES {
            let what = format!("eBPF maps of the type {kind:?}");
            match is_map_supported(kind) {
                Ok(true) => {}
                Ok(false) => return Err(DatapathError::lacks(what)),
                Err(error) => return Err(refused(what, &error)),
            }
        }
        let what = "eBPF programs of the type XDP".to_owned();
        match is_program_supported(ProgramType::Xdp) {
            Ok(true) => Ok(()),
            Ok(false) => Err(DatapathError::lacks(what)),
            Err(error) => Err(refused(what, &error)),
        }
    }
}
