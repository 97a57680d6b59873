//! HTTP/2 connections to one address. A stream goes to the first connection that has room for it. If none has, a new
//! connection is opened, because a stream that waited for room could wait for as long as the other streams last.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync, time::Instant};

use super::Cause;
use crate::http2::{Place, Room, client::Sender};

#[derive(Debug, Default)]
pub(super) struct SharedConnections {
    open: Mutex<Vec<Shared>>,
    /// Locked while a connection is opened, so that a burst does not open one for each of its streams. It keeps the
    /// last failure, so that those that waited do not try one after another.
    connecting: sync::Mutex<Option<(Instant, Cause)>>,
}

/// A connection and its streams.
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
    /// Returns a stream on an existing connection (`true`), or on a new one from `connect`.
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

    /// Forgets the connection of `place`, which accepts no more streams.
    pub(super) fn forget(&self, place: &Place) {
        self.open.lock().retain(|shared| !place.is_in(&shared.room));
    }

    /// Closes connections that have had no stream for `idle`. Returns whether any is left.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) -> bool {
        let mut open = self.open.lock();
        open.retain(|shared| {
            let room = &shared.room;
            let unused = now.saturating_duration_since(room.last_used());
            !room.is_closed() && (room.is_used() || unused < idle)
        });
        !open.is_empty()
    }

    /// Room is counted under the lock, so two streams never take the same place.
    fn kept(&self) -> Option<(Sender, Place)> {
        let mut open = self.open.lock();
        open.retain(|shared| !shared.room.is_closed());
        open.iter().find(|shared| shared.room.has_place()).map(Shared::stream)
    }
}
