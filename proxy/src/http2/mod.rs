//! HTTP/2 for a relay, based on the `h2` crate.
//!
//! Why not hyper: it cannot pass interim responses (103 Early Hints, 100 Continue), neither to a client nor from an
//! app, and it runs each request's body in a task of its own. `h2` provides frames, flow control and the limits
//! against floods. This module decides which side waits for which: [`server`] and [`client`] are the two ends,
//! `incoming` and `outgoing` the two directions of a body.

mod alive;
pub(crate) mod client;
mod heads;
mod incoming;
mod outgoing;
mod room;
pub(crate) mod server;
mod untaken;

pub(crate) use client::Answer;
pub use incoming::Incoming;
pub(crate) use outgoing::{Outgoing, Stopped};
pub(crate) use room::{Place, Room};

/// Number of bytes that the other side may send on one stream before they are taken: a gigabit at a round-trip time
/// of a millisecond. A waiting request keeps them, and they are counted.
pub(crate) const STREAM_WINDOW: u32 = 128 * 1024;
/// The same for all streams of one connection: each stream has its full window, however many of them are not read.
/// Connections to pods carry requests of unrelated clients.
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;
/// Maximum cost of data frames beyond their content while they are not taken, in bytes: `h2` counts 256 for each
/// frame. A stream of 8-byte messages fits twice before its window is full. The cost of all clients together is
/// counted in [`untaken`].
const FRAMES_BUDGET: usize = 8 * 1024 * 1024;
/// Maximum size of a head that is read. It is larger than what is accepted, so that the sender is told the limit.
const MAX_HEADER_BYTES: u32 = 2 * 1024 * 1024;
/// Maximum number of bytes of one stream that are pending to be written, as over HTTP/1.1. They are kept if the peer
/// does not read.
const MAX_SEND_BUFFER: usize = 64 * 1024;
