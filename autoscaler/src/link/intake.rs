use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use ebb_core::link::{Frames, PATH, Up};
use ebb_proxy::{Drain, Handler, Reply, ResponseBody, metrics, stream::ChannelBody};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Events, LinkId};
use crate::metrics::Metrics;

/// Tables that may wait for an activator that is slow to read.
const DOWN_CAPACITY: usize = 1024;

/// What happened on a stream.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It was opened.
    Joined(LinkId, mpsc::Sender<Bytes>),
    /// A message came.
    Said(LinkId, Box<Up>),
    /// It has ended.
    Left(LinkId),
}

/// Takes the activators' streams, and answers `/metrics` and `/healthz` beside them.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
    pub(crate) next: AtomicU64,
}

impl Handler for Intake {
    type Guard = ();

    async fn call(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<ResponseBody<()>> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, PATH) => self.open(request.into_body(), peer).await,
            (&Method::GET, "/metrics") => metrics::reply(&self.metrics.registry),
            (&Method::GET, "/healthz") => Response::new(ResponseBody::own("ok\n")),
            _ => Reply::new(
                StatusCode::NOT_FOUND,
                "not-found",
                format!("only POST {PATH}, GET /metrics and GET /healthz are served here"),
            )
            .into_response(),
        }
    }
}

impl Intake {
    async fn open(&self, up: Incoming, peer: SocketAddr) -> Response<ResponseBody<()>> {
        let id = LinkId(self.next.fetch_add(1, Ordering::Relaxed));
        let (down, body) = ChannelBody::new(DOWN_CAPACITY);
        if self.events.send(LinkEvent::Joined(id, down)).await.is_err() {
            let text = "the autoscaler is ending";
            return Reply::new(StatusCode::SERVICE_UNAVAILABLE, "ending", text).into_response();
        }
        let reader = read(id, up, self.events.clone(), peer);
        let drain = self.drain.clone();
        // Ends with the stream, or with the autoscaler.
        tokio::spawn(async move {
            tokio::select! {
                () = reader => {}
                () = drain.leaving() => {}
            }
        });
        Response::new(ResponseBody::streamed(body))
    }
}

async fn read(id: LinkId, mut up: Incoming, events: Events, peer: SocketAddr) {
    let mut frames = Frames::default();
    'stream: while let Some(Ok(piece)) = up.frame().await {
        let Ok(bytes) = piece.into_data() else { continue };
        frames.push(&bytes);
        loop {
            match frames.next_message::<Up>() {
                Ok(Some(message)) => {
                    if events.send(LinkEvent::Said(id, Box::new(message))).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    warn!(%peer, %error, "an activator sent what cannot be read; closing its stream");
                    break 'stream;
                }
            }
        }
    }
    // The one task ends last: where it is gone, nobody asks who left.
    let _ = events.send(LinkEvent::Left(id)).await;
}
