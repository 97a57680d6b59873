//! The sidecar: the last HTTP hop before the app, in every pod.
//!
//! It counts the requests in flight ([`stats`]), lets no more of them run at once than the app declares
//! ([`breaker`]), knows when the app is ready ([`readiness`]) and leaves without losing a request. It knows
//! nothing of Kubernetes. It is scraped and probed, and says on its own no more than that it is there and that it
//! leaves ([`announce`]), if it was told to whom.
//!
//! It reads the reference's environment contract ([`config`]) and can stand in for the reference's sidecar.
//!
//! Read first: [`QueueProxy`], then `handler.rs`.

pub mod announce;
pub mod breaker;
pub mod config;
mod errors;
mod handler;
mod hooks;
mod metrics;
mod observe;
mod probes;
pub mod readiness;
mod renewal;
mod sidecar;
pub mod stats;

pub use config::Config;
pub use sidecar::{Listeners, QueueProxy};
