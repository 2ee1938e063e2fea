//! `divvy schema`: the JSON Schema of the configuration file.

use super::{Failure, print_bytes};
use crate::config::SCHEMA;

pub(super) fn execute() -> Result<(), Failure> {
    print_bytes(SCHEMA.as_bytes())
}
