//! All that can be said of the daemon at one time: the loop says what it knows at once, and counts come from the
//! kernel's tables by a thread of their own, so that the loop goes on.

use std::sync::Arc;

use lb_common::{MAX_BACKENDS, MAX_SERVICES, MAX_SNAT, MAX_VIPS, reason::Kind};
use tokio::sync::oneshot;

use super::{
    Command, CommandError, Control, Handle,
    status::{Places, is_active, is_opening},
    view::{
        ReasonCount, Status,
        observed::{Fill, FlowFill, Observed, Reloads},
    },
};
use crate::{
    config::Probe,
    datapath::{Counters, DatapathError, FlowTables},
};

impl Handle {
    /// # Errors
    /// When counters cannot be read, or the daemon is stopping.
    pub async fn status(&self) -> Result<Status, CommandError> {
        Ok(self.observe().await?.status)
    }

    /// # Errors
    /// When counters cannot be read, or the daemon is stopping.
    pub async fn observe(&self) -> Result<Box<Observed>, CommandError> {
        self.ask(Command::Observe).await
    }
}

impl Control {
    pub(super) fn answer_observe(
        &self,
        reply: oneshot::Sender<Result<Box<Observed>, CommandError>>,
    ) {
        let (status, places) = self.status();
        let mut observed = Box::new(Observed {
            status,
            changes: self.changes.all(),
            reloads: Reloads {
                succeeded: self.changes.reloads_succeeded,
                failed: self.changes.reloads_failed,
                last_success: self.config_loaded,
            },
            tables: self.fills(),
            flow_tables: Vec::new(),
            probes: (self.config.services.iter())
                .filter(|service| service.health_check.probe != Probe::None)
                .filter_map(|service| {
                    let tally = self.tallies.get(&service.name)?;
                    Some((service.name.clone(), tally.clone()))
                })
                .collect(),
        });
        let (counters, flows) = (Arc::clone(&self.counters), Arc::clone(&self.flow_tables));
        tokio::task::spawn_blocking(move || {
            let counted = count(&mut observed, &places, &counters, &flows);
            // Nobody may be waiting any more.
            let _ = reply.send(counted.map(|()| observed).map_err(CommandError::from));
        });
    }

    fn fills(&self) -> Vec<Fill> {
        let applied = &self.applied;
        let vips = (self.config.services.iter()).map(|service| service.listen.len());
        [
            ("services", applied.services.len(), MAX_SERVICES),
            ("backends", applied.backends.len(), MAX_BACKENDS),
            ("vips", vips.sum(), MAX_VIPS),
            ("snat", applied.snat.len(), MAX_SNAT),
        ]
        .map(|(table, entries, max)| Fill {
            table,
            entries: entries as u64,
            max: max.into(),
        })
        .into()
    }
}

/// Puts in what is counted.
fn count(
    observed: &mut Observed,
    places: &Places,
    counters: &Counters,
    flows: &FlowTables,
) -> Result<(), DatapathError> {
    let status = &mut observed.status;
    for (idx, (service, backend)) in places {
        let stats = counters.backend(*idx)?;
        let backend = &mut status.services[*service].backends[*backend];
        backend.flows_total = stats.flows;
        backend.packets_total = stats.packets_in + stats.packets_out;
        backend.bytes_total = stats.bytes_in + stats.bytes_out;
    }
    status.reasons = (counters.reasons()?.into_iter())
        .map(|(reason, count)| ReasonCount {
            reason: reason.name().to_owned(),
            kind: kind_name(reason.kind()).to_owned(),
            count,
        })
        .collect();
    // By family, half-open and confirmed ones.
    let mut found = [[0_u64; 2]; 2];
    flows.for_each(|flow| {
        found[usize::from(flow.in_v6_table)][usize::from(flow.confirmed)] += 1;
        if let Some((service, backend)) = places.get(&flow.backend_idx) {
            let backend = &mut status.services[*service].backends[*backend];
            backend.active_flows += u64::from(is_active(flow));
            backend.opening_flows += u64::from(is_opening(flow));
        }
    })?;
    let totals = &mut status.flows;
    for (family, [half_open, confirmed]) in ["ipv4", "ipv6"].into_iter().zip(found) {
        totals.half_open += half_open;
        totals.confirmed += confirmed;
        for (table, flows, max) in [
            ("confirmed", confirmed, totals.confirmed_max),
            ("half_open", half_open, totals.half_open_max),
        ] {
            observed.flow_tables.push(FlowFill {
                family,
                table,
                flows,
                max,
            });
        }
    }
    Ok(())
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Pass => "pass",
        Kind::Drop => "drop",
        Kind::Answer => "answer",
        Kind::Event => "event",
    }
}
