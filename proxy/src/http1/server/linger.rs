//! Closing without taking back what was said.
//!
//! A connection that is closed while its client still sends answers with a reset, and a client that gets a reset throws
//! away what it has not read yet: the answer that told it to stop. So the end is said first, and what comes is read and
//! thrown away until the client has closed too (RFC 9112, section 9.6).

use std::{future::poll_fn, io, pin::Pin, time::Duration};

use tokio::{
    io::AsyncWrite,
    time::{Instant, timeout, timeout_at},
};

use super::{After, Server};
use crate::drain::Stage;

/// A client that sends nothing for so long has heard it.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// One that never stops sending is cut.
const AT_MOST: Duration = Duration::from_secs(30);
/// The rest of a body that nobody wants is read to keep its connection, if it is no longer than this.
const MOST_SKIPPED: usize = 256 * 1024;
/// And if it comes in this time.
const SKIP_WITHIN: Duration = Duration::from_secs(1);

impl Server<'_> {
    /// Closes the connection when its client has heard all.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.line.lock().stream).poll_shutdown(cx)).await?;
        if !self.line.lock().body.is_unfinished() {
            // It has said all, and was answered.
            return Ok(());
        }
        let (due, drain, presence) = (Instant::now() + AT_MOST, self.drain, self.presence);
        let heard = async {
            while let Ok(Ok(read)) = timeout(SILENT_FOR, self.throw_away()).await
                && read > 0
            {}
        };
        tokio::select! {
            _ = timeout_at(due, heard) => {}
            () = drain.reached(Stage::Aborted) => {}
            () = presence.evicted() => {}
        }
        Ok(())
    }

    /// Reads what comes, and forgets it. Answers how much it was.
    async fn throw_away(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            let line = &mut *self.line.lock();
            let read = line.inbound.poll_more(&mut line.stream, cx);
            line.inbound.unread = bytes::BytesMut::new();
            read
        })
        .await
    }

    /// Reads the rest of a body that nobody wants, so that the connection can go on.
    pub(super) async fn skip_body(&mut self) -> After {
        let skipping = async {
            let mut skipped = 0;
            while skipped < MOST_SKIPPED {
                match poll_fn(|cx| self.line.lock().poll_body(cx)).await {
                    Some(Ok(frame)) => skipped += frame.data_ref().map_or(0, bytes::Bytes::len),
                    Some(Err(_)) => return After::Close,
                    None => return After::Next,
                }
            }
            After::Close
        };
        timeout(SKIP_WITHIN, skipping).await.unwrap_or(After::Close)
    }
}
