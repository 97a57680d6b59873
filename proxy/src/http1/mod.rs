//! HTTP/1.1 for a relay: heads and bodies pass unchanged, and it is known which bytes were written.
//!
//! Why not hyper: both were tried with the requirements of a transparent hop. hyper can use a transport that lingers
//! on close and reads on after a failed write, which saves early responses. But it cannot pass a 1xx response to a
//! client, trailers that were not announced, targets that `http::Uri` cannot hold (`<`, 70 KB), or Ebb's own texts
//! for 400, 414 and 431. It sends `100 Continue` by itself. When a request failed, it does not say whether bytes of
//! it were written. This module contains the relay: lengths, chunks, and which side waits for which. `httparse`
//! parses the fields of a head, as in hyper.
//!
//! `head`, `framing` and `chunked` are pure and use no sockets; [`server`] and [`client`] are the two ends.

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
#[cfg(test)]
pub(crate) use head::request as read_request;
pub use head::target;
pub(crate) use head::{MAX_BYTES, MAX_FIELDS, interims, is_target_in_uri, to_origin_form};
pub(crate) use server::IncomingBody;
pub(crate) use spelling::Spelling;
