//! One HTTP hop, written once: queue-proxy and activator differ only in what admits a request.
//!
//! [`listen`] binds a port; [`serve`] accepts connections (HTTP/1.1, and h2c by prior knowledge, on one port) and hands each request
//! to a [`Handler`]; [`forward`] sends it on through an [`Upstream`] and streams the answer back; [`Drain`]
//! ends all of it without losing a request. Nothing here decides who may pass: admission is the caller's.
//!
//! Read first: [`Handler`], [`Upstream::send`]. hyper-util's client pool was not taken because it hides
//! whether a request was written, which is what Ebb's rule about retries turns on.

mod body;
mod clock;
mod drain;
mod fetch;
pub mod forward;
mod listen;
pub mod metrics;
pub mod program;
mod reply;
mod rewind;
mod server;
pub mod stream;
mod upgrade;
mod upstream;

pub use body::{BodyError, RequestBody, ResponseBody};
pub use clock::WallClock;
pub use drain::{Cut, Drain, Quiet};
pub use fetch::{FetchError, fetch};
pub use forward::{ForwardError, Forwarded, Hop, TimedOut, Timeouts, copy_without_body, forward, is_safe};
pub use listen::listen;
pub use reply::{Reply, Speaks};
pub use server::{Handler, Limits, Transport, serve, serve_over};
pub use upstream::{SendError, Upstream, UpstreamLimits};
