//! A frame in one line, for messages of failed tests. Takes any bytes.

use std::fmt::Write as _;

use super::{
    ETHERNET_LEN, Mac, flag,
    oracle::{self, Segment},
};

/// What a frame holds, in the manner of tcpdump, with everything the oracle has against it.
#[must_use]
pub fn describe(frame: &[u8]) -> String {
    let mut line = match oracle::read(frame) {
        Ok((segment, defects)) => {
            let mut line = segment_line(&segment);
            for defect in defects {
                write!(line, " !! {defect}").expect("a string takes anything");
            }
            line
        }
        Err(defect) => {
            let mut line = String::new();
            if let Some(ethernet) = frame.get(..ETHERNET_LEN) {
                let (destination, source) = (&ethernet[..6], &ethernet[6..12]);
                write!(line, "{} > {} ", mac_text(source), mac_text(destination))
                    .expect("a string takes anything");
            }
            line + &defect.to_string()
        }
    };
    write!(line, " ({} bytes)", frame.len()).expect("a string takes anything");
    line
}

fn segment_line(segment: &Segment) -> String {
    let Segment {
        source_mac,
        destination_mac,
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
    let (source_mac, destination_mac) = (mac_text(source_mac), mac_text(destination_mac));
    let flags = flags_text(*flags);
    let mut line = format!(
        "{source_mac} > {destination_mac} {source} > {destination} ttl {ttl} [{flags}] \
         seq {seq} ack {ack} win {window}"
    );
    for (name, len) in [
        ("ip extras", ip_extra.len()),
        ("options", options.len()),
        ("payload", payload.len()),
        ("padding", *padding),
    ] {
        if len > 0 {
            write!(line, " {name} {len}").expect("a string takes anything");
        }
    }
    line
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
