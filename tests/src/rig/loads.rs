//! The live flows of backends: reading and setting their counts, and the pass of `sweep` that puts them
//! right, step by step.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aya::maps::Array;
use lb_common::{
    load::{Load, Turn},
    names,
    table::{SweepRequest, task},
};

use super::Rig;

impl Rig {
    /// How many live flows are counted for a backend.
    ///
    /// # Panics
    /// When there is no such backend.
    #[must_use]
    pub fn live(&self, backend_idx: u32) -> u32 {
        let map = self
            .loaded
            .ebpf
            .map(names::BACKEND_LOADS)
            .expect("the map exists");
        Array::<_, Load>::try_from(map)
            .expect("it is an array")
            .get(&backend_idx, 0)
            .expect("it is within bounds")
            .live
    }

    /// Sets the count, as if that many had come.
    pub fn set_live(&mut self, backend_idx: u32, live: u32) {
        let mut loads: Array<_, Load> = self.array(names::BACKEND_LOADS);
        let load = Load {
            live,
            ..loads.get(&backend_idx, 0).expect("it is within bounds")
        };
        loads.set(backend_idx, load, 0).expect("loads are taken");
    }

    /// Sets which slot of a service's ring has its turn next.
    pub fn set_turn(&mut self, service_idx: u32, slot: u32) {
        let mut turns: Array<_, Turn> = self.array(names::TURNS);
        let turn = Turn {
            slot,
            ..Turn::default()
        };
        turns.set(service_idx, turn, 0).expect("turns are taken");
    }

    /// Begins a pass that meets live flows. Returns how many backends have theirs counted.
    pub fn begin_meeting(&mut self) -> u32 {
        self.sweep_pass += 1;
        self.load_task(task::BEGIN)
    }

    /// Meets the flows of both families.
    pub fn meet_flows(&mut self) {
        let families: [(u32, IpAddr); 2] = [
            (4, Ipv4Addr::LOCALHOST.into()),
            (6, Ipv6Addr::LOCALHOST.into()),
        ];
        for (family, address) in families {
            self.sweep_request(&SweepRequest {
                family,
                first_bucket: 0,
                buckets: self.buckets(address),
                task: task::SWEEP_AND_MEET,
                pass_ns: self.sweep_pass,
            });
        }
    }

    /// Ends the pass: the counts are put right.
    pub fn end_meeting(&mut self) -> u32 {
        self.load_task(task::END)
    }

    /// Has the next step belong to another pass.
    pub fn skip_pass(&mut self) {
        self.sweep_pass += 1;
    }

    /// A whole pass.
    pub fn sweep_loads(&mut self) {
        self.begin_meeting();
        self.meet_flows();
        self.end_meeting();
    }

    fn load_task(&mut self, task: u32) -> u32 {
        let request = SweepRequest {
            task,
            pass_ns: self.sweep_pass,
            ..SweepRequest::default()
        };
        self.sweep_request(&request).flows
    }
}
