//! The sidecar: the last HTTP hop before the app, in every pod.
//!
//! It counts the requests in flight ([`stats`]), lets no more of them run at once than the app declares
//! ([`breaker`]), knows when the app is ready ([`readiness`]) and leaves without losing a request. It knows
//! nothing of Kubernetes and talks to nobody on its own: it is scraped and probed.
//!
//! It reads the reference's environment contract ([`config`]) and can stand in for the reference's sidecar.
//!
//! Read first: [`QueueProxy`], then `handler.rs`.

pub mod breaker;
pub mod config;
mod errors;
mod handler;
mod metrics;
mod observe;
mod probes;
pub mod readiness;
mod sidecar;
pub mod stats;

pub use config::Config;
pub use sidecar::{Listeners, QueueProxy};
