//! A line of the list: which columns there is room for, and what stands in them.

use ratatui::{
    style::{Color, Modifier, Style},
    text::{Line, Span},
};
use unicode_width::UnicodeWidthStr as _;

use super::{
    Look,
    figures::{cut, rate, spark},
};
use crate::{
    cli::{
        status::{
            backends::{reason, worst},
            watch::{
                model::Model,
                rates::{self, Rates},
                rows::Row,
            },
        },
        table::{ago, count, plain},
    },
    control::view::{BackendStatus, ServiceStatus},
};

/// Columns of each that has a fixed width.
const STATE: usize = 8;
const FIGURE: usize = 6;
const SINCE: usize = 7;
const WEIGHT: usize = 6;
/// Narrowest and widest of the name, and of the address.
const NAME: (usize, usize) = (16, 36);
const ADDRESS: (usize, usize) = (15, 40);
/// How much of the reason should be seen before anything else is added.
const REASON: usize = 26;
const TREND: (usize, usize) = (8, 30);

/// How wide each column is; 0 for one that is left out.
pub(super) struct Columns {
    name: usize,
    address: usize,
    since: usize,
    weight: usize,
    trend: usize,
    reason: usize,
}

impl Columns {
    pub(super) fn new(model: &Model, width: usize) -> Self {
        let services = &model.view.services;
        let widest = |texts: &mut dyn Iterator<Item = usize>, (least, most): (usize, usize)| {
            texts.max().unwrap_or(0).clamp(least, most)
        };
        let name = widest(
            &mut (services.iter().map(|s| s.name.width() + 2)).chain(
                (services.iter().flat_map(|s| &s.backends)).map(|b| {
                    // Two more for the tree, and a mark for a backup.
                    b.name.width() + 4 + if b.backup { 2 } else { 0 }
                }),
            ),
            NAME,
        );
        let address = widest(
            &mut (services.iter().flat_map(|s| &s.backends)).map(|b| b.address.width()),
            ADDRESS,
        );
        let mut columns = Self {
            name,
            address: 0,
            since: 0,
            weight: 0,
            trend: TREND.0,
            reason: 0,
        };
        // On a narrow terminal the trend goes first, then the end of the names.
        if columns.fixed() > width {
            columns.trend = 0;
        }
        columns.name -= columns.fixed().saturating_sub(width).min(columns.name);
        let left = |columns: &Self| width.saturating_sub(columns.fixed() + REASON);
        if left(&columns) > SINCE {
            columns.since = SINCE;
        }
        if left(&columns) > address {
            columns.address = address;
        }
        if left(&columns) > WEIGHT {
            columns.weight = WEIGHT;
        }
        columns.trend += (left(&columns) / 3).min(TREND.1 - TREND.0);
        if columns.trend < TREND.0 {
            columns.trend = 0;
        }
        columns.reason = width.saturating_sub(columns.fixed());
        columns
    }

    /// All but the reason, with a gap after each, and a margin at the left.
    fn fixed(&self) -> usize {
        let widths = [
            self.name,
            self.address,
            STATE,
            self.since,
            self.weight,
            FIGURE,
            FIGURE,
            FIGURE,
            FIGURE,
            self.trend,
        ];
        widths
            .iter()
            .filter(|w| **w > 0)
            .map(|w| w + 1)
            .sum::<usize>()
            + 1
    }

