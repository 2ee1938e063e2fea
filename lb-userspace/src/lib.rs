//! The binary `divvy`, as a library.
//!
//! Floors, from the top: `cli`, `web`, `api` and `metrics`, `control`, `datapath`, `tables`, then
//! `config`, `health` and `net`, which do not know each other. A room uses those below it and none
//! above.

pub mod api;
pub mod cli;
pub mod config;
pub mod control;
pub mod datapath;
pub mod health;
pub mod metrics;
pub mod net;
pub mod tables;
pub mod web;
