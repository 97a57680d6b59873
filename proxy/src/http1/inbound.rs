//! What comes in on a connection.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::net::Stream;

/// What is read at a time, through the stack: a connection on which nothing comes has no buffer.
const READ: usize = 8 * 1024;
/// What is read at a time while more comes than [`READ`] holds.
const READ_MUCH: usize = 64 * 1024;

/// More of a body is not taken at once: what is kept of it while its request waits is counted in such pieces.
pub(super) const PIECE: usize = 32 * 1024;

/// Bytes that were read and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    pub(super) unread: BytesMut,
    /// The other side says no more.
    pub(super) ended: bool,
    /// The last read filled what there was to fill.
    much: bool,
}

impl Inbound {
    /// With `first` read already.
    pub(super) fn new(first: BytesMut) -> Self {
        Self { unread: first, ended: false, much: false }
    }

    /// Reads more. Nothing more is read where the other side has ended.
    pub(super) fn poll_more(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let read = if self.much {
            self.unread.reserve(READ_MUCH);
            let Poll::Ready(read) = poll_read_buf(Pin::new(stream), cx, &mut self.unread)? else {
                self.read_little();
                return Poll::Pending;
            };
            self.much = read >= READ;
            read
        } else {
            let mut bytes = [MaybeUninit::uninit(); READ];
            let mut buffer = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
            self.unread.extend_from_slice(buffer.filled());
            self.much = buffer.remaining() == 0;
            buffer.filled().len()
        };
        self.ended = read == 0;
        Poll::Ready(Ok(read))
    }

    /// From now on no more is read at a time than a request that waits may keep, and no room is kept for more.
    pub(super) fn read_little(&mut self) {
        if std::mem::take(&mut self.much) {
            self.unread = BytesMut::from(&*self.unread);
        }
    }

    /// Gives the buffer back where it is empty.
    pub(super) fn release(&mut self) {
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
    }
}
