//! Whether colours are printed, and which ones the states of backends have.

use std::{env, io::IsTerminal as _};

use clap::{Args, ValueEnum};
use crossterm::style::{Attribute, Color, ContentStyle, Stylize as _};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum When {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Also into a file or another program.
    Always,
    /// Nowhere.
    Never,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ColourArg {
    /// When to print colours.
    #[arg(
        long = "color",
        value_enum,
        default_value_t,
        value_name = "WHEN",
        hide_possible_values = true,
        long_help = "When to print colours: `auto` on a terminal, unless the variable NO_COLOR is set or TERM is \
                     `dumb`; `always`; `never`"
    )]
    when: When,
}

/// How text is printed: for whom.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Style {
    pub(super) colour: bool,
    /// Columns of the terminal; `None` where nothing limits a line.
    pub(super) width: Option<usize>,
}

impl ColourArg {
    /// Of what is printed to standard output.
    pub(super) fn style(self) -> Style {
        let terminal = std::io::stdout().is_terminal();
        let colour = match self.when {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && is_welcome(),
        };
        // What was decided here is final: the library would look at NO_COLOR for itself.
        crossterm::style::force_color_output(colour);
        Style {
            colour,
            width: (terminal.then(|| crossterm::terminal::size().ok()).flatten())
                .map(|(columns, _)| usize::from(columns))
                .filter(|columns| *columns > 0),
        }
    }

    /// Of what is drawn on a terminal.
    pub(super) fn drawn(self) -> bool {
        match self.when {
            When::Always => true,
            When::Never => false,
            When::Auto => is_welcome(),
        }
    }
}

/// <https://no-color.org>: by the variable's presence, unless it is empty.
fn is_welcome() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

impl Style {
    pub(super) fn paint(self, text: &str, colour: Colour) -> String {
        let ink = match colour {
            Colour::Green => Color::DarkGreen,
            Colour::Red => Color::DarkRed,
            Colour::Yellow => Color::DarkYellow,
            Colour::Grey => Color::DarkGrey,
        };
        self.apply(text, ContentStyle::new().with(ink))
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.apply(text, ContentStyle::new().attribute(Attribute::Bold))
    }

    fn apply(self, text: &str, style: ContentStyle) -> String {
        match self.colour {
            true => style.apply(text).to_string(),
            false => text.to_owned(),
        }
    }
}

/// The colours there are: those of the terminal's own palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Green,
    Red,
    Yellow,
    Grey,
}

impl From<Colour> for comfy_table::Color {
    fn from(colour: Colour) -> Self {
        match colour {
            Colour::Green => Self::DarkGreen,
            Colour::Red => Self::DarkRed,
            Colour::Yellow => Self::DarkYellow,
            Colour::Grey => Self::DarkGrey,
        }
    }
}

impl From<Colour> for ratatui::style::Color {
    fn from(colour: Colour) -> Self {
        match colour {
            Colour::Green => Self::Green,
            Colour::Red => Self::Red,
            Colour::Yellow => Self::Yellow,
            Colour::Grey => Self::DarkGray,
        }
    }
}

/// The colour of a backend's state.
pub(super) fn of_state(state: &str) -> Colour {
    match state {
        "up" => Colour::Green,
        "down" => Colour::Red,
        "drain" => Colour::Yellow,
        _ => Colour::Grey,
    }
}
