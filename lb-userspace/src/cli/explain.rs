//! `divvy explain CLIENT VIP`: what would become of a packet, and why.

use clap::{Args, ValueEnum};

use super::{Failure, Output, OutputArg, Places, print_json, print_text};
use crate::{
    api::client::Client,
    control::view::explain::{ExplainQuery, ExplainedSize, Explanation, Packet},
};

#[derive(Debug, Args)]
#[command(after_help = "\
The loaded program itself is run on the packet, by the tables in force and with flow tables of its own: nothing is sent, \
opened or counted. It takes about a second.")]
pub(super) struct Explain {
    /// Where the packet comes from: an address, with its port if that matters.
    client: String,
    /// Where it goes: address and port, or the name of a service.
    vip: String,
    /// By default the protocol that the vip has.
    #[arg(long, value_enum)]
    protocol: Option<ProtocolArg>,
    /// By which interface it comes; by default the one toward the client.
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Whether a packet of so many bytes would fit; by default as many as the interface carries.
    #[arg(long, value_name = "BYTES")]
    size: Option<u32>,
    #[command(flatten)]
    output: OutputArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolArg {
    Tcp,
    Udp,
}

impl Explain {
    pub(super) async fn execute(self, places: &Places) -> Result<(), Failure> {
        let query = ExplainQuery {
            client: self.client,
            vip: self.vip,
            protocol: self.protocol.map(|protocol| {
                match protocol {
                    ProtocolArg::Tcp => "tcp",
                    ProtocolArg::Udp => "udp",
                }
                .to_owned()
            }),
            interface: self.interface,
            size: self.size,
        };
        let view = Client::new(&places.run_dir).explain(&query).await?;
        match self.output.output {
            Output::Json => print_json(&view),
            Output::Table => print_text(&render(&view)),
        }
    }
}

fn render(view: &Explanation) -> String {
    let what = match view.packet.as_str() {
        "syn" => "a SYN",
        "segment" => "a segment of an open flow",
        _ => "a datagram",
    };
    let mut lines = vec![
        format!(
            "{} > {} {}, {what} that comes by {}",
            view.client, view.vip, view.protocol, view.interface
        ),
        String::new(),
    ];
    let mut add = |name: &str, text: String| lines.push(format!("  {name:<10}{text}"));
    add(
        "service",
        match &view.service {
            Some(service) => format!(
                "{}, by its vip {} (mode {}, scheduler {})",
                service.name, service.vip, service.mode, service.scheduler
            ),
            None => "none".to_owned(),
        },
    );
    if let Some(flow) = &view.flow {
        let confirmed = if flow.confirmed {
            "confirmed"
        } else {
            "not confirmed"
        };
        add("flow", format!("{}, {confirmed}", flow.state));
    }
    if let Some(ring) = &view.ring {
        let owner = ring.backend.as_deref().unwrap_or("nobody's");
        add(
            "ring",
            format!(
                "slot {} of {}: {owner} (hash {})",
                ring.slot, ring.slots, ring.hash
            ),
        );
    }
    if let Some(backend) = &view.backend {
        add(
            "backend",
            format!(
                "{} {}, {} ({})",
                backend.name, backend.address, backend.state, backend.reason
            ),
        );
    }
    let said_by_verdict =
        (view.meaning.as_deref()).is_some_and(|meaning| meaning.trim_end_matches('.') == view.why);
    if !said_by_verdict {
        add("why", view.why.clone());
    }
    for (name, text) in rewrites(view) {
        add(name, text);
    }
    if let Some(hop) = &view.next_hop {
        add("next hop", format!("{} by {}", hop.mac, hop.interface));
    }
    if let Some(mtu) = &view.mtu {
        add("size", size(mtu));
    }
    add(
        "verdict",
        match (&view.reason, &view.meaning) {
            (Some(reason), Some(meaning)) => {
                format!(
                    "{}, {reason}: {}",
                    view.verdict,
                    meaning.trim_end_matches('.')
                )
            }
            _ => view.verdict.clone(),
        },
    );
    lines.join("\n")
}

/// What differs between the packet as it comes and as it goes.
fn rewrites(view: &Explanation) -> Vec<(&'static str, String)> {
    let (Some(arrived), Some(left)) = (&view.arrived, &view.left) else {
        return Vec::new();
    };
    if view.verdict == "answer" {
        return vec![(
            "answer",
            format!("{} > {} {}", left.from_text(), left.to_text(), what(left)),
        )];
    }
    if left.inner.is_some() {
        let text = format!(
            "{} > {} {}",
            left.from_text(),
            left.to_text(),
            left.protocol
        );
        return vec![("inside", text)];
    }
    let mut all = Vec::new();
    if arrived.from_text() != left.from_text() {
        // Of flows that exist, the port is the flow's own.
        let or_next = if view.flow.is_none() {
            ", or its next free port"
        } else {
            ""
        };
        let text = format!(
            "{} becomes {}{or_next}",
            arrived.from_text(),
            left.from_text()
        );
        all.push(("source", text));
    }
    if arrived.to_text() != left.to_text() {
        let text = format!("{} becomes {}", arrived.to_text(), left.to_text());
        all.push(("to", text));
    }
    all
}

fn what(packet: &Packet) -> String {
    let reset = packet.flags.contains('R');
    match packet.protocol.as_str() {
        "tcp" if reset => "a reset".to_owned(),
        other => other.to_owned(),
    }
}

fn size(mtu: &ExplainedSize) -> String {
    let bytes = mtu.size;
    match (mtu.reason.as_deref(), mtu.carries) {
        (_, Some(carries)) => format!(
            "{bytes} bytes are too large: the sender is told that the way carries {carries}"
        ),
        (None | Some("next_hop_unknown"), None) => format!("{bytes} bytes fit"),
        (Some(reason), None) => format!("{bytes} bytes: {}, {reason}", mtu.verdict),
    }
}
