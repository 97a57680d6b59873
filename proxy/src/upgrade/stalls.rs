//! Distinguishes a slow end of a tunnel from one that is gone.
//!
//! The kernel accepts some data for a program that reads nothing. If no more than that can be unread, a peer that
//! accepts nothing is gone. How much is unread is unknown here; data that was written minutes ago is assumed to have
//! been read. A program that takes longer than that to read a burst, with pauses of seconds, is cut off in such a
//! pause.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::net::{Liveness, Stream};

/// Number of bytes that a kernel accepts for a program that reads nothing: half of the smallest initial window.
const TAKEN_UNREAD: u64 = 32 * 1024;
/// Data older than this is assumed to have been read.
const READ_WITHIN: Duration = Duration::from_secs(5 * 60);

/// Data that may not have been read yet, and the limits that follow from it.
#[derive(Debug)]
struct Stalls {
    liveness: Liveness,
    /// Whether more data may be outstanding than a kernel accepts by itself.
    may_stall: bool,
    /// Bytes since then, and in the period before.
    since: Instant,
    written: [u64; 2],
}

impl Stalls {
    const fn new(liveness: Liveness, now: Instant) -> Self {
        Self { liveness, may_stall: false, since: now, written: [0; 2] }
    }

    /// Returns the current limits.
    const fn in_force(&self) -> Liveness {
        if self.may_stall { self.liveness.may_stall() } else { self.liveness }
    }

    /// Records written bytes. Returns whether the limits have changed.
    fn wrote(&mut self, bytes: u64, now: Instant) -> bool {
        let changed = self.look(now);
        self.written[0] += bytes;
        let begins = !self.may_stall && self.out() > TAKEN_UNREAD;
        self.may_stall |= begins;
        changed != begins
    }

    /// Forgets data that is assumed to have been read by now. Returns whether the limits have changed.
    fn look(&mut self, now: Instant) -> bool {
        let passed = now - self.since;
        if passed >= READ_WITHIN {
            self.written = [0, if passed < 2 * READ_WITHIN { self.written[0] } else { 0 }];
            self.since = now;
        }
        let ends = self.may_stall && self.out() <= TAKEN_UNREAD;
        self.may_stall &= !ends;
        ends
    }

    const fn out(&self) -> u64 {
        self.written[0] + self.written[1]
    }

    /// Returns when to call [`Self::look`] again.
    fn next_look(&self) -> Option<Instant> {
        self.may_stall.then(|| self.since + READ_WITHIN)
    }
}

/// An end of a tunnel. The kernel is told when its limits change.
pub(super) struct Watched {
    stream: Stream,
    stalls: Stalls,
    look: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(stream: Stream, liveness: Liveness) -> Self {
        stream.limit_unacknowledged(liveness);
        Self { stream, stalls: Stalls::new(liveness, Instant::now()), look: None }
    }

    fn wrote(&mut self, bytes: usize, cx: &mut Context<'_>) {
        let changed = self.stalls.wrote(bytes as u64, Instant::now());
        self.settle(changed);
        if changed {
            // Possibly nobody reads before there is data to read.
            self.poll_look(cx);
        }
    }

    fn settle(&mut self, changed: bool) {
        if changed {
            self.stream.limit_unacknowledged(self.stalls.in_force());
            self.look = self.stalls.next_look().map(|at| Box::pin(sleep_until(at)));
        }
    }

    fn poll_look(&mut self, cx: &mut Context<'_>) {
        while let Some(look) = &mut self.look
            && look.as_mut().poll(cx).is_ready()
        {
            let changed = self.stalls.look(Instant::now());
            if let (false, Some(at)) = (changed, self.stalls.next_look()) {
                look.as_mut().reset(at);
            }
            self.settle(changed);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_look(cx);
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.wrote(written, cx);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.wrote(written, cx);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn a_partner_may_stall_as_long_as_more_may_be_out_than_its_kernel_takes() {
        let began = Instant::now();
        let mut stalls = Stalls::new(Liveness::POD, began);
        assert!(!stalls.wrote(TAKEN_UNREAD, began));
        assert_eq!((stalls.in_force(), stalls.next_look()), (Liveness::POD, None));
        assert!(stalls.wrote(1, began));
        assert_eq!(stalls.in_force(), Liveness::POD.may_stall());
        assert!(!stalls.wrote(1, began), "it is so already");
        // The data may have been written at the end of that period.
        assert!(!stalls.look(began + READ_WITHIN));
        assert!(stalls.look(began + 2 * READ_WITHIN));
        assert_eq!((stalls.in_force(), stalls.next_look()), (Liveness::POD, None));
    }

    #[test]
    fn what_is_written_slowly_was_read_before() {
        let mut now = Instant::now();
        let mut stalls = Stalls::new(Liveness::POD, now);
        for _ in 0..100 {
            now += READ_WITHIN;
            assert!(!stalls.wrote(TAKEN_UNREAD / 2, now));
        }
        assert!(stalls.wrote(TAKEN_UNREAD / 4, now), "more at once is too much");
        // The same amount in each period keeps the limits.
        for _ in 0..10 {
            now += READ_WITHIN;
            assert!(!stalls.wrote(TAKEN_UNREAD, now));
            assert!(stalls.may_stall);
        }
        now += 2 * READ_WITHIN;
        assert!(stalls.wrote(1, now), "after a rest it is not");
        assert!(!stalls.may_stall);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_rests_is_looked_at_without_a_byte() {
        let (near, mut far) = duplex(1024 * 1024);
        let mut watched = Watched::new(Stream::wrapped(near), Liveness::POD);
        watched.write_all(&vec![0; 64 * 1024]).await.unwrap();
        assert!(watched.stalls.may_stall);
        let said = tokio::spawn(async move {
            tokio::time::sleep(3 * READ_WITHIN).await;
            far.write_all(b"x").await.unwrap();
            far
        });
        watched.read_u8().await.unwrap();
        assert!(!watched.stalls.may_stall && watched.look.is_none());
        said.await.unwrap();
    }
}
