//! What the options of a service are in its entry.

use std::time::Duration;

use lb_common::{
    PROTOCOL_TCP, PROTOCOL_UDP,
    service::{Timeouts, flag, scheduler},
};

use crate::config::{Protocol, Scheduler, Service as ServiceConfig};

pub(super) fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => PROTOCOL_TCP,
        Protocol::Udp => PROTOCOL_UDP,
    }
}

pub(super) fn scheduler(scheduler: Scheduler) -> u8 {
    match scheduler {
        Scheduler::Maglev => scheduler::MAGLEV,
        Scheduler::RoundRobin => scheduler::ROUND_ROBIN,
        Scheduler::Random => scheduler::RANDOM,
        Scheduler::LeastConn => scheduler::LEAST_CONN,
    }
}

/// The flag that has the flows of the service's backends counted, where its scheduler or a limit asks
/// for it.
pub(super) fn counted(service: &ServiceConfig) -> u8 {
    let limited = (service.backends.iter()).any(|backend| backend.max_flows.is_some());
    if service.scheduler == Scheduler::LeastConn || limited {
        flag::COUNTED
    } else {
        0
    }
}

pub(super) fn timeouts(service: &ServiceConfig) -> Timeouts {
    let ms = |timeout: Duration| {
        u32::try_from(timeout.as_millis()).expect("timeouts are limited to 7 days")
    };
    let of = &service.timeouts;
    let (half_open, established) = match service.protocol {
        Protocol::Tcp => (of.half_open, of.established),
        Protocol::Udp => (of.udp, of.udp),
    };
    Timeouts {
        half_open_ms: ms(half_open),
        established_ms: ms(established),
        fin_ms: ms(of.fin),
        reset_ms: ms(of.reset),
    }
}
