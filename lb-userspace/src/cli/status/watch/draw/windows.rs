//! Windows over the list: help, details and changes.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Paragraph, Wrap},
};

use super::{
    Look, change_line,
    figures::{rate, spark},
};
use crate::{
    cli::{
        status::{
            backends::{override_words, reason},
            watch::{
                keys::KEYS,
                model::{Mode, Model},
                rates::{self, REMEMBERED},
                rows::Row,
            },
        },
        table::{ago, bytes, count, plain},
    },
    control::view::{BackendStatus, ServiceStatus, listed},
};

const WIDEST: u16 = 100;

pub(super) fn draw(model: &Model, look: Look, frame: &mut Frame<'_>, area: Rect) {
    let (title, lines) = match &model.mode {
        Mode::Help => ("keys".to_owned(), help(look)),
        Mode::Changes => (
            "changes since this view began".to_owned(),
            changes(model, look, area),
        ),
        Mode::Details => match details(model, look) {
            Some(details) => details,
            None => return,
        },
        _ => return,
    };
    let width = area.width.saturating_sub(4).min(WIDEST);
    let inside = usize::from(width.saturating_sub(4)).max(1);
    // A long line takes several.
    let needed: usize = lines
        .iter()
        .map(|line| line.width().max(1).div_ceil(inside))
        .sum();
    let height = u16::try_from(needed + 2)
        .unwrap_or(u16::MAX)
        .min(area.height.saturating_sub(2));
    let window = Rect {
        x: area.x + (area.width - width.min(area.width)) / 2,
        y: area.y + (area.height - height.min(area.height)) / 2,
        width: width.min(area.width),
        height: height.min(area.height),
    };
    let block = Block::bordered()
        .title(format!(" {title} "))
        .title_bottom(" esc closes ")
        .padding(ratatui::widgets::Padding::horizontal(1))
        .border_style(look.paint(ratatui::style::Color::Cyan));
    frame.render_widget(Clear, window);
    let text = Paragraph::new(lines)
        .wrap(Wrap { trim: false })
        .block(block);
    frame.render_widget(text, window);
}

fn help(look: Look) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = (KEYS.iter())
        .map(|(keys, does)| {
            Line::from(vec![
                Span::styled(format!("{keys:<17}"), look.bold()),
                Span::raw(*does),
            ])
        })
        .collect();
    lines.push(Line::raw(""));
    lines.push(Line::styled(
        "Rates are of both directions, over the last interval; · where none is known.",
        look.faint(),
    ));
    lines.push(Line::styled(
        "Bars of a service's backends have one measure; ⁺ marks a backup.",
        look.faint(),
    ));
    lines
}

fn changes(model: &Model, look: Look, area: Rect) -> Vec<Line<'static>> {
    if model.changes.is_empty() {
        return vec![Line::raw("none")];
    }
    let width = usize::from(area.width.saturating_sub(8).min(WIDEST - 4));
    let newest = model.changes.iter().rev().take(usize::from(area.height));
    newest
        .map(|change| change_line(change, look, width))
        .collect()
}

fn details(model: &Model, look: Look) -> Option<(String, Vec<Line<'static>>)> {
    match model.row()? {
        Row::Service(s) => {
            let service = &model.view.services[s];
            Some((service.name.clone(), of_service(model, service, look)))
        }
        Row::Backend(s, b) => {
            let service = &model.view.services[s];
            let backend = &service.backends[b];
            let title = format!("{}/{}", service.name, backend.name);
            Some((title, of_backend(model, service, backend, look)))
        }
    }
}

/// `label     text`.
fn fact(label: &str, text: impl Into<String>, look: Look) -> Line<'static> {
    Line::from(vec![
        Span::styled(format!("{label:<11}"), look.faint()),
        Span::raw(text.into()),
    ])
}

