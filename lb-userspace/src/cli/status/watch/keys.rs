//! What each key does to the model.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Mode, Model};
use crate::{
    config::MAX_WEIGHT,
    control::view::{BackendPlace, Override},
};

/// What the reader wants that the model cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    None,
    Quit,
    Decide(BackendPlace, Override),
}

/// Keys and what they do, for the help.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("↑ ↓  k j", "one line up or down"),
    ("PgUp PgDn", "one page"),
    ("Home End  g G", "first or last line"),
    ("← →  h l  space", "close or open a service"),
    ("a", "close or open all services"),
    ("enter", "details of the selected line"),
    ("/", "search names, addresses, states, reasons; esc ends it"),
    ("s", "sort: as in the file, state, packets, active, name"),
    ("p", "problems only: what is not up, or overridden"),
    ("c", "changes seen since this view began"),
    ("d", "drain the selected backend (asks)"),
    ("e", "enable it: undo drain, disable and weight (asks)"),
    ("w", "give it another weight"),
    ("q  ctrl-c", "quit"),
];

pub(super) fn take(model: &mut Model, event: &Event) -> Wish {
    // Another size is drawn anew in any case.
    let Event::Key(key) = event else {
        return Wish::None;
    };
    if key.kind == KeyEventKind::Release {
        return Wish::None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Wish::Quit,
            _ => Wish::None,
        };
    }
    match model.mode.clone() {
        Mode::List => in_list(model, key),
        Mode::Search => {
            in_search(model, key);
            Wish::None
        }
        Mode::Help | Mode::Details | Mode::Changes => in_window(model, key),
        Mode::Confirm(place, to) => in_question(model, key, place, to),
        Mode::Weight(place, typed) => in_weight(model, key, place, typed),
    }
}

fn in_list(model: &mut Model, key: &KeyEvent) -> Wish {
    let last = model.rows.len().saturating_sub(1);
    match key.code {
        KeyCode::Char('q') => return Wish::Quit,
        KeyCode::Up | KeyCode::Char('k') => model.select(model.selected.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => model.select(model.selected + 1),
        KeyCode::PageUp => model.select(model.selected.saturating_sub(model.page)),
        KeyCode::PageDown => model.select(model.selected + model.page),
        KeyCode::Home | KeyCode::Char('g') => model.select(0),
        KeyCode::End | KeyCode::Char('G') => model.select(last),
        KeyCode::Left | KeyCode::Char('h') => model.set_open(false),
        KeyCode::Right | KeyCode::Char('l') => model.set_open(true),
        KeyCode::Char(' ') => turn(model),
        KeyCode::Char('a') => model.turn_all(),
        KeyCode::Enter if model.row().is_some() => model.mode = Mode::Details,
        KeyCode::Char('/') => {
            model.search.clear();
            model.mode = Mode::Search;
            model.arrange();
        }
        KeyCode::Esc => {
            model.search.clear();
            model.problems_only = false;
            model.arrange();
        }
        KeyCode::Char('s') => {
            model.order = model.order.next();
            model.arrange();
        }
        KeyCode::Char('p') => {
            model.problems_only = !model.problems_only;
            model.arrange();
        }
        KeyCode::Char('c') => model.mode = Mode::Changes,
        KeyCode::Char('?') | KeyCode::F(1) => model.mode = Mode::Help,
        KeyCode::Char('d') => ask(model, |place| Mode::Confirm(place, Override::Drain)),
        KeyCode::Char('e') => ask(model, |place| Mode::Confirm(place, Override::Enable)),
        KeyCode::Char('w') => ask(model, |place| Mode::Weight(place, String::new())),
        _ => {}
    }
    Wish::None
}

fn turn(model: &mut Model) {
    use super::rows::Row;
    if let Some(Row::Service(s) | Row::Backend(s, _)) = model.row() {
        let open = model.is_open(&model.view.services[s].name);
        model.set_open(!open);
    }
}

/// Asks something about the selected backend.
fn ask(model: &mut Model, question: impl FnOnce(BackendPlace) -> Mode) {
    match model.backend() {
        Some((place, _)) => model.mode = question(place),
        None => model.say(
            "choose a backend first; → opens a service".to_owned(),
            false,
        ),
    }
}

fn in_search(model: &mut Model, key: &KeyEvent) {
    match key.code {
        KeyCode::Enter => model.mode = Mode::List,
        KeyCode::Esc => {
            model.search.clear();
            model.mode = Mode::List;
        }
        KeyCode::Backspace => {
            model.search.pop();
        }
        KeyCode::Char(c) => model.search.extend(c.to_lowercase()),
        KeyCode::Up => model.select(model.selected.saturating_sub(1)),
        KeyCode::Down => model.select(model.selected + 1),
        _ => {}
    }
    model.arrange();
}

/// Any of the usual keys closes a window; arrows go on to the next line's.
fn in_window(model: &mut Model, key: &KeyEvent) -> Wish {
    match key.code {
        KeyCode::Up | KeyCode::Char('k') if model.mode == Mode::Details => {
            model.select(model.selected.saturating_sub(1));
        }
        KeyCode::Down | KeyCode::Char('j') if model.mode == Mode::Details => {
            model.select(model.selected + 1);
        }
        KeyCode::Char('d' | 'e' | 'w') if model.mode == Mode::Details => {
            model.mode = Mode::List;
            return in_list(model, key);
        }
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?' | 'c' | ' ') | KeyCode::F(1) => {
            model.mode = Mode::List;
        }
        _ => {}
    }
    Wish::None
}

fn in_question(model: &mut Model, key: &KeyEvent, place: BackendPlace, to: Override) -> Wish {
    match key.code {
        KeyCode::Char('y' | 'Y') => {
            model.mode = Mode::List;
            Wish::Decide(place, to)
        }
        KeyCode::Char('n' | 'N' | 'q') | KeyCode::Esc | KeyCode::Enter => {
            model.mode = Mode::List;
            model.say(format!("{place} stays as it is"), true);
            Wish::None
        }
        _ => Wish::None,
    }
}

fn in_weight(model: &mut Model, key: &KeyEvent, place: BackendPlace, mut typed: String) -> Wish {
    match key.code {
        KeyCode::Esc => model.mode = Mode::List,
        KeyCode::Backspace => {
            typed.pop();
            model.mode = Mode::Weight(place, typed);
        }
        KeyCode::Char(c) if c.is_ascii_digit() && typed.len() < 4 => {
            typed.push(c);
            model.mode = Mode::Weight(place, typed);
        }
        KeyCode::Enter => {
            model.mode = Mode::List;
            match typed.parse::<u16>() {
                Ok(weight) if weight <= MAX_WEIGHT => {
                    return Wish::Decide(place, Override::Weight(weight));
                }
                Ok(weight) => {
                    let words = format!("weight {weight} is not within 0-{MAX_WEIGHT}");
                    model.say(words, false);
                }
                Err(_) => model.say(format!("{place} keeps its weight"), true),
            }
        }
        _ => {}
    }
    Wish::None
}
