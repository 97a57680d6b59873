//! After `101 Switching Protocols` the hop only copies bytes. When one side closes, the other is told and has
//! a moment to finish what it says; then the tunnel is closed whatever it does, because it holds a slot.

use std::{io, pin::pin, time::Duration};

use http::{HeaderValue, Response, StatusCode, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, copy_buf, split},
    time::timeout,
};
use tracing::debug;

use crate::{
    body::ResponseBody,
    drain::{Drain, Stage},
    reply::Reply,
};

/// Bytes buffered in each direction of an upgraded connection. They are resident for each idle socket.
const BUFFER: usize = 4 * 1024;
/// How long one side may go on after the other has closed. A WebSocket's closing handshake is over by then;
/// an app that never closes its half would keep the slot for ever.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Answers 101 and joins the two sides in a task that the drain waits for.
pub(crate) fn switch<G: Send + 'static>(
    mut response: Response<Incoming>,
    client: Option<OnUpgrade>,
    guard: G,
    drain: &Drain,
) -> Response<ResponseBody<G>> {
    let Some(client) = client else {
        return Reply::new(StatusCode::BAD_GATEWAY, "unasked-upgrade", "upstream switched protocols unasked")
            .into_response();
    };
    let upstream = hyper::upgrade::on(&mut response);
    let task = drain.clone();
    // For hyper the connection ends with the upgrade: from here on it is counted here.
    let open = drain.connection();
    drain.tasks().spawn(async move {
        let _until_closed = (guard, open);
        tokio::select! {
            ended = join(client, upstream) => if let Err(error) = ended {
                debug!(%error, "upgraded connection ended");
            },
            () = task.reached(Stage::Aborted) => {}
        }
    });
    let mut answer = Response::new(ResponseBody::own(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer
}

async fn join(
    client: OnUpgrade,
    upstream: OnUpgrade,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (client, upstream) = tokio::try_join!(client, upstream)?;
    tunnel(TokioIo::new(client), TokioIo::new(upstream)).await?;
    Ok(())
}

/// Copies both ways until both sides have closed, or one has and the other goes on for too long.
async fn tunnel(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
) -> io::Result<()> {
    let (client_says, client_hears) = split(client);
    let (upstream_says, upstream_hears) = split(upstream);
    let mut up = pin!(relay(client_says, upstream_hears));
    let mut down = pin!(relay(upstream_says, client_hears));
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

/// Copies until the end of `from`, and tells `to` of it.
async fn relay(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy_buf(&mut BufReader::with_capacity(BUFFER, from), &mut to).await?;
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
        (client, app, tokio::spawn(tunnel(near, far)))
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
