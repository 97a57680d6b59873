//! Kept-alive HTTP/1.1 connections to one address.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a connection is kept without a request.
///
/// Much less than servers keep idle connections (nginx 75 s, Node and Apache 5 s): a request that is written
/// while the server closes an idle connection is lost through nobody's fault, and as nothing is retried here,
/// it would be reported as a failure of the system under test.
const IDLE_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection that is ready for a request.
pub(super) type Connection = SendRequest<Empty<Bytes>>;

/// The connections to one address, and the tasks that drive them; dropping it closes all.
#[derive(Debug)]
pub(super) struct Pool {
    address: SocketAddr,
    idle: Mutex<IdleStack<Connection>>,
    drivers: Mutex<JoinSet<()>>,
}

impl Pool {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, idle: Mutex::default(), drivers: Mutex::default() }
    }

    /// Returns the connection that was used last, or a new one.
    pub(super) async fn take(&self) -> io::Result<Connection> {
        let now = Instant::now();
        loop {
            let candidate = self.idle.lock().pop(now);
            match candidate {
                Some(connection) if connection.is_ready() => return Ok(connection),
                Some(_closed_by_the_server) => {}
                None => return self.connect().await,
            }
        }
    }

    /// Keeps a connection whose response has been read completely, once it is ready for the next request.
    pub(super) async fn put_back(&self, mut connection: Connection) {
        // An error means that the server wanted this to be the last request.
        if connection.ready().await.is_ok() {
            self.idle.lock().push(connection, Instant::now());
        }
    }

    /// Closes the connections that have been idle too long. Must be called regularly while nothing is sent.
    pub(super) fn close_idle(&self) {
        self.idle.lock().close_idle(Instant::now());
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut drivers = self.drivers.lock();
        while drivers.try_join_next().is_some() {}
        drivers.spawn(async move {
            // The request in flight gets the same error, and counts it.
            let _ = connection.await;
        });
        Ok(sender)
    }
}

/// Idle connections, with the time since when. Last in, first out: a few connections stay in use and the
/// others age.
#[derive(Debug)]
struct IdleStack<T>(VecDeque<(Instant, T)>);

impl<T> Default for IdleStack<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> IdleStack<T> {
    fn push(&mut self, connection: T, now: Instant) {
        self.0.push_back((now, connection));
    }

    fn pop(&mut self, now: Instant) -> Option<T> {
        self.close_idle(now);
        self.0.pop_back().map(|(_, connection)| connection)
    }

    fn close_idle(&mut self, now: Instant) {
        let is_old = |since: Instant| now.saturating_duration_since(since) >= IDLE_TIMEOUT;
        while self.0.front().is_some_and(|(since, _)| is_old(*since)) {
            self.0.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_in_is_the_first_out() {
        let now = Instant::now();
        let mut idle = IdleStack::default();
        idle.push("a", now);
        idle.push("b", now);
        assert_eq!([idle.pop(now), idle.pop(now), idle.pop(now)], [Some("b"), Some("a"), None]);
    }

    #[test]
    fn a_connection_is_closed_when_it_has_been_idle_for_the_timeout() {
        let start = Instant::now();
        let mut idle = IdleStack::default();
        idle.push("a", start);
        idle.push("b", start + IDLE_TIMEOUT / 2);
        assert_eq!(idle.pop(start + IDLE_TIMEOUT), Some("b"));
        assert_eq!(idle.pop(start + IDLE_TIMEOUT), None);
    }
}
