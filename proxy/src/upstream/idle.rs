//! HTTP/1 connections that wait for their next request.
//!
//! A server may close an idle connection at any time. A request that is written at that moment is lost, or must be
//! sent twice. Therefore each connection is checked before it is used, and none is kept for as long as its server is
//! known to keep connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::Upstream;
use crate::http1::Connection;

/// How often idle connections are checked: this many times during the maximum idle time, within the bounds below.
const LOOKS: u32 = 20;
const EVERY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// The idle connections to one address.
#[derive(Debug)]
pub(super) struct IdleConnections {
    state: Mutex<State>,
    sweeping: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// The youngest is last.
    connections: Vec<Connection>,
    keeps: Keeps,
}

/// How long idle connections are kept: less than their server keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keeps(Duration);

impl Keeps {
    /// Records that a connection was found closed after it had been idle for `idle`.
    fn closed_after(&mut self, idle: Duration) {
        // A server that shuts down closes all connections, old and young, which says nothing about its idle time.
        if idle >= Duration::from_secs(1) {
            self.0 = self.0.min(idle.mul_f64(0.8));
        }
    }

    /// Returns how long to keep a connection whose server has said that it keeps it for `said`.
    fn of(self, said: Option<Duration>) -> Duration {
        // Subtract a second for the round trip, and for seconds that were rounded.
        said.map_or(self.0, |said| self.0.min(said.saturating_sub(Duration::from_secs(1)).max(said / 2)))
    }
}

impl IdleConnections {
    pub(super) fn new(keeps: Duration) -> Self {
        let state = State { connections: Vec::new(), keeps: Keeps(keeps) };
        Self { state: Mutex::new(state), sweeping: AtomicBool::new(false) }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().connections.len()
    }

    /// Returns the youngest connection that is still open.
    pub(super) fn take(&self) -> Option<Connection> {
        loop {
            let (connection, keeps) = {
                let mut state = self.state.lock();
                (state.connections.pop()?, state.keeps)
            };
            let idle = connection.idle_since.elapsed();
            if idle > keeps.of(connection.kept_for) {
                continue;
            }
            if connection.is_silent(idle) {
                return Some(connection);
            }
            self.state.lock().keeps.closed_after(idle);
        }
    }

    /// Closes connections that were idle for too long, or that their server has closed. Returns whether any is left.
    pub(super) fn sweep(&self, now: Instant) -> bool {
        let State { connections, keeps } = &mut *self.state.lock();
        connections.retain(|connection| {
            let idle = now.saturating_duration_since(connection.idle_since);
            let lives = connection.is_silent(idle);
            if !lives {
                keeps.closed_after(idle);
            }
            lives && idle < keeps.of(connection.kept_for)
        });
        !connections.is_empty()
    }
}

/// Keeps `connection` for the next request.
pub(super) fn keep(upstream: &Arc<Upstream>, connection: Connection) {
    {
        let mut state = upstream.idle.state.lock();
        if state.connections.len() >= upstream.limits.max_idle {
            return;
        }
        state.connections.push(connection);
    }
    watch(upstream);
}

/// Closes idle connections in time. Ends when none is left, so that no timer outlives the traffic.
pub(super) fn watch(upstream: &Arc<Upstream>) {
    if upstream.idle.sweeping.swap(true, Ordering::Relaxed) {
        return;
    }
    let watched = Arc::downgrade(upstream);
    let timeout = upstream.limits.idle_timeout;
    let every = (timeout / LOOKS).clamp(EVERY[0].min(timeout), EVERY[1]);
    tokio::spawn(async move {
        loop {
            sleep(every).await;
            let Some(upstream) = watched.upgrade() else { return };
            if !upstream.sweep(Instant::now()) {
                upstream.idle.sweeping.store(false, Ordering::Relaxed);
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_connection_is_kept_for_as_long_as_its_server_keeps_it() {
        let secs = Duration::from_secs;
        let mut keeps = Keeps(secs(60));
        assert_eq!(keeps.of(None), secs(60));
        assert_eq!(keeps.of(Some(secs(5))), secs(4));
        assert_eq!(keeps.of(Some(secs(1))), Duration::from_millis(500));
        assert_eq!(keeps.of(Some(secs(0))), Duration::ZERO);
        assert_eq!(keeps.of(Some(secs(600))), secs(60));
        keeps.closed_after(Duration::from_millis(10));
        assert_eq!(keeps.of(None), secs(60), "a server that goes closes the youngest too");
        keeps.closed_after(secs(10));
        assert_eq!(keeps.of(None), secs(8));
        keeps.closed_after(secs(20));
        assert_eq!(keeps.of(None), secs(8), "the least that was seen");
    }
}
