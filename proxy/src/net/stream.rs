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
    /// A plain TCP connection.
    Tcp(TcpStream),
    /// A connection inside something else.
    Wrapped(Box<dyn Duplex>),
}

/// Other transports for HTTP: TLS, and pipes in tests.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {
    /// Returns the TCP connection that carries it, if there is one.
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// In the place of a connection that was taken away.
impl Duplex for Empty {}

#[cfg(test)]
impl Duplex for tokio::io::DuplexStream {}

impl Stream {
    /// Returns a connection inside `stream`.
    pub fn wrapped(stream: impl Duplex + 'static) -> Self {
        Self::Wrapped(Box::new(stream))
    }

    /// Returns the TCP connection that it is, or that carries it.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Wrapped(stream) => stream.tcp(),
        }
    }

    /// Returns whether a connection that should be silent is silent: nothing arrived on it, and its peer has not
    /// closed it. It asks the kernel, because the runtime's information may be slightly old.
    pub(crate) fn is_silent(&self) -> bool {
        self.tcp().is_none_or(|stream| {
            let seen = SockRef::from(stream).peek(&mut [MaybeUninit::uninit()]);
            seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        })
    }

    /// Like [`Self::is_silent`], but uses the runtime's information and needs no system call. That is nearly always
    /// enough for a connection that was used a moment ago. Data that arrived is discarded, so the connection cannot
    /// be used any more.
    pub(crate) fn is_silent_as_told(&self) -> bool {
        match self {
            Self::Tcp(stream) => {
                stream.try_read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            Self::Wrapped(_) => true,
        }
    }

    /// Returns whether the connection has failed although its peer had already closed its half: reading does not show
    /// that.
    pub(crate) fn has_failed(&self) -> bool {
        self.tcp().is_some_and(|stream| !matches!(SockRef::from(stream).take_error(), Ok(None)))
    }

    /// Changes only how long sent bytes may remain unaccepted.
    pub(crate) fn limit_unacknowledged(&self, liveness: Liveness) {
        if let Some(stream) = self.tcp() {
            // Where it fails the connection is lost, and the next read says so.
            let _ = liveness.limit_unacknowledged(stream);
        }
    }

    /// From now on, closing the connection sends a reset, so that the peer knows that something was cut off.
    /// Otherwise, a response that ends with the connection would look complete.
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
