use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The number of streams at once on one connection to a server.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicUsize,
    limit: AtomicUsize,
    closed: AtomicBool,
    last_used: Mutex<Instant>,
}

/// A stream on its connection. Dropping this makes room for another one.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
}

impl Room {
    /// The limit until the server sends its own: slightly less than 100, the minimum that RFC 9113 recommends, and
    /// not a number that a server would send.
    pub(super) const UNTOLD: usize = 97;

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            limit: AtomicUsize::new(Self::UNTOLD),
            closed: AtomicBool::new(false),
            last_used: Mutex::new(Instant::now()),
        })
    }

    /// Sets the limit that the server has sent.
    pub(super) fn limit_to(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Records that the connection has ended.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    pub(crate) fn has_place(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.limit.load(Ordering::Relaxed)
    }

    pub(crate) fn is_used(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > 0
    }

    /// Returns when its last stream ended.
    pub(crate) fn last_used(&self) -> Instant {
        *self.last_used.lock()
    }

    /// Counts one more stream.
    pub(crate) fn take(self: &Arc<Self>) -> Place {
        self.taken.fetch_add(1, Ordering::Relaxed);
        Place { room: self.clone() }
    }
}

impl Place {
    pub(crate) fn is_in(&self, room: &Arc<Room>) -> bool {
        Arc::ptr_eq(&self.room, room)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.room.last_used.lock() = Instant::now();
        self.room.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
