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
mod kinds;
mod manifests;
mod rollout;
mod shape;
mod trouble;

pub(crate) use connection::{Cluster, Connection, Failure};
pub(crate) use explain::explain;

/// `1 pod`, `2 pods`.
fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}
