//! HTTP/2 connections to one address. A stream goes to the first that has room for it; where none has,
//! another is made: a stream that waited for room could wait for as long as the others last.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync, time::Instant};

use super::Cause;
use crate::http2::{Place, Room, client::Sender};

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

impl Shared {
    fn stream(&self) -> (Sender, Place) {
        (self.sender.clone(), self.room.take())
    }
}

impl SharedConnections {
    /// A stream on a kept connection (`true`), or on a new one from `connect`.
    pub(super) async fn stream(
        &self,
        connect: impl Future<Output = Result<Shared, Cause>>,
    ) -> Result<(Sender, Place, bool), Cause> {
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

    /// The connection of `place` takes no more.
    pub(super) fn forget(&self, place: &Place) {
        self.open.lock().retain(|shared| !place.is_in(&shared.room));
    }

    /// Closes those that have had no stream for `idle`. Answers whether any is left.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) -> bool {
        let mut open = self.open.lock();
        open.retain(|shared| {
            let room = &shared.room;
            let unused = now.saturating_duration_since(room.last_used());
            !room.is_closed() && (room.is_used() || unused < idle)
        });
        !open.is_empty()
    }

    /// Room is counted under the lock: two streams never take the last place.
    fn kept(&self) -> Option<(Sender, Place)> {
        let mut open = self.open.lock();
        open.retain(|shared| !shared.room.is_closed());
        open.iter().find(|shared| shared.room.has_place()).map(Shared::stream)
    }
}
