//! Ebb's vocabulary: what the four programs say to one another and how they name it.
//!
//! This crate never does I/O, never reads a clock and knows nothing of Kubernetes. Whatever decides
//! takes the time as a [`Tick`] and its facts as arguments.
//!
//! Read first: [`ServiceKey`] (who) and [`stat::Stat`] (what one pod reports).

pub mod announce;
mod app_protocol;
pub mod backoff;
pub mod environment;
pub mod fate;
pub mod headers;
mod host;
pub mod link;
pub mod probe;
pub mod request_stats;
mod service_key;
pub mod stat;
mod tick;

pub use app_protocol::{AppProtocol, UnknownProtocol};
pub use host::{Host, NotAHost};
pub use service_key::{InvalidServiceKey, ServiceKey};
pub use tick::Tick;
