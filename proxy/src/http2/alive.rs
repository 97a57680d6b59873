//! Detects by PING whether a silent peer is still there.

use std::{
    future::{pending, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep, timeout},
};

use super::heads::Heads;

/// When something was last received.
#[derive(Clone, Debug)]
pub(super) struct Hearing {
    began: Instant,
    /// Time in milliseconds after `began`.
    last: Arc<AtomicU64>,
}

impl Hearing {
    fn note(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Returns for how long nothing was received.
    fn silence(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(last)
    }
}

/// A connection that records when something arrives.
#[derive(Debug)]
pub(super) struct Heard<S> {
    stream: S,
    hearing: Hearing,
    /// Counts the heads that arrive, if that is wanted.
    heads: Option<Heads>,
}

impl<S> Heard<S> {
    pub(super) fn new(stream: S) -> (Self, Hearing) {
        let hearing = Hearing { began: Instant::now(), last: Arc::default() };
        (Self { stream, hearing: hearing.clone(), heads: None }, hearing)
    }

    /// Returns the same connection with its heads counted.
    pub(super) fn counting(self, heads: Heads) -> Self {
        Self { heads: Some(heads), ..self }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.hearing.note();
        Poll::Ready(match &mut self.heads {
            Some(heads) => heads.follow(&buf.filled()[before..]),
            None => Ok(()),
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Resolves when the peer is gone: it was silent for `silent`, got a PING and did not respond `within` the time.
/// While `is_wanted` is false, it gets no PING.
pub(super) async fn lost(
    pings: Option<PingPong>,
    hearing: Hearing,
    [silent, within]: [Duration; 2],
    is_wanted: impl Fn() -> bool,
) {
    let Some(mut pings) = pings else { return pending().await };
    let mut asked = false;
    loop {
        let silence = hearing.silence();
        if silence < silent || !is_wanted() {
            sleep(silent.saturating_sub(silence).max(silent / 4)).await;
            continue;
        }
        // One PING at a time: a peer that has sent something else meanwhile may still owe the reply.
        if !asked && pings.send_ping(Ping::opaque()).is_err() {
            // The connection has ended, which its owner notices.
            return pending().await;
        }
        asked = true;
        match timeout(within, poll_fn(|cx| pings.poll_pong(cx))).await {
            Ok(Ok(_)) => asked = false,
            Ok(Err(_)) => return pending().await,
            Err(_) if hearing.silence() < within => {}
            Err(_) => return,
        }
    }
}
