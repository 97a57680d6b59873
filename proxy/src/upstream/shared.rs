//! HTTP/2 connections to one address. A stream goes to the first that has room for it; where none has,
//! another is made: a stream that waited for room could wait for as long as the others last.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::client::conn::http2;
use parking_lot::Mutex;
use tokio::{sync, time::Instant};

use super::Cause;
use crate::body::RequestBody;

type Sender = http2::SendRequest<RequestBody>;

#[derive(Debug, Default)]
pub(super) struct SharedConnections {
    open: Mutex<Vec<Shared>>,
    /// Held by who makes a connection, so that a burst does not make one for each of its streams. Keeps
    /// how the last attempt failed: those who waited for it do not try one after the other.
    connecting: sync::Mutex<Option<(Instant, Cause)>>,
}

/// A connection and the streams on it.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) sender: Sender,
    pub(super) room: Arc<Room>,
}

/// Streams at once on one connection.
#[derive(Debug)]
pub(super) struct Room {
    taken: AtomicUsize,
    limit: AtomicUsize,
    last_used: Mutex<Instant>,
}

impl Room {
    /// Room for `limit` streams.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        let last_used = Mutex::new(Instant::now());
        Arc::new(Self { taken: AtomicUsize::new(0), limit: AtomicUsize::new(limit), last_used })
    }

    /// The server has told how many it takes.
    pub(super) fn limit_to(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }
}

/// A stream that takes room on its connection while this lives.
#[derive(Debug)]
pub(crate) struct Stream {
    room: Arc<Room>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        *self.room.last_used.lock() = Instant::now();
        self.room.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn has_room(&self) -> bool {
        self.room.taken.load(Ordering::Relaxed) < self.room.limit.load(Ordering::Relaxed)
    }

    fn stream(&self) -> (Sender, Stream) {
        self.room.taken.fetch_add(1, Ordering::Relaxed);
        (self.sender.clone(), Stream { room: self.room.clone() })
    }
}

impl SharedConnections {
    /// A stream on a kept connection (`true`), or on a new one from `connect`.
    pub(super) async fn stream(
        &self,
        connect: impl Future<Output = Result<Shared, Cause>>,
    ) -> Result<(Sender, Stream, bool), Cause> {
        if let Some((sender, stream)) = self.kept() {
            return Ok((sender, stream, true));
        }
        let asked = Instant::now();
        let mut last_failure = self.connecting.lock().await;
        if let Some((sender, stream)) = self.kept() {
            return Ok((sender, stream, true));
        }
        if let Some((failed, cause)) = &*last_failure
            && *failed > asked
        {
            return Err(cause.told_again());
        }
        match connect.await {
            Ok(shared) => {
                let (sender, stream) = shared.stream();
                self.open.lock().push(shared);
                Ok((sender, stream, false))
            }
            Err(cause) => {
                *last_failure = Some((Instant::now(), cause.told_again()));
                Err(cause)
            }
        }
    }

    /// The connection of `stream` takes no more.
    pub(super) fn forget(&self, stream: &Stream) {
        self.open.lock().retain(|shared| !Arc::ptr_eq(&shared.room, &stream.room));
    }

    /// Closes those that have had no stream for `idle`. Answers whether any is left.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) -> bool {
        let mut open = self.open.lock();
        open.retain(|shared| {
            let room = &shared.room;
            let unused = now.saturating_duration_since(*room.last_used.lock());
            !shared.sender.is_closed() && (room.taken.load(Ordering::Relaxed) > 0 || unused < idle)
        });
        !open.is_empty()
    }

    /// Room is counted under the lock: two streams never take the last place.
    fn kept(&self) -> Option<(Sender, Stream)> {
        let mut open = self.open.lock();
        open.retain(|shared| !shared.sender.is_closed());
        open.iter().find(|shared| shared.has_room()).map(Shared::stream)
    }
}
