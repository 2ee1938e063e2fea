//! Single values as people write them, `2s` or `1024-32767`, to what they mean. An error is the
//! message: what is wrong with the text and how to write it.

use std::{fmt::Display, ops::RangeInclusive, str::Chars, time::Duration};

use humantime::format_duration;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{path::shown, vip::PortRange};

pub(super) fn out_of_range(value: impl Display, first: impl Display, last: impl Display) -> String {
    format!("{value} is out of range, use {first}-{last}")
}

/// A duration with its unit: `2s`, `500ms`, `1m30s`.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let shown = shown(text);
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err(format!("`{shown}` has no unit; give one, for example 2s"));
    }
    let duration = humantime::parse_duration(text)
        .map_err(|_| format!("`{shown}` is no duration; write for example 2s, 500ms or 1m30s"))?;
    if range.contains(&duration) {
        return Ok(duration);
    }
    let (first, last) = (
        format_duration(*range.start()),
        format_duration(*range.end()),
    );
    Err(out_of_range(shown, first, last))
}

/// A count, plain or in units of 1,024 (`k`) or 1,048,576 (`M`).
pub(super) fn size(text: &str, range: &RangeInclusive<u32>) -> Result<u32, String> {
    let shown = shown(text);
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    let count = whole(digits)
        .ok_or_else(|| format!("`{shown}` is no size; write for example 65536, 64k or 1M"))?;
    u32::try_from(count.saturating_mul(unit))
        .ok()
        .filter(|size| range.contains(size))
        .ok_or_else(|| out_of_range(shown, range.start(), range.end()))
}

/// A percentage with its sign: `10%`.
pub(super) fn percent(text: &str, most: u32) -> Result<u32, String> {
    let shown = shown(text);
    let Some(digits) = text.strip_suffix('%') else {
        return Err(format!("`{shown}` has no unit; give one, for example 10%"));
    };
    let count = whole(digits.trim_end())
        .ok_or_else(|| format!("`{shown}` is no whole percentage; write for example 10%"))?;
    u32::try_from(count)
        .ok()
        .filter(|percent| *percent <= most)
        .ok_or_else(|| format!("{shown} is out of range, use 0%-{most}%"))
}

/// The first and the last of a range of ports: `1024-32767`.
pub(super) fn ports(text: &str) -> Result<PortRange, String> {
    let (first, last) = pair(text).ok_or_else(|| {
        format!(
            "`{}` is no range of ports; write for example 1024-32767",
            shown(text)
        )
    })?;
    match (port_number(first), port_number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(PortRange { first, last }),
        (Some(_), Some(_)) => Err(format!("{first}-{last} is empty; put the lower port first")),
        _ => Err(format!("{first}-{last} is out of range, use ports 1-65535")),
    }
}

/// Ranges of HTTP status codes: `200-299`, `200,204,301-302`.
pub(super) fn statuses(text: &str) -> Result<Vec<RangeInclusive<u16>>, String> {
    text.split(',')
        .map(|part| status_range(part.trim()))
        .collect()
}

fn status_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let single = || whole(text).map(|code| (code, code));
    let (first, last) = pair(text).or_else(single).ok_or_else(|| {
        format!(
            "`{}` is no status code; write for example 200-299 or 200,204",
            shown(text)
        )
    })?;
    let code = |number| {
        u16::try_from(number)
            .ok()
            .filter(|code| (100..=599).contains(code))
            .ok_or_else(|| out_of_range(number, 100, 599))
    };
    let (first, last) = (code(first)?, code(last)?);
    if first > last {
        return Err(format!("{first}-{last} is empty; put the lower code first"));
    }
    Ok(first..=last)
}

