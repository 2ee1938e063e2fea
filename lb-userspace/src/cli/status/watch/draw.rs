//! Draws the model: what is general above, the list in the middle, what is selected and the keys below.

mod figures;
mod line;
mod windows;

use std::collections::HashMap;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Paragraph,
};

use self::figures::{clock, cut, rate};
use super::{
    changes::Change,
    model::{Mode, Model},
    rates,
    rows::Row,
};
use crate::{
    cli::{
        colour::of_state,
        status::overview::STATES,
        table::{ago, grouped, plain, several, short},
    },
    control::view::Override,
};

/// From this height on, the latest changes are shown below the list.
const CHANGES_HEIGHT: u16 = 32;
const CHANGES: u16 = 5;

/// Draws the whole screen, whatever its size.
pub(super) fn draw(model: &mut Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let changes = if area.height >= CHANGES_HEIGHT {
        CHANGES + 1
    } else {
        0
    };
    let [head, list, recent, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(changes),
        Constraint::Length(2),
    ])
    .areas(area);
    let look = Look {
        colour: model.colour,
    };
    frame.render_widget(Paragraph::new(head_lines(model, look, head.width)), head);
    list_of(model, look, frame, list);
    if changes > 0 {
        frame.render_widget(Paragraph::new(recent_lines(model, look, recent)), recent);
    }
    frame.render_widget(Paragraph::new(foot_lines(model, look, foot.width)), foot);
    windows::draw(model, look, frame, area);
}

/// How things look: with colours, or without.
#[derive(Clone, Copy)]
struct Look {
    colour: bool,
}