    pub(super) fn heading(&self, model: &Model, look: Look) -> Line<'static> {
        let mut name = "SERVICE".to_owned();
        if model.problems_only {
            name = "PROBLEMS".to_owned();
        }
        if !model.search.is_empty() {
            name = format!("/{}", model.search);
        }
        let cells = [
            left(&name, self.name),
            left("ADDRESS", self.address),
            left("STATE", STATE),
            right("SINCE", self.since),
            right("WEIGHT", self.weight),
            right("ACTIVE", FIGURE),
            right("NEW/S", FIGURE),
            right("PKT/S", FIGURE),
            right("BIT/S", FIGURE),
            left("TREND", self.trend),
            left("WHY", self.reason),
        ];
        let mut text = " ".to_owned();
        for cell in cells.iter().filter(|cell| !cell.is_empty()) {
            text.push_str(cell);
            text.push(' ');
        }
        Line::styled(text, look.paint(Color::Cyan).add_modifier(Modifier::BOLD))
    }

    /// The greatest value in the trends of a service's backends: what gets twice as much is to look twice as
    /// high.
    pub(super) fn measure(&self, model: &Model, service: usize) -> f64 {
        let service = &model.view.services[service];
        (service.backends.iter())
            .map(|backend| highest(&model.tracker.packets(&service.name, backend, self.trend)))
            .fold(0.0, f64::max)
    }

    /// `most` is the measure of the row's service.
    pub(super) fn line(&self, model: &Model, row: Row, most: f64, look: Look) -> Line<'static> {
        match row {
            Row::Service(s) => self.service(model, &model.view.services[s], look),
            Row::Backend(s, b) => {
                let service = &model.view.services[s];
                self.backend(model, service, &service.backends[b], most, look)
            }
        }
    }

    /// The whole line reversed, to its end. States keep their colour.
    pub(super) fn chosen(&self, line: Line<'static>, look: Look) -> Line<'static> {
        let telling = [Color::Green, Color::Red, Color::Yellow];
        let spans = (line.spans.into_iter())
            .map(|span| {
                let colour = span.style.fg.filter(|colour| telling.contains(colour));
                let style = Style {
                    fg: colour,
                    ..look.chosen()
                };
                Span::styled(span.content, style)
            })
            .collect::<Vec<_>>();
        Line::from(spans)
    }

    fn service(&self, model: &Model, service: &ServiceStatus, look: Look) -> Line<'static> {
        let up = service.backends.iter().filter(|b| b.state == "up").count();
        let now = rates::sum(
            (service.backends.iter()).map(|backend| model.tracker.now(&service.name, backend)),
        );
        let histories: Vec<Vec<Option<f64>>> = (service.backends.iter())
            .map(|backend| model.tracker.packets(&service.name, backend, self.trend))
            .collect();
        let history = rates::added(&histories);
        let mark = if model.is_open(&service.name) {
            "▾"
        } else {
            "▸"
        };
        let words = match (service.panic, service.backends.is_empty()) {
            (true, _) => "too few up: all are used".to_owned(),
            (_, true) => "no backends".to_owned(),
            _ => service.vips.join(" "),
        };
        let style = look.state(if service.panic {
            "down"
        } else {
            worst(service)
        });
        self.assemble(Parts {
            name: format!("{mark} {}", service.name),
            name_style: look.bold(),
            address: format!("{}/{}", service.protocol, service.mode),
            state: format!("{up}/{} up", service.backends.len()),
            state_style: style,
            since: String::new(),
            weight: String::new(),
            active: service.backends.iter().map(|b| b.active_flows).sum(),
            now,
            trend: spark(&history, highest(&history), self.trend),
            reason: words,
            reason_style: if service.panic {
                look.bad()
            } else {
                look.faint()
            },
            look,
        })
    }

    fn backend(
        &self,
        model: &Model,
        service: &ServiceStatus,
        backend: &BackendStatus,
        most: f64,
        look: Look,
    ) -> Line<'static> {
        let history = model.tracker.packets(&service.name, backend, self.trend);
        let backup = if backend.backup { " ⁺" } else { "" };
        let mut words = plain(&reason(backend));
        // What an override makes of the state is told by the state.
        if let Some(weight) = backend.overridden.as_ref().and_then(|o| o.weight) {
            words = format!(
                "[weight {weight}, file: {}] {words}",
                backend.weight_configured
            );
        }
        self.assemble(Parts {
            name: format!("  {}{backup}", backend.name),
            name_style: Style::new(),
            address: backend.address.clone(),
            state: backend.state.clone(),
            state_style: look.state(&backend.state),
            since: ago(&backend.since),
            weight: backend.weight.to_string(),
            active: backend.active_flows,
            now: model.tracker.now(&service.name, backend),
            trend: spark(&history, most, self.trend),
            reason: words,
            reason_style: match &*backend.state {
                "up" => look.faint(),
                state => look.state(state),
            },
            look,
        })
    }

    fn assemble(&self, parts: Parts) -> Line<'static> {
        let of = |value: fn(Rates) -> f64| right(&rate(parts.now.map(value)), FIGURE);
        let idle = parts.now.is_none_or(|now| now.packets == 0.0);
        let figures = if idle {
            parts.look.faint()
        } else {
            Style::new()
        };
        // Only the larger unit where both do not fit.
        let since = match parts.since.chars().count() > self.since {
            true => parts.since.split(' ').next().unwrap_or_default().to_owned(),
            false => parts.since,
        };
        let cells = [
            (left(&parts.name, self.name), parts.name_style),
            (left(&parts.address, self.address), parts.look.faint()),
            (left(&parts.state, STATE), parts.state_style),
            (right(&since, self.since), parts.look.faint()),
            (right(&parts.weight, self.weight), Style::new()),
            (right(&count(parts.active), FIGURE), Style::new()),
            (of(|r| r.flows), figures),
            (of(|r| r.packets), figures),
            (of(|r| r.bits), figures),
            (
                left(&parts.trend, self.trend),
                parts.look.paint(Color::Cyan),
            ),
            (left(&parts.reason, self.reason), parts.reason_style),
        ];
        let mut spans = vec![Span::raw(" ")];
        for (text, style) in cells.into_iter().filter(|(text, _)| !text.is_empty()) {
            spans.push(Span::styled(text, style));
            spans.push(Span::raw(" "));
        }
        Line::from(spans)
    }
}

/// What stands in a line.
struct Parts {
    name: String,
    name_style: Style,
    address: String,
    state: String,
    state_style: Style,
    since: String,
    weight: String,
    active: u64,
    now: Option<Rates>,
    trend: String,
    reason: String,
    reason_style: Style,
    look: Look,
}

fn highest(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().copied().fold(0.0, f64::max)
}

/// So wide, filled up or cut; nothing for no columns.
fn left(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    match columns {
        0 => String::new(),
        _ => format!("{text}{}", " ".repeat(columns.saturating_sub(text.width()))),
    }
}

fn right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    match columns {
        0 => String::new(),
        _ => format!("{}{text}", " ".repeat(columns.saturating_sub(text.width()))),
    }
}