/// Name of a service or backend. It stands in commands as `SERVICE/BACKEND` and in file names.
pub(super) fn name(text: &str) -> Result<String, String> {
    let shown = shown(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(odd) = text.chars().find(|c| !allowed(*c)) {
        let odd = odd.escape_debug();
        return Err(format!(
            "`{shown}` contains `{odd}`; use letters, digits, `.`, `_` and `-`"
        ));
    }
    if text.is_empty() || text.len() > 63 {
        return Err(format!("`{shown}` has {} characters, use 1-63", text.len()));
    }
    Ok(text.to_owned())
}

/// Name of an interface, by the rules of the kernel (`dev_valid_name`, net/core/dev.c).
pub(super) fn interface(text: &str) -> Result<String, String> {
    let shown = shown(text);
    if text.is_empty() || text.len() > 15 {
        return Err(format!("`{shown}` has {} bytes, use 1-15", text.len()));
    }
    let odd = |c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control();
    if text.contains(odd) || matches!(text, "." | "..") {
        return Err(format!(
            "`{shown}` cannot be an interface; `ip link` lists those there are"
        ));
    }
    Ok(text.to_owned())
}

/// Target of an HTTP request in origin form (RFC 9112, section 3.2.1).
pub(super) fn http_path(text: &str) -> Result<String, String> {
    let visible = |c: char| c.is_ascii_graphic() && c != '#';
    if !text.starts_with('/') {
        return Err(format!(
            "`{}` does not start with `/`; write for example /healthz",
            shown(text)
        ));
    }
    if !text.chars().all(visible) {
        return Err(format!(
            "`{}` contains a character that no path has; write it as % and two hex digits",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// Value of a `Host` header.
pub(super) fn http_host(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:[]".contains(c);
    if text.is_empty() || text.len() > 255 || !text.chars().all(allowed) {
        return Err(format!(
            "`{}` is no host; write for example www.example.com",
            shown(text)
        ));
    }
    Ok(text.to_owned())
}

/// A host without the port that may follow it: `www.example.com:8443`, `[2001:db8::1]:443`.
pub(super) fn without_port(host: &str) -> &str {
    let inside = host
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next());
    inside.unwrap_or_else(|| match host.split_once(':') {
        // More than one: an IPv6 address, which has no port without brackets.
        Some((_, rest)) if rest.contains(':') => host,
        Some((name, _)) => name,
        None => host,
    })
}

/// A name that a certificate can be for.
pub(super) fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| {
        format!(
            "`{}` is no name or address that a certificate can be for; write for example \
             www.example.com",
            shown(text)
        )
    })
}

/// Bytes, as text with escapes: `\xNN`, `\r`, `\n`, `\t`, `\\`.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    const MOST: usize = 1_024;
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let byte = match character {
            '\\' => escaped(&mut rest)?,
            _ => u8::try_from(character).ok().filter(u8::is_ascii).ok_or_else(|| {
                format!(
                    "`{}` has a character beyond ASCII; write its bytes as \\xNN, and the text in \
                     single quotes, in which YAML leaves them alone",
                    shown(text)
                )
            })?,
        };
        bytes.push(byte);
    }
    if bytes.is_empty() || bytes.len() > MOST {
        return Err(format!("has {} bytes, use 1-{MOST}", bytes.len()));
    }
    Ok(bytes)
}

/// The byte that is meant by what follows a backslash.
fn escaped(rest: &mut Chars<'_>) -> Result<u8, String> {
    let after = rest.clone();
    let byte = match rest.next() {
        Some('\\') => Some(b'\\'),
        Some('r') => Some(b'\r'),
        Some('n') => Some(b'\n'),
        Some('t') => Some(b'\t'),
        Some('x') => {
            let digit = |digit: Option<char>| digit.and_then(|digit| digit.to_digit(16));
            let (high, low) = (digit(rest.next()), digit(rest.next()));
            high.zip(low)
                .and_then(|(high, low)| u8::try_from(16 * high + low).ok())
        }
        _ => None,
    };
    byte.ok_or_else(|| {
        let what: String = after.take(3).collect();
        format!(
            "`\\{}` is no byte; use \\xNN with two hex digits, \\r, \\n, \\t or \\\\",
            shown(&what)
        )
    })
}

/// The words as a choice: "`auto`, `native` or `generic`".
pub(super) fn either(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// The word that was probably meant: the closest one, if a third of its letters or fewer differ.
pub(super) fn closest<'w>(text: &str, words: &[&'w str]) -> Option<&'w str> {
    words
        .iter()
        .filter(|word| text.len() <= 2 * word.len())
        .map(|word| (strsim::osa_distance(text, word), *word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

fn pair(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-')?;
    Some((whole(first.trim())?, whole(last.trim())?))
}

/// Digits only: `parse` would let a sign through. What overflows is as large as can be.
fn whole(digits: &str) -> Option<u64> {
    let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn port_number(number: u64) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port > 0)
}
