//! A decision in one line.

use crate::control::view::trace::{Decision, Packet};

/// Time, backend, verdict, the packet as it came, and as it went or why not.
pub(super) fn line(decision: &Decision) -> String {
    // RFC 3339's date and zone are left out.
    let time = decision.time.get(11..26).unwrap_or(&decision.time);
    let arrived = decision.arrived.as_ref().map_or_else(String::new, text);
    let mut line = format!(
        "{time}  {:<12} {:<7}  {} {arrived} {} B",
        decision.backend.as_deref().unwrap_or("-"),
        decision.verdict,
        decision.interface,
        decision.arrived_length,
    );
    match (&decision.reason, &decision.meaning) {
        (Some(reason), Some(meaning)) => {
            line.push_str(&format!("  {reason}: {}", meaning.trim_end_matches('.')));
        }
        _ => {
            if let Some(left) = &decision.left {
                line.push_str(&format!("  as {}", text(left)));
            }
        }
    }
    line
}

/// `198.51.100.7:40000 > 203.0.113.10:80 tcp S`, and what is in a tunnel behind it.
fn text(packet: &Packet) -> String {
    let mut text = format!(
        "{} > {} {}",
        packet.from_text(),
        packet.to_text(),
        packet.protocol
    );
    if !packet.flags.is_empty() {
        text.push_str(&format!(" {}", packet.flags));
    }
    if let Some(inner) = &packet.inner {
        text.push_str(&format!(" [{}]", self::text(inner)));
    }
    text
}
