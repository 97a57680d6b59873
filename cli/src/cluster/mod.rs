//! `ebb` on a cluster: installs and uninstalls Ebb, checks it, and explains the state of services.
//!
//! Decisions (is an object as shipped, what slows down a cold start, what is left to give back) are functions
//! of objects, tested with tables; the code around them reads and writes the API. Read first: [`Connection`],
//! then `check/mod.rs`.

mod bound;
pub(crate) mod check;
mod clock;
mod components;
mod connection;
mod explain;
mod finding;
mod install;
mod kinds;
mod manifests;
mod rollout;
mod route_rollout;
mod settings;
mod shape;
#[cfg(test)]
mod test_api;
mod trouble;
mod uninstall;

use std::time::Duration;

use ebb_annotations::GoDuration;

pub(crate) use connection::{Cluster, Connection, Failure};
pub(crate) use explain::explain;
pub(crate) use install::{Args as InstallArgs, install};
pub(crate) use route_rollout::{Args as RolloutArgs, rollout};
pub(crate) use uninstall::{Args as UninstallArgs, uninstall};

/// The field manager of everything that is written here.
const FIELD_MANAGER: &str = "ebb";

/// `1 pod`, `2 pods`.
fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Parses a duration.
fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<GoDuration>() {
        Ok(duration) if duration > GoDuration::ZERO => Ok(duration.to_std()),
        _ => Err("want a duration above 0, for example 90s or 3m".to_owned()),
    }
}
