//! What a service's entry says of affinity.

use lb_common::service::{Service, flag};

use crate::config::Service as ServiceConfig;

/// An entry that holds nothing else.
pub(super) fn of(service: &ServiceConfig) -> Service {
    let Some(affinity) = &service.affinity else {
        return Service::default();
    };
    let ms = affinity.timeout.as_millis();
    Service {
        flags: flag::AFFINITY,
        affinity_ms: u32::try_from(ms).expect("it is limited to 7 days"),
        affinity_bits4: affinity.prefix4,
        affinity_bits6: affinity.prefix6,
        ..Service::default()
    }
}
