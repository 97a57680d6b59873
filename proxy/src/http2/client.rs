//! A connection to an app or a pod, and its requests.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, client};
use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    time::timeout,
};

use super::{
    CONNECTION_WINDOW, FRAMES_BUDGET, Incoming, MAX_HEADER_BYTES, MAX_SEND_BUFFER, Outgoing, Room,
    STREAM_WINDOW, Stopped,
    alive::{Heard, lost},
};
use crate::{
    body::{BodyError, RequestBody},
    interim::Interims,
};

/// How long to wait for a server's settings, which it sends first.
const TOLD_WITHIN: Duration = Duration::from_millis(250);

/// Opens streams on a connection.
pub(crate) type Sender = client::SendRequest<Bytes>;

/// Starts HTTP/2 on `stream`. The connection lasts until its senders and streams are dropped, its server closes it,
/// or the server does not answer a `ping` while streams are open. `room` is told its end and the server's limit.
///
/// # Errors
///
/// Returns an error if the connection fails at once.
pub(crate) async fn begin(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    room: Arc<Room>,
    ping: Option<Duration>,
) -> Result<Sender, h2::Error> {
    let (stream, hearing) = Heard::new(stream);
    let (sender, mut connection) = client::Builder::new()
        .enable_push(false)
        .initial_max_send_streams(Room::UNTOLD)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .data_frame_budget(FRAMES_BUDGET)
        .handshake(stream)
        .await?;
    let (pings, every) = (connection.ping_pong().filter(|_| ping.is_some()), ping.unwrap_or_default());
    let (tell, told) = oneshot::channel();
    let mut tell = Some(tell);
    tokio::spawn(async move {
        let mut lost = pin!(lost(pings, hearing, [every; 2], || room.is_used()));
        let ended = poll_fn(|cx| {
            if lost.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            // This is polled for each opened stream: often enough to see the limit when it matters.
            let ended = Pin::new(&mut connection).poll(cx);
            let limit = connection.max_concurrent_send_streams();
            room.limit_to(limit);
            if limit != Room::UNTOLD
                && let Some(tell) = tell.take()
            {
                // The receiver may be gone.
                let _ = tell.send(Ok(()));
            }
            ended
        });
        let ended = ended.await;
        room.close();
        if let Err(error) = ended {
            tracing::debug!(%error, "upstream connection ended");
            let _ = tell.map(|tell| tell.send(Err(error)));
        }
    });
    // Do not send a hundred streams to a server that takes one at a time, and none to a server that does not speak
    // HTTP/2.
    match timeout(TOLD_WITHIN, told).await {
        Ok(Ok(Err(error))) => Err(error),
        // The server closed the connection without a response.
        Ok(Err(_)) => Err(Reason::HTTP_1_1_REQUIRED.into()),
        Ok(Ok(Ok(()))) | Err(_) => Ok(sender),
    }
}

/// Why a request got no response.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection accepts no more streams: nothing of the request was sent.
    Unsent(h2::Error),
    /// The connection failed after that.
    Failed(h2::Error),
    /// The request's own body ended early.
    Request(BodyError),
}

/// Sends a request and waits for the head of the response. Interim responses go to `interims`.
pub(crate) async fn exchange(
    sender: Sender,
    mut request: Request<()>,
    body: RequestBody,
    interims: Option<Interims>,
) -> Result<Response<Answer>, Broken> {
    let mut sender = sender.ready().await.map_err(Broken::Unsent)?;
    let is_whole = body.is_end_stream();
    if let (false, Some(length)) = (is_whole, body.size_hint().exact()) {
        request.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    let (mut answer, out) = sender.send_request(request, is_whole).map_err(Broken::Unsent)?;
    let mut upload = (!is_whole).then(|| Upload { body, out: Outgoing::new(out) });
    let answer = poll_fn(|cx| {
        poll_upload(&mut upload, cx).map_err(Broken::Request)?;
        while let Poll::Ready(Some(Ok(interim))) = answer.poll_informational(cx) {
            if let Some(interims) = &interims {
                interims.push(interim.into_parts().0);
            }
        }
        Pin::new(&mut answer).poll(cx).map_err(Broken::Failed)
    });
    let (head, stream) = answer.await?.into_parts();
    let incoming = Incoming::new(stream, &head.headers);
    Ok(Response::from_parts(head, Answer { incoming, upload }))
}

/// The rest of a request.
#[derive(Debug)]
struct Upload {
    body: RequestBody,
    out: Outgoing,
}

/// Sends more of the body. If the server does not accept more, that is not an error; the response is still read.
fn poll_upload(upload: &mut Option<Upload>, cx: &mut Context<'_>) -> Result<(), BodyError> {
    let Some(Upload { body, out }) = upload else { return Ok(()) };
    match out.poll_send(Pin::new(body), cx) {
        Poll::Pending => {}
        Poll::Ready(Ok(()) | Err(Stopped::Refused)) => *upload = None,
        Poll::Ready(Err(Stopped::Body(error))) => {
            out.reset(error.reason().unwrap_or(Reason::CANCEL));
            *upload = None;
            return Err(error);
        }
    }
    Ok(())
}

/// The body of a response, while the rest of its request is sent.
#[derive(Debug)]
pub(crate) struct Answer {
    incoming: Incoming,
    upload: Option<Upload>,
}

impl Answer {
    /// Sends the rest of the request.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        poll_upload(&mut self.upload, cx)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_upload(cx)?;
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
