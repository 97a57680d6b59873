//! One HTTP hop. Queue-proxy and activator share it, and differ only in how they admit requests.
//!
//! [`net::listen`] binds a port. [`serve`] accepts connections (HTTP/1.1, and h2c by prior knowledge, on one port)
//! and hands each request to a [`Handler`]. [`forward()`] sends the request on through an [`Upstream`] and streams
//! the response back. [`Drain`] shuts all of this down without losing a request. Admission is up to the caller.
//!
//! Read first: [`Handler`], `attempts`, `http1`, `http2`. Only [`net`] opens, accepts and monitors sockets.

mod attempts;
mod body;
mod budget;
mod clock;
mod date;
mod drain;
mod fetch;
pub mod forward;
mod http1;
mod http2;
mod interim;
pub mod metrics;
pub mod net;
pub mod program;
mod reply;
mod rewind;
mod server;
pub mod stream;
mod translate;
mod upgrade;
mod upstream;

pub use attempts::Attempts;
pub use body::{BodyError, REPLAYED, RequestBody, ResponseBody};
pub use budget::{Budget, Reserved};
pub use clock::WallClock;
pub use drain::{Cut, Drain, Quiet};
pub use fetch::{FetchError, fetch};
pub use forward::{ForwardError, Forwarded, Hop, TimedOut, Timeouts, forward};
pub use http1::{Fault, target};
pub use http2::Incoming;
pub use net::listen;
pub use reply::{Reply, Speaks};
pub use server::{ConnectionLimits, Handler, Limits, Transport, serve, serve_over};
pub use translate::speak;
pub use upstream::{Cause, SendError, Upstream, UpstreamLimits};
