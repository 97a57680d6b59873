//! Closes a connection without losing the response.
//!
//! If a connection is closed while its client still sends, the client gets a reset and discards what it has not read
//! yet, including the response that told it to stop. Therefore this closes only the sending half, and then reads and
//! discards data until the client has closed, too (RFC 9112, section 9.6).

use std::{future::poll_fn, io, pin::Pin, time::Duration};

use tokio::{
    io::AsyncWrite,
    time::{Instant, timeout, timeout_at},
};

use super::{After, Server};
use crate::drain::Stage;

/// After this long without data, the client has received the response.
const SILENT_FOR: Duration = Duration::from_secs(5);
/// A client that never stops sending is cut after this time.
const AT_MOST: Duration = Duration::from_secs(30);
/// Maximum length of the rest of an unwanted body that is read to keep its connection.
const MOST_SKIPPED: usize = 256 * 1024;
/// Maximum time for reading that rest.
const SKIP_WITHIN: Duration = Duration::from_secs(1);

impl Server<'_> {
    /// Closes the connection when its client has received everything.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.line.lock().stream).poll_shutdown(cx)).await?;
        if !self.line.lock().body.is_unfinished() {
            // The client has sent everything, and was answered.
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

    /// Reads and discards data. Returns the number of bytes.
    async fn throw_away(&mut self) -> io::Result<usize> {
        poll_fn(|cx| {
            let line = &mut *self.line.lock();
            let read = line.inbound.poll_more(&mut line.stream, cx);
            line.inbound.unread = bytes::BytesMut::new();
            read
        })
        .await
    }

    /// Reads the rest of an unwanted body, so that the connection can be used again.
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
