//! What a program on Kubernetes needs, whatever it is there for: nothing here knows what a scale target or a sidecar is.
//!
//! [`connect`] makes the one connection to the API server. [`watches`] follows objects on it, [`Calls`] asks and writes
//! with a deadline, [`Notices`] tells owners by Events, and [`lease`] says which of several programs may write at all.
//! [`admission`] is the other direction: the API server asks. [`pacing`] says when to try again.

pub mod admission;
mod calls;
mod connection;
pub mod lease;
mod metrics;
mod notices;
pub mod pacing;
mod tokens;
pub mod watches;

pub use calls::{CallError, Calls, in_words};
pub use connection::connect;
pub use metrics::ApiMetrics;
pub use notices::{Notice, Notices};
pub use tokens::{TokenGate, Wanted};
