//! The size and depth of a document, before anything is built from it.
//!
//! `serde_yaml` holds a whole document as events of some 150 bytes each, and takes time in the
//! square of its depth: 6 minutes for 1 MiB of `{a: `. So another parser goes through the text
//! first. It keeps nothing, and stops at the first excess.

use saphyr_parser::{Event, Parser};

use super::problem::ConfigError;

/// Largest file that is read, bytes. As many backends as the tables hold take about 2 MiB, which leaves
/// room for some tens of thousands of sources.
pub const MAX_FILE_BYTES: usize = 4 << 20;
/// Characters of which each may begin or end a token in `[…]` or `{…}`.
pub(super) const MARKS: &[u8] = b",:[]{}?\"'*&!|>";
/// Most of them in a file. `[…]` may turn out to be a key, so the parser holds all of it as tokens,
/// some 350 bytes for each mark: 1 GiB for 4 MiB of `[a:,a:,`. The largest configuration that fits
/// the tables, written as JSON, has about 600,000.
pub(super) const MAX_MARKS: usize = 750_000;
/// Most values in a document, before and after its aliases are replaced. The largest configuration
/// that fits the tables has about 220,000; this many take some 80 MiB to read.
pub(super) const MAX_VALUES: usize = 300_000;
/// Most lists and mappings inside one another. The format needs six.
pub(super) const MAX_DEPTH: usize = 64;

/// Refuses a document that is too large or too deep. One that this parser does not understand is
/// left to `serde_yaml`, which reports the error.
pub(super) fn check(text: &str, file_name: &str) -> Result<(), ConfigError> {
    let file = || file_name.to_owned();
    if text.len() > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { file: file() });
    }
    let marks = text.bytes().filter(|byte| MARKS.contains(byte)).count();
    if marks > MAX_MARKS {
        return Err(ConfigError::TooManyMarks { file: file() });
    }
    let mut parser = Parser::new_from_str(text);
    let (mut depth, mut values) = (0_usize, 0_usize);
    while let Some(next) = parser.next_event() {
        let (event, line) = match next {
            Ok((event, span)) => (event, span.start.line()),
            // The parser looks ahead, and has a limit of its own to which it can.
            Err(error) if error.info().contains("recursion limit") => {
                let line = error.marker().line();
                return Err(ConfigError::TooDeep { file: file(), line });
            }
            Err(_) => return Ok(()),
        };
        match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                depth += 1;
                values += 1;
            }
            Event::MappingEnd | Event::SequenceEnd => depth = depth.saturating_sub(1),
            Event::Scalar(..) | Event::Alias(_) => values += 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(ConfigError::TooDeep { file: file(), line });
        }
        if values > MAX_VALUES {
            return Err(ConfigError::TooManyValues { file: file() });
        }
    }
    Ok(())
}
