//! The sidecar: the last HTTP hop before the app, in every pod.
//!
//! It counts the requests in flight ([`stats`]), limits how many of them execute at once ([`breaker`]), detects when
//! the app is ready ([`readiness`]) and shuts down without losing a request. It does not use the Kubernetes API. It
//! is scraped and probed, and announces only that it comes and that it leaves ([`announce`]), if it is configured to.
//!
//! It reads the reference's environment variables ([`config`]) and can replace the reference's sidecar.
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
