use std::{
    fmt,
    io::{self, IoSlice},
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Empty, ReadBuf},
    net::TcpStream,
};

use super::Liveness;

/// A connection.
pub enum Stream {
    /// As it is.
    Tcp(TcpStream),
    /// Inside something else.
    Wrapped(Box<dyn Duplex>),
}

/// What else HTTP can be spoken over: TLS, and pipes in tests.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {
    /// The TCP connection that carries it; `None` if none does.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// In the place of a connection that was taken away.
impl Duplex for Empty {}

#[cfg(test)]
impl Duplex for tokio::io::DuplexStream {}

impl Stream {
    /// A connection inside `stream`.
    pub fn wrapped(stream: impl Duplex + 'static) -> Self {
        Self::Wrapped(Box::new(stream))
    }

    /// The TCP connection that it is, or that carries it.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Wrapped(stream) => stream.tcp(),
        }
    }

    /// Whether a connection that should be silent is: nothing came on it, and its partner has not closed it. Asks the
    /// kernel, because what the runtime was told may be a moment old.
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Self::Tcp(stream) => {
                let seen = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
                seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Wrapped(_) => true,
        }
    }

    /// The same, by what the runtime was told: for a connection that was used a moment ago that is nearly always enough, and
    /// costs no system call. What came is taken away, so that the connection is of no use any more.
    pub(crate) fn is_silent_as_told(&self) -> bool {
        match self {
            Self::Tcp(stream) => {
                stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Wrapped(_) => true,
        }
    }

    /// Whether the connection has failed, though its partner had closed its half of it before: reading says no more.
    pub(crate) fn has_failed(&self) -> bool {
        self.tcp().is_some_and(|stream| !matches!(SockRef::from(stream).take_error(), Ok(None)))
    }

    /// Changes only how long sent bytes may wait to be taken.
    pub(crate) fn limit_unacknowledged(&self, liveness: Liveness) {
        if let Some(stream) = self.tcp() {
            // Where it fails the connection is lost, and the next read says so.
            let _ = liveness.limit_unacknowledged(stream);
        }
    }

    /// Closing it from now on tells the partner that something was cut off, by a reset. Without that, an answer that ends
    /// with the connection would look whole.
    pub(crate) fn reset_on_close(&self) {
        if let Some(stream) = self.tcp() {
            // Where it fails there is no connection that could mislead anybody.
            let _ = SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(stream) => stream.fmt(f),
            Self::Wrapped(_) => f.write_str("Wrapped"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Wrapped(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Wrapped(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Wrapped(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Wrapped(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Wrapped(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Wrapped(stream) => stream.is_write_vectored(),
        }
    }
}
