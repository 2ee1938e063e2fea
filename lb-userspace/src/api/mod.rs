//! HTTP with JSON on a unix socket: the daemon serves it, the command line is its client.

pub mod client;
pub(crate) mod connections;
mod refused;
pub mod routes;
pub mod server;

use serde::{Deserialize, Serialize};

/// Name of the socket in the run directory.
const SOCKET: &str = "divvy.sock";

/// The body of an answer that says no.
#[derive(Serialize, Deserialize)]
struct ErrorBody {
    error: String,
}
