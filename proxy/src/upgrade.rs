//! After `101 Switching Protocols` the hop only copies bytes. When one side closes, the other is told and has
//! a moment to finish what it says; then the tunnel is closed whatever it does, because it holds a slot.

use std::{io, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy_buf, split},
    time::timeout,
};

use crate::{
    drain::{Drain, Stage},
    net::Stream,
};

/// Bytes buffered in each direction of an upgraded connection. They are resident for each idle socket.
const BUFFER: usize = 4 * 1024;
/// How long one side may go on after the other has closed. A WebSocket's closing handshake is over by then;
/// an app that never closes its half would keep the slot for ever.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// One end of a tunnel.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) stream: Stream,
    /// What came after the head, and is the tunnel's already.
    pub(crate) unread: BytesMut,
}

/// Joins two ends until both have said all, or the drain has lasted too long.
pub(crate) async fn join(client: End, upstream: End, drain: &Drain) -> io::Result<()> {
    tokio::select! {
        ended = tunnel(client.stream, client.unread.freeze(), upstream.stream, upstream.unread.freeze()) => ended,
        () = drain.reached(Stage::Aborted) => Ok(()),
    }
}

/// Copies both ways until both sides have closed, or one has and the other goes on for too long.
async fn tunnel(
    client: impl AsyncRead + AsyncWrite,
    client_said: Bytes,
    upstream: impl AsyncRead + AsyncWrite,
    upstream_said: Bytes,
) -> io::Result<()> {
    let (client_says, client_hears) = split(client);
    let (upstream_says, upstream_hears) = split(upstream);
    let mut up = pin!(relay(client_said, client_says, upstream_hears));
    let mut down = pin!(relay(upstream_said, upstream_says, client_hears));
    tokio::select! {
        ended = &mut up => {
            ended?;
            timeout(LAST_WORDS, down).await?
        }
        ended = &mut down => {
            ended?;
            timeout(LAST_WORDS, up).await?
        }
    }
}

/// Copies what was `said` already and then all that follows, and tells `to` of the end.
async fn relay(said: Bytes, from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy_buf(&mut BufReader::with_capacity(BUFFER, AsyncReadExt::chain(&*said, from)), &mut to).await?;
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        task::JoinHandle,
        time::Instant,
    };

    use super::*;

    /// The two ends of a tunnel, and the tunnel.
    fn open() -> (DuplexStream, DuplexStream, JoinHandle<io::Result<()>>) {
        let (client, near) = duplex(1024);
        let (far, app) = duplex(1024);
        (client, app, tokio::spawn(tunnel(near, Bytes::new(), far, Bytes::new())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_side_that_never_closes_does_not_keep_the_tunnel_open() {
        let (mut client, mut app, tunnel) = open();
        let began = Instant::now();
        client.write_all(b"bye").await.unwrap();
        drop(client);
        let mut heard = Vec::new();
        app.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"bye", "it is told that the client has closed");
        assert_eq!(tunnel.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), LAST_WORDS);
        drop(app);
    }

    #[tokio::test(start_paused = true)]
    async fn last_words_arrive_after_the_other_side_has_closed() {
        let (mut client, mut app, tunnel) = open();
        client.shutdown().await.unwrap();
        assert_eq!(app.read(&mut [0; 8]).await.unwrap(), 0);
        app.write_all(b"farewell").await.unwrap();
        drop(app);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"farewell");
        assert!(tunnel.await.unwrap().is_ok());
    }
}
