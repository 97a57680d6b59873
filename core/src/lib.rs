//! Ebb's common types: the messages between the four programs, and the names in them.
//!
//! This crate does no I/O, reads no clock and knows nothing of Kubernetes. Decisions take the time as a [`Tick`], and
//! facts as arguments.
//!
//! Read first: [`ServiceKey`] (who) and [`stat::Stat`] (what one pod reports).

pub mod announce;
mod app_protocol;
pub mod backoff;
pub mod environment;
pub mod fate;
pub mod headers;
mod host;
mod late_response;
pub mod link;
pub mod probe;
pub mod request_stats;
mod service_key;
pub mod stat;
mod tick;

pub use app_protocol::{AppProtocol, UnknownProtocol};
pub use host::{Host, NotAHost};
pub use late_response::{LateResponse, UnknownFate};
pub use service_key::{InvalidServiceKey, ServiceKey};
pub use tick::Tick;
