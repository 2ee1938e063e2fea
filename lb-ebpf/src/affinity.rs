//! New flows of a client go where its last one went, in services that ask for it.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    Address as _,
    affinity::{Client, Remembered},
    backend::state,
    hash,
    reason::Reason,
    service::{Service, flag},
};

use crate::{
    clock::now_ns,
    family::Family,
    maps,
    packet::{Ethernet, IpHeader as _, view},
    select::{self, Attempt, Choice, NONE, attempt},
};

/// The backend of a new flow. What is remembered of a client holds for a segment that opens one
/// (`opens`): any other may be of a flow that another balancer opened, and goes where all of them would
/// send it.
#[inline(always)]
pub fn backend<F: Family>(
    ctx: &XdpContext,
    service_idx: u32,
    service: &'static Service,
    key_hash: u64,
    opens: bool,
) -> Result<Choice, Reason> {
    let chosen = if service.flags & flag::AFFINITY == 0 {
        select::index(service_idx, service, key_hash, opens)
    } else {
        F::backend_of_client(ctx, service_idx, opens)
    };
    Choice::of(service, chosen, key_hash)
}

/// The index of the backend for the client that a frame comes from; or what else [`select::index`] returns.
///
/// It reads the address anew, and callers put it into functions that return nothing but this number: what
/// follows is then one path for the verifier, wherever the choice came from.
#[inline(always)]
pub fn backend_of_client<F: Family>(ctx: &XdpContext, service_idx: u32, opens: bool) -> u64 {
    let Some(service) = maps::SERVICES.get(service_idx) else {
        return NONE;
    };
    let Ok(ip) = view::<F::Header>(ctx, size_of::<Ethernet>()) else {
        return NONE;
    };
    let client = Client {
        service_idx,
        address: ip.source().masked(F::client_bits(service)),
    };
    let now_ns = now_ns();
    if opens
        && let Some(backend_idx) = recall::<F>(&client, service, now_ns)
        && attempt(service, backend_idx) == Attempt::Done
    {
        return backend_idx as u64;
    }
    let chosen = select::index(service_idx, service, hash::client(client.address), opens);
    if opens && let Some(backend) = maps::BACKENDS.get(chosen as u32) {
        let remembered = Remembered {
            identity: backend.identity,
            last_ns: now_ns,
            backend_idx: chosen as u32,
            pad: 0,
        };
        // A client that finds no room is not remembered: its next flow is chosen by the same hash.
        let _ = F::clients().insert(&client, &remembered, 0);
    }
    chosen
}

/// The backend that the client was given last, if that is not too long ago and it takes new flows.
#[inline(always)]
fn recall<F: Family>(client: &Client<F::Address>, service: &Service, now_ns: u64) -> Option<u32> {
    // SAFETY: an LRU hash may give an entry to another client at any time. The backend's identity
    // proves which service it is of, whoever the entry is of by then.
    let remembered = unsafe { &mut *F::clients().get_ptr_mut(client)? };
    // Another CPU may have renewed it since this one read its clock.
    let age_ns = now_ns.saturating_sub(remembered.last_ns);
    if age_ns >= service.affinity_ms as u64 * 1_000_000 {
        return None;
    }
    let backend_idx = remembered.backend_idx;
    let backend = maps::BACKENDS.get(backend_idx)?;
    if backend.identity != remembered.identity
        || backend.service_idx as u32 != client.service_idx
        || backend.state != state::UP
        || backend.weight == 0
    {
        return None;
    }
    remembered.last_ns = now_ns;
    Some(backend_idx)
}
