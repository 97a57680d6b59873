//! After `101 Switching Protocols`, the hop only copies bytes. When one side closes, the other is told and has a
//! moment to finish; then the tunnel is closed in any case, because it holds a slot.

mod stalls;
mod term;

use std::{io, pin::pin, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, split},
    time::timeout,
};
use tracing::debug;

use crate::{
    drain::{Drain, Stage},
    net::{Liveness, Stream},
};

use stalls::Watched;
pub(crate) use term::Term;
use term::Watch;

/// Buffer size for each direction of an upgraded connection, in bytes. The buffers stay allocated for each idle
/// tunnel.
const BUFFER: usize = 4 * 1024;
/// How long one side may continue after the other has closed. That is enough for a WebSocket's closing handshake; an
/// app that never closes its half would keep the slot for ever.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// One end of a tunnel.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) stream: Stream,
    /// How soon it is found to be gone.
    pub(crate) liveness: Liveness,
    /// Bytes after the head, which already belong to the tunnel.
    pub(crate) unread: BytesMut,
}

/// Joins two ends until both have finished, their term is over, or the drain has taken too long.
pub(crate) async fn join(client: End, upstream: End, term: Term, drain: &Drain) -> io::Result<()> {
    let [client, upstream] =
        [client, upstream].map(|end| (Watched::new(end.stream, end.liveness), end.unread.freeze()));
    tokio::select! {
        ended = tunnel(client, upstream, term) => ended,
        () = drain.reached(Stage::Aborted) => Ok(()),
    }
}

/// Copies in both directions until both sides have closed, one side continues for too long after the other has
/// closed, or the term is over. Each side comes with the bytes that it has already sent.
async fn tunnel(
    (client, client_said): (impl AsyncRead + AsyncWrite, Bytes),
    (upstream, upstream_said): (impl AsyncRead + AsyncWrite, Bytes),
    term: Term,
) -> io::Result<()> {
    let watch = Watch::begin(term);
    tokio::select! {
        ended = copy_both_ways((client, client_said), (upstream, upstream_said), &watch) => ended,
        why = watch.over() => {
            debug!(why, "closed an upgraded connection");
            Ok(())
        }
    }
}

async fn copy_both_ways(
    (client, client_said): (impl AsyncRead + AsyncWrite, Bytes),
    (upstream, upstream_said): (impl AsyncRead + AsyncWrite, Bytes),
    watch: &Watch,
) -> io::Result<()> {
    let (client_says, client_hears) = split(client);
    let (upstream_says, upstream_hears) = split(upstream);
    let mut up = pin!(relay(client_said, client_says, upstream_hears, watch));
    let mut down = pin!(relay(upstream_said, upstream_says, client_hears, watch));
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

/// Copies the bytes in `said` and then all that follow, and tells `to` about the end.
async fn relay(
    said: Bytes,
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    watch: &Watch,
) -> io::Result<()> {
    let mut from = BufReader::with_capacity(BUFFER, AsyncReadExt::chain(&*said, from));
    loop {
        if from.buffer().is_empty() {
            // TLS keeps written data until it is flushed; for TCP this does nothing.
            to.flush().await?;
        }
        let read = from.fill_buf().await?;
        if read.is_empty() {
            return to.shutdown().await;
        }
        let written = to.write(read).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        from.consume(written);
        watch.passed();
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, DuplexStream, duplex},
        task::JoinHandle,
        time::Instant,
    };

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the two ends of a tunnel, and the tunnel, which has no term.
    fn open() -> (DuplexStream, DuplexStream, JoinHandle<io::Result<()>>) {
        open_for(Term::default())
    }

    fn open_for(term: Term) -> (DuplexStream, DuplexStream, JoinHandle<io::Result<()>>) {
        let (client, near) = duplex(1024);
        let (far, app) = duplex(1024);
        (client, app, tokio::spawn(tunnel((near, Bytes::new()), (far, Bytes::new()), term)))
    }

    /// Sends one byte, and waits until it is received.
    async fn say(from: &mut DuplexStream, to: &mut DuplexStream) {
        from.write_all(b"x").await.unwrap();
        assert_eq!(to.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_on_which_nothing_passes_is_ended_on_both_sides() {
        let (mut client, mut app, tunnel) = open_for(Term { idle: Some(60 * SECOND), until: None });
        let began = Instant::now();
        assert!(tunnel.await.unwrap().is_ok());
        assert_eq!(began.elapsed(), 60 * SECOND);
        assert_eq!((client.read(&mut [0; 8]).await.unwrap(), app.read(&mut [0; 8]).await.unwrap()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_is_busy_in_one_direction_is_not_idle() {
        for upwards in [true, false] {
            let (mut client, mut app, tunnel) = open_for(Term { idle: Some(60 * SECOND), until: None });
            for _ in 0..10 {
                tokio::time::advance(59 * SECOND).await;
                if upwards {
                    say(&mut client, &mut app).await;
                } else {
                    say(&mut app, &mut client).await;
                }
            }
            let silent_since = Instant::now();
            assert!(tunnel.await.unwrap().is_ok());
            assert_eq!(silent_since.elapsed(), 60 * SECOND, "upwards: {upwards}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_nobody_takes_do_not_pass() {
        let (mut client, app, tunnel) = open_for(Term { idle: Some(60 * SECOND), until: None });
        let began = Instant::now();
        let writing = tokio::spawn(async move { client.write_all(&[0; 16 * 1024]).await });
        assert!(tunnel.await.unwrap().is_ok());
        assert_eq!(began.elapsed(), 60 * SECOND);
        assert!(writing.await.unwrap().is_err());
        drop(app);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_ends_with_its_time_however_busy_it_is() {
        let began = Instant::now();
        let (mut client, mut app, tunnel) = open_for(Term { idle: None, until: Some(began + 100 * SECOND) });
        for _ in 0..99 {
            tokio::time::advance(SECOND).await;
            say(&mut client, &mut app).await;
        }
        assert!(tunnel.await.unwrap().is_ok());
        assert_eq!(began.elapsed(), 100 * SECOND);
        assert_eq!((client.read(&mut [0; 8]).await.unwrap(), app.read(&mut [0; 8]).await.unwrap()), (0, 0));
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
