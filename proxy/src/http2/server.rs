//! A client's connection: many requests at once, each in its own task.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream,
    server::{Builder, SendResponse},
};
use http::{Method, Request, Response, header};
use http_body::Body;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, sleep_until},
};
use tracing::debug;

use super::{
    CONNECTION_WINDOW, FRAMES_BUDGET, Incoming, MAX_HEADER_BYTES, MAX_SEND_BUFFER, Outgoing, STREAM_WINDOW,
    Stopped,
    alive::{Heard, lost},
    heads::Heads,
    untaken::Untaken,
};
use crate::{
    body::{RequestBody, ResponseBody},
    date,
    drain::Drain,
    interim::Interims,
    server::{Busy, Limits, Presence},
};

/// How long a connection that must make room may send the requests that were on their way. A silent client would
/// otherwise keep its place, and a client that waits for the place has no way to tell.
const FAREWELL: Duration = Duration::from_millis(100);
/// How long a client may take to read a reply of Ebb's own, which has a few kilobytes. Without this limit it would
/// keep a place that others need.
const OWN_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait for data from before a broken response to be written.
const WRITTEN_WITHIN: Duration = Duration::from_millis(20);
/// Maximum number of interim responses to one request. `h2` keeps those that the client does not read.
const MOST_INTERIMS: usize = 100;
/// Maximum number of streams that are reset because of a client's faults; more are treated as a flood.
const MOST_FAULTS: usize = 1024;

/// Serves a client on `stream` until the connection ends. Once it has `aged`, the client is asked to go.
///
/// # Errors
///
/// Returns an error if the client violates the protocol, or the connection fails.
pub(crate) async fn serve<F, G>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    presence: &Arc<Presence>,
    drain: &Drain,
    limits: &Limits,
    aged: impl Future<Output = ()>,
    answer: impl Fn(Request<RequestBody>) -> F,
) -> Result<(), h2::Error>
where
    F: Future<Output = Response<ResponseBody<G>>> + Send + 'static,
    G: Send + 'static,
{
    let (stream, hearing) = Heard::new(stream);
    let untaken = Untaken::new(limits.frames.clone());
    let (heads, since) = Heads::new(limits.heads.clone(), untaken.clone());
    let mut connection = Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_local_error_reset_streams(Some(MOST_FAULTS))
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .data_frame_budget(FRAMES_BUDGET)
        .handshake::<_, Bytes>(stream.counting(heads))
        .await?;
    let liveness = limits.liveness;
    let within = liveness.interval * liveness.probes;
    let mut lost = pin!(lost(connection.ping_pong(), hearing, [liveness.idle, within], || true));
    let mut late = pin!(since.too_long(limits.head_timeout));
    let mut leaving = pin!(async {
        tokio::select! {
            () = drain.leaving() => {}
            () = aged => {}
        }
    });
    let mut unused = pin!(unused(presence, limits.idle_timeout));
    let mut silent = pin!(has_no_more(presence));
    let (mut goes, mut is_unused) = (false, false);
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                let busy = Busy::begin(presence);
                let (request, interims) = taken(request, &untaken);
                let is_head = *request.method() == Method::HEAD;
                // Box it once, here: otherwise the task would contain it twice.
                let answering = Box::pin(answer(request));
                drain.tasks().spawn(async move {
                    respond_with(answering, is_head, interims, respond).await;
                    drop(busy);
                });
            }
            // GOAWAY names the last stream that was accepted, so the sender knows what to repeat elsewhere.
            () = &mut leaving, if !goes => {
                goes = true;
                connection.graceful_shutdown();
            }
            // This also applies to a client that was asked to go, which may ignore it.
            () = &mut unused, if !is_unused => {
                (goes, is_unused) = (true, true);
                connection.graceful_shutdown();
            }
            () = &mut silent, if is_unused => return Ok(()),
            () = &mut late => {
                debug!("the head was not complete in time");
                return Ok(());
            }
            () = &mut lost => {
                debug!("the client does not respond");
                return Ok(());
            }
        }
    }
}

/// Resolves when the connection's place is needed, or no stream was open on it for `limit`.
async fn unused(presence: &Presence, limit: Duration) {
    let idle = async {
        loop {
            let due = presence.idle_since().unwrap_or_else(Instant::now) + limit;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    };
    tokio::select! {
        () = presence.evicted() => {}
        () = idle => {}
    }
}

/// Resolves when a connection that was told to go has no more requests, even if its client never closes it.
async fn has_no_more(presence: &Presence) {
    loop {
        sleep(FAREWELL).await;
        if !presence.is_used() {
            return;
        }
    }
}

/// Returns the request, and the channel for its interim responses.
fn taken(request: Request<RecvStream>, untaken: &Untaken) -> (Request<RequestBody>, Interims) {
    let (mut head, stream) = request.into_parts();
    let interims = Interims::default();
    head.extensions.insert(interims.clone());
    let id = stream.stream_id().as_u32();
    let frames = if stream.is_end_stream() {
        untaken.whole(id);
        None
    } else {
        Some(untaken.of(id))
    };
    let body = Incoming::new(stream, &head.headers).counting(frames);
    (Request::from_parts(head, body.into()), interims)
}

/// Sends the response of `answering`, unless the client cancels its request first. A HEAD request gets no body.
async fn respond_with<G>(
    mut answering: impl Future<Output = Response<ResponseBody<G>>> + Unpin,
    is_head: bool,
    interims: Interims,
    mut respond: SendResponse<Bytes>,
) {
    let mut may_follow = MOST_INTERIMS;
    let response = poll_fn(|cx| {
        let answered = Pin::new(&mut answering).poll(cx);
        for interim in interims.take(cx.waker()) {
            if may_follow == 0 {
                break;
            }
            may_follow -= 1;
            if let Err(error) = respond.send_informational(Response::from_parts(interim, ())) {
                debug!(%error, "failed to send an interim response");
            }
        }
        match answered {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => respond.poll_reset(cx).map(|_| None),
        }
    });
    let Some(response) = response.await else { return };
    let (mut head, body) = response.into_parts();
    let is_own = body.is_own();
    let mut body = pin!(body);
    date::add_missing(&mut head.headers);
    let is_whole = is_head || body.is_end_stream();
    if let (false, Some(length)) = (is_whole, body.size_hint().exact()) {
        head.headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    let stream = match respond.send_response(Response::from_parts(head, ()), is_whole) {
        Ok(stream) => stream,
        Err(error) => {
            debug!(%error, "failed to send a response");
            return respond.send_reset(Reason::INTERNAL_ERROR);
        }
    };
    if is_whole {
        return;
    }
    let mut out = Outgoing::new(stream);
    let sent = poll_fn(|cx| match out.poll_send(body.as_mut(), cx) {
        // Otherwise the body itself was just polled.
        Poll::Pending if out.is_blocked() => match body.as_mut().poll_meanwhile(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(Stopped::Body(error))),
        },
        sent => sent,
    });
    let stopped = tokio::select! {
        sent = sent => sent.err(),
        () = sleep(OWN_WITHIN), if is_own => return out.reset(Reason::CANCEL),
    };
    if let Some(Stopped::Body(error)) = stopped {
        debug!(%error, "a response broke off");
        // A reset would overtake data that is still to be written.
        sleep(WRITTEN_WITHIN).await;
        out.reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
    }
}
