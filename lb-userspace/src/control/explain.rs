//! What would become of a packet: the program itself is run on it, by tables that are in force and with flow
//! tables of its own, so that the answer cannot disagree with it and nothing comes of the question.

mod frame;
mod question;
mod stage;

use lb_common::{PROTOCOL_UDP, RING_SLOTS, flow::state, hash, reason::Reason};
use tokio::sync::oneshot;

use self::{
    question::Question,
    stage::{Candidate, Stage},
};
use super::{
    CommandError, Control, Handle,
    handle::Command,
    packet::{self, Packet},
    status::{mac_text, state_name},
    trace::verdict,
    view::explain::{
        ExplainQuery, ExplainedBackend, ExplainedFlow, ExplainedHop, ExplainedRing,
        ExplainedService, ExplainedSize, Explanation,
    },
};
use crate::{
    config::Scheduler,
    datapath::{FlowRecord, Played, Rehearsal},
};

impl Handle {
    /// What would become of a packet.
    ///
    /// # Errors
    /// When the question makes no sense, or the program cannot be run.
    pub async fn explain(&self, query: ExplainQuery) -> Result<Explanation, CommandError> {
        self.ask(|reply| Command::Explain(Box::new(query), reply))
            .await
    }
}

impl Control {
    pub(super) async fn answer_explain(
        &self,
        query: &ExplainQuery,
        reply: oneshot::Sender<Result<Explanation, CommandError>>,
    ) {
        let stage = match self.question(query).await {
            Ok(question) => self.stage(question),
            Err(error) => Err(error),
        };
        match stage {
            Ok(stage) => {
                // Nobody may be waiting any more.
                tokio::task::spawn_blocking(move || drop(reply.send(explain(&stage))));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }
}

/// Runs the program and tells what it did.
fn explain(stage: &Stage) -> Result<Explanation, CommandError> {
    let question = &stage.question;
    let mut rehearsal = Rehearsal::load(&stage.run_dir, &stage.path_mtus)?;
    if let Some(service) = &stage.service {
        let backends: Vec<u32> = service.backends.iter().map(|one| one.idx).collect();
        rehearsal.know(service.idx, &service.entry, &backends, question.client.ip())?;
    }
    let existing = rehearsal.know_flow(question.client, question.vip, question.protocol)?;
    let first = frame::first(question, existing.is_some());
    let played = rehearsal.send(question.ifindex, &first)?;
    let reason = why_not(&played);
    let verdict_name = verdict(played.action, reason);
    let flow = rehearsal.flow()?;
    let backend = flow
        .as_ref()
        .and_then(|flow| stage.candidate(flow.backend_idx));
    // In modes without a flow of its own, the ring's word is the program's.
    let ring = stage.ring().filter(|_| existing.is_none());
    let is_on_its_way =
        matches!(verdict_name, "forward" | "pass") && reason != Some(Reason::NotOurs);
    let mtu = if is_on_its_way && flow.is_some() {
        Some(size(stage, &mut rehearsal)?)
    } else {
        None
    };
    let gue_ports = stage.gue_ports.as_slice();
    let left = (verdict_name != "drop").then_some(&played.frame);
    Ok(Explanation {
        client: question.client,
        vip: question.vip,
        protocol: question.protocol_name().to_owned(),
        interface: question.interface.clone(),
        packet: packet_name(question, existing.is_some()).to_owned(),
        service: stage.service.as_ref().map(|service| ExplainedService {
            name: service.name.clone(),
            vip: service.vip.clone(),
            mode: service.mode.to_owned(),
            scheduler: service.scheduler.name().to_owned(),
        }),
        flow: existing.as_ref().map(|flow| ExplainedFlow {
            state: state_name(flow).to_owned(),
            confirmed: flow.confirmed,
        }),
        why: why(stage, existing.as_ref(), ring.as_ref(), backend, reason),
        ring,
        backend: backend.map(|backend| ExplainedBackend {
            name: backend.name.clone(),
            address: backend.address.clone(),
            state: backend.state.to_owned(),
            reason: backend.reason.clone(),
        }),
        verdict: verdict_name.to_owned(),
        reason: reason.map(|reason| reason.name().to_owned()),
        meaning: reason.map(|reason| reason.meaning().trim().to_owned()),
        arrived: Packet::in_frame(&first, gue_ports),
        left: left.and_then(|frame| Packet::in_frame(frame, gue_ports)),
        next_hop: (verdict_name == "forward")
            .then(|| hop(stage, &played, backend))
            .flatten(),
        mtu,
    })
}

fn packet_name(question: &Question, exists: bool) -> &'static str {
    match (question.protocol, exists) {
        (PROTOCOL_UDP, _) => "datagram",
        (_, true) => "segment",
        (_, false) => "syn",
    }
}

/// The reason that ended the packet; events on the way are none.
fn why_not(played: &Played) -> Option<Reason> {
    let ends = |reason: &&Reason| reason.kind() != lb_common::reason::Kind::Event;
    played.reasons.iter().find(ends).copied()
}

/// A large packet of the flow that is there now.
fn size(stage: &Stage, rehearsal: &mut Rehearsal) -> Result<ExplainedSize, CommandError> {
    let frame = frame::large(&stage.question);
    let played = rehearsal.send(stage.question.ifindex, &frame)?;
    let reason = why_not(&played);
    Ok(ExplainedSize {
        size: stage.question.size,
        verdict: verdict(played.action, reason).to_owned(),
        reason: reason.map(|reason| reason.name().to_owned()),
        carries: (reason == Some(Reason::PacketTooBig))
            .then(|| frame::told_mtu(&played.frame))
            .flatten(),
    })
}

/// Where a forwarded frame goes: the MAC addresses are in it.
fn hop(stage: &Stage, played: &Played, backend: Option<&Candidate>) -> Option<ExplainedHop> {
    let (to, _) = packet::macs(&played.frame)?;
    let interface = backend.map_or(0, |backend| backend.ifindex);
    Some(ExplainedHop {
        interface: stage.interface(interface),
        mac: mac_text(to),
    })
}

/// Why the packet went where it went.
fn why(
    stage: &Stage,
    existing: Option<&FlowRecord>,
    ring: Option<&ExplainedRing>,
    backend: Option<&Candidate>,
    reason: Option<Reason>,
) -> String {
    let Some(service) = &stage.service else {
        return stage.no_vip();
    };
    if let (Some(flow), Some(backend)) = (existing, backend) {
        return match reason {
            Some(reason @ (Reason::BackendDown | Reason::NoFlow)) => {
                reason.meaning().trim().trim_end_matches('.').to_owned()
            }
            _ if flow.state == state::HALF_OPEN => {
                format!(
                    "it belongs to a flow that is being opened, to {}",
                    backend.name
                )
            }
            _ => format!("it belongs to a flow that {} has", backend.name),
        };
    }
    let Some(backend) = backend else {
        return reason.map_or_else(
            || "the program opened no flow for it".to_owned(),
            |reason| reason.meaning().trim().trim_end_matches('.').to_owned(),
        );
    };
    let slot_owner = ring.and_then(|ring| ring.backend.as_deref());
    let by_ring = |what: &str| match slot_owner {
        Some(owner) if owner == backend.name => format!("{what} is on its slot of the ring"),
        Some(owner) => {
            let passed = service.backends.iter().find(|one| one.name == owner);
            let state = passed.map_or("gone", |one| one.state);
            let full = passed.is_some_and(|one| one.is_full);
            match (state, full) {
                ("up", true) => format!(
                    "{owner}, whose slot it is, has as many flows as max_flows allows: the next on the ring"
                ),
                ("up", false) if service.has_affinity => {
                    "the client's last flow went there (affinity)".to_owned()
                }
                (state, _) => {
                    format!("{owner}, whose slot it is, is {state}: the next on the ring")
                }
            }
        }
        None => "it is the one that the ring has".to_owned(),
    };
    match service.scheduler {
        Scheduler::Maglev if service.has_affinity => by_ring("the client's address"),
        Scheduler::Maglev => by_ring("the flow's 5-tuple"),
        Scheduler::RoundRobin => "its turn comes next (round_robin)".to_owned(),
        Scheduler::Random => "by chance; another flow may go elsewhere (random)".to_owned(),
        Scheduler::LeastConn => format!(
            "of two by chance, it has fewer flows for its weight: {}; another flow may go elsewhere \
             (least_conn)",
            backend.live
        ),
    }
}

impl Stage {
    /// Where the ring is asked, what it says.
    fn ring(&self) -> Option<ExplainedRing> {
        let service = self.service.as_ref()?;
        if service.scheduler != Scheduler::Maglev {
            return None;
        }
        let key_hash = self.hash();
        let slot = hash::slot(key_hash);
        let owner = service.ring.get(slot as usize).copied();
        Some(ExplainedRing {
            hash: format!("{key_hash:016x}"),
            slot,
            slots: RING_SLOTS,
            backend: owner
                .and_then(|idx| self.candidate(idx))
                .map(|backend| backend.name.clone()),
        })
    }
}
