//! The binary `divvy`, as a library.
//!
//! Floors, from the top: `cli`, `api`, `control`, `datapath`, `tables`, then `config`, `health` and
//! `net`, which do not know each other. A room uses those below it and none above.

pub mod config;
pub mod datapath;
pub mod net;
pub mod tables;
