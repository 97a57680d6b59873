//! HTTP/1.1 as a relay needs it: heads and bodies pass as they came, and it is known what was written.
//!
//! Why not hyper: both were tried on what a transparent hop must do. hyper can be given a
//! transport that lingers at close and reads on after a failed write, which saves early answers. It cannot pass a 1xx
//! answer to a client, trailers that were not announced, targets that `http::Uri` does not hold (`<`, 70 KB), or words of
//! ours on its own 400, 414 and 431; it says `100 Continue` by itself; and of a request that failed it does not say
//! whether bytes of it were written. What is ours is the relay: lengths, chunks, who waits for whom. The fields of a head
//! are parsed by `httparse`, as hyper's are.
//!
//! `head`, `framing` and `chunked` are pure and know no socket; [`server`] and [`client`] are the two ends.

mod chunked;
pub(crate) mod client;
mod fault;
mod framing;
mod head;
mod inbound;
mod outbound;
pub(crate) mod server;
mod spelling;

pub(crate) use client::{Answer, Broken, Connection, Exchange};
pub use fault::Fault;
pub(crate) use framing::Length;
pub(crate) use head::{MAX_BYTES, MAX_FIELDS, to_origin_form};
pub(crate) use server::IncomingBody;
pub(crate) use spelling::Spelling;
