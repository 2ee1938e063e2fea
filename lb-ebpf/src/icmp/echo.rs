//! Answers to echo requests for addresses of vips (RFC 792; RFC 4443, section 4.2), within a budget.
//!
//! The reply's checksum follows from the request's: one that is wrong stays wrong, and the payload need
//! not be looked at. An IP header is written anew, so that the request's must be right.

use aya_ebpf::{helpers::bpf_xdp_adjust_head, programs::XdpContext};
use lb_common::{Address as _, Budgeted, reason::Reason};

use super::{Header, Icmp};
use crate::{
    budget, forward, maps,
    packet::{Ethernet, IpHeader as _, copy_mac, view},
    rewrite::Difference,
    select, stats,
};

/// Turns an echo request for an address of a vip into its reply, which has neither IPv4 options nor IPv6
/// extension headers.
#[inline(never)]
pub fn answer<F: Icmp>(ctx: &XdpContext) -> Result<u32, Reason> {
    let message = F::message(ctx)?;
    let settings = maps::SETTINGS.get(0).ok_or(Reason::TableError)?;
    let ip: &F::Header = view(ctx, size_of::<Ethernet>())?;
    let (client, vip) = (ip.source(), ip.destination());
    if !select::is_vip_address::<F>(settings, &vip) {
        return Err(Reason::NotOurs);
    }
    if message.fragment {
        return Err(Reason::IcmpFragment);
    }
    let ethernet: &Ethernet = view(ctx, 0)?;
    let for_many = ethernet.destination[0] & 1 != 0;
    if for_many || !F::is_host(&client) || client.same(vip) || !ip.is_right(ctx) {
        return Err(Reason::IcmpMalformed);
    }
    if !budget::spend(Budgeted::Echo) {
        return Err(Reason::IcmpLimited);
    }
    let ip: &F::Header = view(ctx, size_of::<Ethernet>())?;
    let kept = F::kept(ip);
    let header: &mut Header = view(ctx, message.at)?;
    header.kind = F::ECHO_REPLY;
    header.checksum_be = checksum::<F>(header);

    let mut macs = [[0; 6]; 2];
    copy_mac(&mut macs[0], &ethernet.destination);
    copy_mac(&mut macs[1], &ethernet.source);
    let length = (message.end - message.at) as u32;
    let excess = message.at - size_of::<Ethernet>() - size_of::<F::Header>();
    // SAFETY: the context is the one this program was started with; no view from before is used
    // afterwards.
    if excess > 0 && unsafe { bpf_xdp_adjust_head(ctx.ctx, excess as i32) } != 0 {
        return Err(Reason::TableError);
    }
    let ethernet: &mut Ethernet = view(ctx, 0)?;
    copy_mac(&mut ethernet.destination, &macs[1]);
    copy_mac(&mut ethernet.source, &macs[0]);
    ethernet.ethertype_be = F::ETHERTYPE_BE;
    let ip: &mut F::Header = view(ctx, size_of::<Ethernet>())?;
    F::write_reply(ip, kept, &vip, &client, length);
    stats::count(Reason::IcmpEcho);
    Ok(forward::back(ctx))
}

/// The checksum after the type has changed.
#[inline(always)]
fn checksum<F: Icmp>(header: &Header) -> u16 {
    let first_be = |kind| u16::from_be_bytes([kind, 0]).to_be();
    let checksum_be = Difference::NONE
        .half(first_be(F::ECHO_REQUEST), first_be(F::ECHO_REPLY))
        .apply(header.checksum_be);
    // A difference yields ones' complement's other zero where nothing but zeros is left to be summed:
    // over IPv4, a reply may be made of them. If only the payload is not, a receiver takes either.
    if F::VERSION == 4 && checksum_be == 0 && header.rest_be == 0 {
        return u16::MAX;
    }
    checksum_be
}
