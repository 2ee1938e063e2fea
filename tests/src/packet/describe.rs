//! A frame in one line, for messages of failed tests. Takes any bytes.

use std::fmt::Write as _;

use super::{
    ETHERNET_LEN, GUE_PORT, Mac, ethertype, flag,
    oracle::{self, Datagram, Defect, Message, Outer, Quote, Segment, Tunnel},
    protocol,
};

/// What a frame holds, in the manner of tcpdump, with everything the oracle has against it. What is
/// in a tunnel follows its outer headers; UDP to [`GUE_PORT`] is taken for one.
#[must_use]
pub fn describe(frame: &[u8]) -> String {
    let macs = match frame.get(..ETHERNET_LEN) {
        Some(header) => format!("{} > {} ", mac_text(&header[6..12]), mac_text(&header[..6])),
        None => String::new(),
    };
    let tags = tags_text(frame);
    format!("{macs}{tags}{} ({} bytes)", content(frame), frame.len())
}

fn tags_text(frame: &[u8]) -> String {
    let mut text = String::new();
    for tag in frame
        .get(12..)
        .into_iter()
        .flat_map(|rest| rest.chunks_exact(4))
    {
        let kind = u16::from_be_bytes([tag[0], tag[1]]);
        if ![ethertype::VLAN, ethertype::SERVICE_VLAN].contains(&kind) {
            break;
        }
        let number = u16::from_be_bytes([tag[2], tag[3]]);
        write!(text, "vlan {kind:#x} {number:#x} ").expect("a string takes anything");
    }
    text
}

/// All but the Ethernet addresses.
fn content(frame: &[u8]) -> String {
    match oracle::read(frame) {
        Ok((segment, defects)) => segment_text(&segment) + &defects_text(&defects),
        Err(Defect::NotTcp(protocol::IPV4 | protocol::IPV6)) => tunnel_text(frame),
        Err(Defect::NotTcp(protocol::UDP)) => match oracle::read_udp(frame) {
            Ok((datagram, _)) if datagram.destination.port() == GUE_PORT => tunnel_text(frame),
            Ok((datagram, defects)) => datagram_text(&datagram) + &defects_text(&defects),
            Err(defect) => defect.to_string(),
        },
        Err(Defect::NotTcp(protocol::ICMP | protocol::ICMPV6)) => match oracle::read_icmp(frame) {
            Ok((message, defects)) => message_text(&message) + &defects_text(&defects),
            Err(defect) => defect.to_string(),
        },
        Err(defect) => defect.to_string(),
    }
}

fn tunnel_text(frame: &[u8]) -> String {
    match oracle::read_outer(frame) {
        Ok((outer, inner, defects)) => {
            let (outer, defects) = (outer_text(&outer), defects_text(&defects));
            format!("{outer}{defects} | {}", content(&inner))
        }
        Err(defect) => defect.to_string(),
    }
}

fn segment_text(segment: &Segment) -> String {
    let Segment {
        source_mac: _,
        destination_mac: _,
        source,
        destination,
        ttl,
        ip_extra,
        seq,
        ack,
        flags,
        window,
        options,
        payload,
        padding,
    } = segment;
    let flags = flags_text(*flags);
    let sizes = sizes_text(&[
        ("ip extras", ip_extra.len()),
        ("options", options.len()),
        ("payload", payload.len()),
        ("padding", *padding),
    ]);
    format!("{source} > {destination} ttl {ttl} [{flags}] seq {seq} ack {ack} win {window}{sizes}")
}

fn datagram_text(datagram: &Datagram) -> String {
    let Datagram {
        source_mac: _,
        destination_mac: _,
        source,
        destination,
        ttl,
        tos,
        ip_extra,
        checksum,
        payload,
        padding,
    } = datagram;
    let tos = tos_text(*tos);
    let checksum = checksum_text(*checksum);
    let sizes = sizes_text(&[
        ("ip extras", ip_extra.len()),
        ("payload", payload.len()),
        ("padding", *padding),
    ]);
    format!("{source} > {destination} ttl {ttl}{tos} udp {checksum}{sizes}")
}

fn message_text(message: &Message) -> String {
    let Message {
        source_mac: _,
        destination_mac: _,
        source,
        destination,
        ttl,
        tos,
        identification: _,
        dont_fragment: _,
        ip_extra,
        kind,
        code,
        rest,
        payload,
        padding,
    } = message;
    let tos = tos_text(*tos);
    let quoted = match oracle::quote(message) {
        Ok((quote, defects)) => {
            let Quote {
                source,
                destination,
                protocol,
                ttl,
                ..
            } = quote;
            let defects = defects_text(&defects);
            format!(" of {source} > {destination} protocol {protocol} ttl {ttl}{defects}")
        }
        Err(_) => String::new(),
    };
    let sizes = sizes_text(&[
        ("ip extras", ip_extra.len()),
        ("payload", payload.len()),
        ("padding", *padding),
    ]);
    format!(
        "{source} > {destination} ttl {ttl}{tos} icmp {kind}/{code} rest {rest:#010x}{quoted}{sizes}"
    )
}

fn outer_text(outer: &Outer) -> String {
    let Outer {
        source_mac: _,
        destination_mac: _,
        source,
        destination,
        ttl,
        tos,
        flow_label,
        identification,
        dont_fragment,
        ip_extra,
        tunnel,
        padding,
    } = outer;
    let tos = tos_text(*tos);
    let of_family = if source.is_ipv6() {
        format!("flow {flow_label:#07x}")
    } else if *dont_fragment {
        format!("id {identification:#06x} df")
    } else {
        format!("id {identification:#06x}")
    };
    let sizes = sizes_text(&[("ip extras", ip_extra.len()), ("padding", *padding)]);
    let tunnel = match tunnel {
        Tunnel::IpInIp => "ip in ip".to_owned(),
        Tunnel::Gue {
            variant,
            source_port,
            destination_port,
            checksum,
        } => {
            let checksum = checksum_text(*checksum);
            format!("gue {variant:?} ports {source_port} > {destination_port} {checksum}")
        }
    };
    format!("{source} > {destination} ttl {ttl}{tos} {of_family} {tunnel}{sizes}")
}

fn defects_text(defects: &[Defect]) -> String {
    let mut text = String::new();
    for defect in defects {
        write!(text, " !! {defect}").expect("a string takes anything");
    }
    text
}

/// Those that are not zero.
fn sizes_text(sizes: &[(&str, usize)]) -> String {
    let mut text = String::new();
    for (name, len) in sizes.iter().filter(|(_, len)| *len > 0) {
        write!(text, " {name} {len}").expect("a string takes anything");
    }
    text
}

fn tos_text(tos: u8) -> String {
    match tos {
        0 => String::new(),
        tos => format!(" tos {tos:#04x}"),
    }
}

fn checksum_text(checksum: u16) -> String {
    match checksum {
        0 => "no checksum".to_owned(),
        checksum => format!("checksum {checksum:#06x}"),
    }
}

/// As tcpdump writes them: `S.` is SYN with ACK.
fn flags_text(flags: u8) -> String {
    let letters = [
        (flag::FIN, 'F'),
        (flag::SYN, 'S'),
        (flag::RST, 'R'),
        (flag::PSH, 'P'),
        (flag::URG, 'U'),
        (flag::ACK, '.'),
    ];
    let text: String = letters
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    if text.is_empty() {
        "none".to_owned()
    } else {
        text
    }
}

fn mac_text(mac: &[u8]) -> String {
    debug_assert_eq!(mac.len(), size_of::<Mac>());
    let parts: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}
