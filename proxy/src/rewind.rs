//! Detects a client's protocol from the first bytes of its connection, and puts the bytes back.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What every HTTP/2 client with prior knowledge sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

pin_project! {
    /// A stream whose first bytes were already read.
    #[derive(Debug)]
    pub(crate) struct Rewind<S> {
        #[pin]
        stream: S,
        first: [u8; PREFACE.len()],
        filled: usize,
        given: usize,
    }
}

/// Reads until the protocol is certain. The caller limits the time.
pub(crate) async fn detect<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(Protocol, Rewind<S>)> {
    let mut first = [0; PREFACE.len()];
    let mut filled = 0;
    let protocol = loop {
        let read = stream.read(&mut first[filled..]).await?;
        filled += read;
        if first[..filled] != PREFACE[..filled] || read == 0 {
            break Protocol::Http1;
        }
        if filled == PREFACE.len() {
            break Protocol::Http2;
        }
    };
    Ok((protocol, Rewind { stream, first, filled, given: 0 }))
}

impl<S> Rewind<S> {
    /// Returns the stream and its first bytes.
    pub(crate) fn into_parts(self) -> (S, BytesMut) {
        let first = BytesMut::from(&self.first[self.given..self.filled]);
        (self.stream, first)
    }
}

impl<S: AsyncRead> AsyncRead for Rewind<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if *this.given < *this.filled {
            let rest = &this.first[*this.given..*this.filled];
            let count = rest.len().min(buf.remaining());
            buf.put_slice(&rest[..count]);
            *this.given += count;
            return Poll::Ready(Ok(()));
        }
        this.stream.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite> AsyncWrite for Rewind<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.project().stream.poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().stream.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn detected(parts: &[&[u8]]) -> (Protocol, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(1024);
        let task = tokio::spawn(async move {
            let (protocol, mut stream) = detect(server).await.unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).await.unwrap();
            (protocol, bytes)
        });
        for part in parts {
            client.write_all(part).await.unwrap();
            client.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(client);
        task.await.unwrap()
    }

    #[tokio::test]
    async fn the_preface_is_recognized_however_it_is_cut_and_given_back() {
        for cut in 1..PREFACE.len() {
            let (head, tail) = PREFACE.split_at(cut);
            let (protocol, bytes) = detected(&[head, tail, b"frames"]).await;
            assert_eq!(protocol, Protocol::Http2, "cut at {cut}");
            assert_eq!(bytes, [&PREFACE[..], b"frames"].concat());
        }
    }

    #[tokio::test]
    async fn anything_else_is_http1_and_loses_no_byte() {
        for text in ["GET / HTTP/1.1\r\n\r\n", "PRI x", "P", "", "PUT /very/long/path HTTP/1.1\r\n"] {
            let (protocol, bytes) = detected(&[text.as_bytes()]).await;
            assert_eq!(protocol, Protocol::Http1, "{text:?}");
            assert_eq!(bytes, text.as_bytes());
        }
    }
}
