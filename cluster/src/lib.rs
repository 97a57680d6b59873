//! What any program on Kubernetes needs. Nothing here knows about scale targets or sidecars.
//!
//! [`connect`] opens the single connection to the API server. [`watches`] follows objects on it, [`Calls`] sends
//! requests with a deadline, [`Notices`] writes Events, and [`lease`] elects the program that may write.
//! [`admission`] serves requests from the API server. [`pacing`] decides when to try again.

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