impl Look {
    fn paint(self, colour: Color) -> Style {
        match self.colour {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    fn state(self, state: &str) -> Style {
        self.paint(of_state(state).into())
    }

    fn faint(self) -> Style {
        self.paint(Color::DarkGray)
    }

    fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn bad(self) -> Style {
        self.paint(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Of the line that is selected, and of bars.
    fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

fn head_lines(model: &Model, look: Look, width: u16) -> Vec<Line<'static>> {
    let view = &model.view;
    let backends = || view.services.iter().flat_map(|service| &service.backends);
    let mut first = vec![
        Span::styled(" divvy ", look.chosen().add_modifier(Modifier::BOLD)),
        Span::raw(format!(
            " {}, {}: ",
            several(view.services.len(), "service"),
            several(backends().count(), "backend")
        )),
    ];
    let counts = (STATES.iter())
        .map(|state| (*state, backends().filter(|b| b.state == *state).count()))
        .filter(|(_, count)| *count > 0);
    for (place, (state, count)) in counts.enumerate() {
        first.extend((place > 0).then(|| Span::raw(", ")));
        let words = format!("{} {state}", grouped(count));
        first.push(Span::styled(words, look.state(state)));
    }
    let right = format!(
        "sort: {}  every {} ",
        model.order.name(),
        humantime::format_duration(model.interval)
    );
    let used: usize = first.iter().map(Span::width).sum();
    let gap = usize::from(width).saturating_sub(used + right.chars().count());
    if gap > 0 {
        first.push(Span::raw(" ".repeat(gap)));
        first.push(Span::styled(right, look.faint()));
    }
    vec![Line::from(first), second_line(model, look, width)]
}

/// What goes through all, or that nobody knows.
fn second_line(model: &Model, look: Look, width: u16) -> Line<'static> {
    if let Some(away) = &model.away {
        let text = format!(
            " {} since {} ({}): {}",
            if away.reachable {
                "NO STATUS"
            } else {
                "NOT REACHABLE"
            },
            clock(away.since),
            short(away.since.elapsed().unwrap_or_default()),
            plain(&away.why)
        );
        return Line::styled(cut(&text, usize::from(width)), look.bad());
    }
    let view = &model.view;
    let all = (view.services.iter()).flat_map(|service| {
        (service.backends.iter()).map(|backend| model.tracker.now(&service.name, backend))
    });
    let now = rates::sum(all);
    let of = |value: fn(rates::Rates) -> f64| rate(now.map(value));
    let active: u64 = (view.services.iter().flat_map(|s| &s.backends))
        .map(|backend| backend.active_flows)
        .sum();
    let mut spans = vec![Span::raw(format!(
        " {} packets/s  {} bits/s  {} new/s  {active} active  {} of {} flows",
        of(|r| r.packets),
        of(|r| r.bits),
        of(|r| r.flows),
        view.flows.confirmed,
        view.flows.confirmed_max,
    ))];
    if let Some((per_second, most)) = &model.drops {
        let words = format!("  {} drops/s ({most})", rate(Some(*per_second)));
        spans.push(Span::styled(words, look.paint(Color::Yellow)));
    }
    if view.config.last_error.is_some() {
        let words = "  the last reload failed".to_owned();
        spans.push(Span::styled(words, look.paint(Color::Yellow)));
    }
    Line::from(spans)
}

fn list_of(model: &mut Model, look: Look, frame: &mut Frame<'_>, area: Rect) {
    let [bar, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    model.scroll(usize::from(body.height));
    let columns = line::Columns::new(model, usize::from(area.width));
    frame.render_widget(Paragraph::new(columns.heading(model, look)), bar);
    // Only what is to be seen is made.
    let mut measures = HashMap::new();
    let lines: Vec<Line<'static>> = (model.rows.iter().enumerate())
        .skip(model.top)
        .take(usize::from(body.height))
        .map(|(place, row)| {
            let (Row::Service(s) | Row::Backend(s, _)) = *row;
            let most = *(measures.entry(s)).or_insert_with(|| columns.measure(model, s));
            let line = columns.line(model, *row, most, look);
            let line = match model.away {
                Some(_) => line.patch_style(Style::new().add_modifier(Modifier::DIM)),
                None => line,
            };
            match place == model.selected {
                true => columns.chosen(line, look),
                false => line,
            }
        })
        .collect();
    match lines.is_empty() {
        false => frame.render_widget(Paragraph::new(lines), body),
        true => frame.render_widget(Paragraph::new(nothing(model)), body),
    }
}

fn nothing(model: &Model) -> String {
    if !model.search.is_empty() {
        format!("  nothing holds `{}`; esc shows all", model.search)
    } else if model.problems_only {
        "  no problems: every backend is up and nothing is overridden; p shows all".to_owned()
    } else {
        "  there are no services".to_owned()
    }
}

fn recent_lines(model: &Model, look: Look, area: Rect) -> Vec<Line<'static>> {
    let width = usize::from(area.width);
    let title = " changes since this view began";
    let mut lines = vec![Line::styled(format!("{title:<width$}"), look.faint())];
    if model.changes.is_empty() {
        lines.push(Line::styled("   none", look.faint()));
    }
    let newest = model.changes.iter().rev().take(usize::from(CHANGES));
    lines.extend(newest.map(|change| change_line(change, look, width)));
    lines
}

/// `10:58:42  web/web-1  up → down  no answer`.
fn change_line(change: &Change, look: Look, width: usize) -> Line<'static> {
    let from = change.from.as_deref().unwrap_or("new");
    let to = change.to.as_deref().unwrap_or("gone");
    let spans = vec![
        Span::styled(format!("   {}  ", clock(change.at)), look.faint()),
        Span::raw(format!("{}  ", change.place)),
        Span::raw(format!("{from} → ")),
        Span::styled(to.to_owned(), look.state(to)),
    ];
    let used: usize = spans.iter().map(Span::width).sum();
    let reason = cut(&plain(&change.reason), width.saturating_sub(used + 2));
    Line::from([spans, vec![Span::raw(format!("  {reason}"))]].concat())
}

fn foot_lines(model: &Model, look: Look, width: u16) -> Vec<Line<'static>> {
    let width = usize::from(width);
    let hint = |text: &str| Line::styled(cut(text, width), look.faint());
    let strong = |text: String| Line::styled(cut(&text, width), look.bold());
    match &model.mode {
        Mode::Confirm(place, to) => vec![strong(question(model, place, *to)), hint(" y yes  n no")],
        Mode::Weight(place, typed) => vec![
            strong(format!(" Weight of {place}, 0-1000: {typed}▏")),
            hint(" enter decides  esc leaves it"),
        ],
        Mode::Search => vec![
            strong(format!(" Search: {}▏", model.search)),
            hint(" enter keeps the list so  esc shows all"),
        ],
        _ => vec![said(model, look, width), keys_line(look, width)],
    }
}

fn question(model: &Model, place: &crate::control::view::BackendPlace, to: Override) -> String {
    let flows = match model.backend() {
        Some((_, backend)) => backend.active_flows,
        None => 0,
    };
    match to {
        Override::Drain => format!(
            " Drain {place}? Its {} may end until drain_timeout.",
            several(usize::try_from(flows).unwrap_or(usize::MAX), "flow")
        ),
        _ => format!(" Enable {place}, as the file and its health say?"),
    }
}

/// The last message, or else what is selected, with the whole reason.
fn said(model: &Model, look: Look, width: usize) -> Line<'static> {
    if let Some((words, well, _)) = &model.said {
        let style = match well {
            true => look.paint(Color::Cyan),
            false => look.bad(),
        };
        return Line::styled(cut(&format!(" {}", plain(words)), width), style);
    }
    let text = match model.row() {
        Some(Row::Service(s)) => {
            let service = &model.view.services[s];
            format!(
                " {}: {}/{}, {}, {}",
                service.name,
                service.protocol,
                service.mode,
                service.scheduler,
                service.vips.join(" ")
            )
        }
        Some(Row::Backend(..)) => model.backend().map_or(String::new(), |(place, backend)| {
            format!(
                " {place}: {} for {}, {}",
                backend.state,
                ago(&backend.since),
                plain(&crate::cli::status::backends::reason(backend))
            )
        }),
        None => String::new(),
    };
    Line::raw(cut(&text, width))
}

fn keys_line(look: Look, width: usize) -> Line<'static> {
    let mut spans = Vec::new();
    for (key, does) in [
        ("↑↓", "move"),
        ("enter", "details"),
        ("/", "search"),
        ("s", "sort"),
        ("d", "drain"),
        ("e", "enable"),
        ("?", "help"),
        ("q", "quit"),
        ("w", "weight"),
        ("p", "problems"),
        ("c", "changes"),
        ("←→", "close, open"),
        ("a", "all"),
    ] {
        let used: usize = spans.iter().map(Span::width).sum();
        if used + key.chars().count() + does.chars().count() + 3 > width {
            break;
        }
        spans.push(Span::styled(format!(" {key}"), look.bold()));
        spans.push(Span::styled(format!(" {does} "), look.faint()));
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests;