fn of_service(model: &Model, service: &ServiceStatus, look: Look) -> Vec<Line<'static>> {
    let backends = &service.backends;
    let up = backends.iter().filter(|b| b.state == "up").count();
    let histories: Vec<Vec<Option<f64>>> = (backends.iter())
        .map(|backend| model.tracker.packets(&service.name, backend, REMEMBERED))
        .collect();
    let history = rates::added(&histories);
    let now = rates::sum(backends.iter().map(|b| model.tracker.now(&service.name, b)));
    let sum = |of: fn(&BackendStatus) -> u64| backends.iter().map(of).sum::<u64>();
    let mut lines = vec![
        fact("vips", service.vips.join(" "), look),
        fact(
            "how",
            format!(
                "{}, mode {}, scheduler {}",
                service.protocol, service.mode, service.scheduler
            ),
            look,
        ),
        fact("backends", format!("{up} of {} up", backends.len()), look),
    ];
    if service.panic {
        lines.push(fact("panic", "too few are up: all are used", look));
    }
    if !service.announced.is_empty() {
        lines.push(fact("announced", listed(&service.announced), look));
    }
    lines.push(fact(
        "flows",
        format!(
            "{} active, {} opening, {} since the entries were made",
            sum(|b| b.active_flows),
            sum(|b| b.opening_flows),
            sum(|b| b.flows_total)
        ),
        look,
    ));
    lines.extend(traffic(
        now,
        &history,
        sum(|b| b.packets_total),
        sum(|b| b.bytes_total),
        look,
    ));
    lines
}

fn of_backend(
    model: &Model,
    service: &ServiceStatus,
    backend: &BackendStatus,
    look: Look,
) -> Vec<Line<'static>> {
    let mut state = fact("state", String::new(), look);
    state.push_span(Span::styled(
        backend.state.clone(),
        look.state(&backend.state),
    ));
    state.push_span(format!(
        " for {}, since {}",
        ago(&backend.since),
        backend.since
    ));
    let mut lines = vec![
        fact("address", backend.address.clone(), look),
        state,
        fact("why", plain(&reason(backend)), look),
        fact("probe", probe(backend), look),
        fact("weight", weight(backend), look),
    ];
    if let Some(overridden) = &backend.overridden {
        let by = overridden
            .uid
            .map_or(String::new(), |uid| format!(" by uid {uid}"));
        let words = format!(
            "{}, {} ago{by}",
            override_words(backend),
            ago(&overridden.since)
        );
        lines.push(fact("override", words, look));
    }
    if backend.backup {
        lines.push(fact(
            "backup",
            "new flows only while no other backend gets them",
            look,
        ));
    }
    let old = match backend.existing_flows.as_str() {
        "reset" => "; old flows are reset",
        _ => "",
    };
    lines.push(fact(
        "flows",
        format!(
            "{} active, {} opening, {} since its entry was made{old}",
            backend.active_flows, backend.opening_flows, backend.flows_total
        ),
        look,
    ));
    lines.push(fact("next hop", backend.next_hop.clone(), look));
    let history = model.tracker.packets(&service.name, backend, REMEMBERED);
    let now = model.tracker.now(&service.name, backend);
    lines.extend(traffic(
        now,
        &history,
        backend.packets_total,
        backend.bytes_total,
        look,
    ));
    lines
}

fn probe(backend: &BackendStatus) -> String {
    match &backend.probe[..] {
        "none" => "there is no health check".to_owned(),
        "unknown" => "not probed yet".to_owned(),
        "direct_only" => "answers directly, but not by the way of clients' packets".to_owned(),
        word => word.to_owned(),
    }
}

fn weight(backend: &BackendStatus) -> String {
    match backend.weight == backend.weight_configured {
        true => backend.weight.to_string(),
        false => format!(
            "{}, {} in the file",
            backend.weight, backend.weight_configured
        ),
    }
}

fn traffic(
    now: Option<rates::Rates>,
    history: &[Option<f64>],
    packets: u64,
    sent: u64,
    look: Look,
) -> Vec<Line<'static>> {
    let of = |value: fn(rates::Rates) -> f64| rate(now.map(value));
    let most = history.iter().flatten().copied().fold(0.0, f64::max);
    vec![
        fact(
            "now",
            format!(
                "{} packets/s, {} bits/s, {} new flows/s",
                of(|r| r.packets),
                of(|r| r.bits),
                of(|r| r.flows)
            ),
            look,
        ),
        fact(
            "in all",
            format!("{} packets, {}", count(packets), bytes(sent)),
            look,
        ),
        Line::raw(""),
        Line::styled(
            format!(
                "packets/s at the last {REMEMBERED} looks, at most {}",
                rate(Some(most))
            ),
            look.faint(),
        ),
        Line::styled(
            spark(history, most, REMEMBERED),
            look.paint(ratatui::style::Color::Cyan),
        ),
    ]
}
