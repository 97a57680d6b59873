//! `ebb` on a cluster: brings Ebb there and takes it away, looks after it, and says why a service is as it is.
//!
//! What is decided (is an object as shipped, what costs a cold start its time, what is left to give back) are functions
//! of objects, tested with tables; around them is what reads and writes the API. Read first: [`Connection`], then
//! `check/mod.rs`.

mod bound;
pub(crate) mod check;
mod clock;
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

/// Whose fields those are that are written here.
const FIELD_MANAGER: &str = "ebb";

/// `1 pod`, `2 pods`.
fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// How long something may take.
fn duration(text: &str) -> Result<Duration, String> {
    match text.parse::<GoDuration>() {
        Ok(duration) if duration > GoDuration::ZERO => Ok(duration.to_std()),
        _ => Err("want a duration above 0, for example 90s or 3m".to_owned()),
    }
}
