use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use ebb_core::{
    ServiceKey,
    link::{Frames, PATH, Up},
};
use ebb_proxy::{Drain, Handler, Reply, ResponseBody, metrics, stream::ChannelBody};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::mpsc;
use tracing::warn;

use super::{Events, LinkId};
use crate::{
    metrics::{Metrics, Views},
    runtime::Asks,
    service::Explained,
};

/// Tables that may wait for an activator that is slow to read.
const DOWN_CAPACITY: usize = 1024;

/// Before the namespace and the name of a service, where its decisions are asked for.
const EXPLAIN: &str = "/explain/";

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

/// Takes the activators' streams, and answers `/metrics`, `/healthz` and `/explain` beside them.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) events: Events,
    pub(crate) asks: Asks,
    pub(crate) views: Views,
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
            (&Method::GET, path) if path.starts_with(EXPLAIN) => self.explain(&path[EXPLAIN.len()..]).await,
            _ => Reply::new(
                StatusCode::NOT_FOUND,
                "not-found",
                format!(
                    "only POST {PATH}, GET /metrics, GET /healthz and GET {EXPLAIN}NAMESPACE/SERVICE are served here"
                ),
            )
            .into_response(),
        }
    }
}

impl Intake {
    /// Why the service that `name` says has the pods it has.
    async fn explain(&self, name: &str) -> Response<ResponseBody<()>> {
        let known = match name.parse::<ServiceKey>() {
            Ok(key) => self.asks.history(&key).await.zip(self.views.get(&key)),
            Err(_) => None,
        };
        let Some((history, shown)) = known else {
            let text = format!("no service {name:?} is known; want NAMESPACE/SERVICE");
            return Reply::new(StatusCode::NOT_FOUND, "unknown-service", text).into_response();
        };
        let decisions: Vec<_> = history.iter().map(Explained::to_json).collect();
        let text =
            json!({ "service": name, "now": shown.view.to_json(), "decisions": decisions }).to_string();
        let mut response = Response::new(ResponseBody::own(text));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

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
