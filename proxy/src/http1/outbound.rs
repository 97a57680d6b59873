//! Writes to a connection: small data is joined, large data is written without a copy.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::{
    chunked,
    spelling::{self, Spelling},
};
use crate::net::Stream;

/// Data smaller than this is copied: an additional piece to write costs as much.
const COPIED: usize = 4 * 1024;
/// When this many bytes are pending, no more data is requested.
const ENOUGH: usize = 64 * 1024;
/// Number of bytes to write before other tasks get their turn. The runtime lets a task run for 128 reads and writes,
/// which are megabytes between two fast sides, while all other tasks wait.
pub(super) const A_TURN: u64 = 256 * 1024;
/// Initial room for appended data: most heads fit into it without another allocation.
const USUAL_HEAD: usize = 1024;
/// Number of pieces to write at once.
const PIECES: usize = 16;

/// Bytes to be written.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    pieces: VecDeque<Bytes>,
    /// The data after `pieces`, which still grows.
    last: BytesMut,
    waiting: usize,
    written: u64,
}

impl Outbound {
    /// Appends data after all that was pushed. Call [`Self::grown`] afterwards.
    pub(super) fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let before = self.last.len();
        if before == 0 {
            self.last.reserve(USUAL_HEAD);
        }
        write(&mut self.last);
        self.waiting += self.last.len() - before;
    }

    pub(super) fn push(&mut self, data: Bytes) {
        if data.len() < COPIED {
            self.append(|out| out.extend_from_slice(&data));
            return;
        }
        if !self.last.is_empty() {
            self.pieces.push_back(self.last.split().freeze());
        }
        self.waiting += data.len();
        self.pieces.push_back(data);
    }

    /// One chunk of a chunked body.
    pub(super) fn push_chunk(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.append(|out| chunked::write_size(data.len(), out));
        self.push(data);
        self.append(|out| out.extend_from_slice(b"\r\n"));
    }

    /// The end of a chunked body.
    pub(super) fn push_last_chunk(&mut self, trailers: &HeaderMap, spelling: Option<&Spelling>) {
        self.append(|out| {
            out.extend_from_slice(b"0\r\n");
            spelling::write_fields(trailers, spelling, out);
            out.extend_from_slice(b"\r\n");
        });
    }

    pub(super) const fn has_enough(&self) -> bool {
        self.waiting >= ENOUGH
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Returns the number of bytes that the system has accepted.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Discards everything that is pending.
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        self.last = BytesMut::new();
        self.waiting = 0;
    }

    /// Writes everything that is pending.
    pub(super) fn poll_flush(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.waiting > 0 {
            let written = ready!(self.poll_some(stream, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written as u64;
            self.waiting -= written;
            self.advance(written);
        }
        self.last = BytesMut::new();
        // TLS keeps written data until it is flushed; for TCP this does nothing.
        Pin::new(stream).poll_flush(cx)
    }

    fn poll_some(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        if self.pieces.is_empty() {
            return stream.poll_write(cx, &self.last);
        }
        let mut slices = [IoSlice::new(&[]); PIECES];
        let pieces = self.pieces.iter().map(|piece| &piece[..]).chain([&self.last[..]]);
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        stream.poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            if written < piece.len() {
                piece.advance(written);
                return;
            }
            written -= piece.len();
            self.pieces.pop_front();
        }
        self.last.advance(written);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_pushed_is_written_in_order_however_little_is_taken_at_a_time() {
        let (near, mut far) = duplex(100);
        let mut stream = Stream::wrapped(near);
        let mut out = Outbound::default();
        let large = vec![b'x'; COPIED];
        out.append(|out| out.extend_from_slice(b"head;"));
        out.push_chunk(Bytes::from(large.clone()));
        out.push_chunk(Bytes::from_static(b"small"));
        out.push_chunk(Bytes::new());
        assert!(!out.is_empty() && !out.has_enough());
        let reader = tokio::spawn(async move {
            let mut read = Vec::new();
            far.read_to_end(&mut read).await.map(|_| read)
        });
        poll_fn(|cx| out.poll_flush(&mut stream, cx)).await.unwrap();
        drop(stream);
        let read = reader.await.unwrap().unwrap();
        let want = [&b"head;1000\r\n"[..], &large, b"\r\n5\r\nsmall\r\n"].concat();
        assert!(read == want, "{} bytes of {}", read.len(), want.len());
        assert_eq!((out.written(), out.is_empty()), (want.len() as u64, true));
    }
}
