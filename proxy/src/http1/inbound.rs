//! Reads from a connection.

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

/// Number of bytes for one read, on the stack: an idle connection has no buffer.
const READ: usize = 8 * 1024;
/// Number of bytes for one read while more arrives than [`READ`] can hold.
const READ_MUCH: usize = 64 * 1024;

/// Maximum number of bytes of a body to take at once. The memory for a waiting request is counted in such pieces.
pub(super) const PIECE: usize = 32 * 1024;

/// Bytes that were read and not taken yet.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    pub(super) unread: BytesMut,
    /// The other side has ended its half of the connection.
    pub(super) ended: bool,
    /// The last read filled the whole buffer.
    much: bool,
}

impl Inbound {
    /// Starts with the bytes in `first`, which were read already.
    pub(super) fn new(first: BytesMut) -> Self {
        Self { unread: first, ended: false, much: false }
    }

    /// Reads more, unless the other side has ended.
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

    /// From now on, reads at most as much at once as a waiting request may keep, and keeps no room for more.
    pub(super) fn read_little(&mut self) {
        if std::mem::take(&mut self.much) {
            self.unread = BytesMut::from(&*self.unread);
        }
    }

    /// Releases the buffer if it is empty.
    pub(super) fn release(&mut self) {
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
    }
}
