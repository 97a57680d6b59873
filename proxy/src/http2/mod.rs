//! HTTP/2 as a relay needs it, on the `h2` crate.
//!
//! Why not hyper: it has no way for an answer before the answer (103 Early Hints, 100 Continue), neither to a client nor
//! from an app, and runs each request's body in a task of its own. Frames, flow control and the limits against floods are
//! `h2`'s. What is ours is who waits for whom: [`server`] and [`client`] are the two ends, `incoming` and `outgoing` the
//! two directions of a body.

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

/// Bytes of one stream that the other side may send before anybody takes them: a gigabit with a millisecond there and
/// back. A request that waits pins them, and they are counted.
pub(crate) const STREAM_WINDOW: u32 = 128 * 1024;
/// All streams of one connection together: each has its own, however many of them nobody reads. Connections to pods carry
/// the requests of strangers to one another.
const CONNECTION_WINDOW: u32 = 256 * STREAM_WINDOW;
/// What frames of data may cost beyond what is in them while nobody has taken them, in bytes: `h2` reckons 256 for each
/// frame. A stream of 8-byte messages fits into it twice before its window is full. Of clients all together it is counted
/// ([`untaken`]).
const FRAMES_BUDGET: usize = 8 * 1024 * 1024;
/// Header bytes of one message that are read. More than are taken, so that who sends too many hears of the limit.
const MAX_HEADER_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes of one stream that wait to be written, as over HTTP/1.1. Who does not read pins them.
const MAX_SEND_BUFFER: usize = 64 * 1024;
