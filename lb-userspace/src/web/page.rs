//! The page's files, which are in the binary. They need nothing from anywhere else, and browsers are told so.

use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::answer::{Answer, answer};

/// Scripts, styles and data come from here alone, nothing is sent elsewhere, and no other page shows this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Path, type and text.
const FILES: [(&str, &str, &str); 6] = [
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/index.html"),
    ),
    (
        "/page.css",
        "text/css; charset=utf-8",
        include_str!("page/page.css"),
    ),
    (
        "/page.js",
        "text/javascript; charset=utf-8",
        include_str!("page/page.js"),
    ),
    (
        "/parts.js",
        "text/javascript; charset=utf-8",
        include_str!("page/parts.js"),
    ),
    (
        "/words.js",
        "text/javascript; charset=utf-8",
        include_str!("page/words.js"),
    ),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// The file of this path.
pub(super) fn file(path: &str) -> Option<Response<Answer>> {
    let (_, kind, text) = FILES.into_iter().find(|(name, ..)| *name == path)?;
    let mut response = answer(StatusCode::OK, kind, Answer::whole(text));
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Some(response)
}
