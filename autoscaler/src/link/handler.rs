use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use ebb_core::{
    ServiceKey,
    announce::{self, Announced},
    link::{Frames, PATH, Up},
};
use ebb_proxy::{Drain, Handler, Reply, RequestBody, ResponseBody, metrics, stream::ChannelBody};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tracing::warn;

use super::{Events, LinkId};
use crate::{
    asks::Asks,
    metrics::{Metrics, Outcome},
};
use ebb_decide::platform::{Gate, PodSource};
use ebb_decide::service::Admission;

/// Maximum number of pending messages for an activator that is slow to read.
const DOWN_CAPACITY: usize = 1024;
/// The path prefix before the namespace and the name of a service, for its decisions.
const EXPLAIN: &str = "/explain/";
/// Time limit for the platform to decide whether a client may open a stream; the client waits for three seconds.
const ADMIT_WITHIN: Duration = Duration::from_millis(2_500);
/// Time limit for reading an announcement, which fits into one packet.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// Time limit for the task to judge it, which takes some microseconds.
const JUDGE_WITHIN: Duration = Duration::from_secs(2);
/// Refused streams are logged at most so often; all are counted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// An event of a stream.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// It was opened.
    Joined(LinkId, mpsc::Sender<Bytes>),
    /// A message arrived.
    Said(LinkId, Box<Up>),
    /// It has ended.
    Left(LinkId, LinkEnd),
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkEnd {
    /// The activator closed it.
    Closed,
    /// It broke, because of the network, the activator, or an invalid message.
    BrokeOff,
}

/// An announcement of a pod, which waits for the verdict.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) said: Announced,
    pub(crate) answer: oneshot::Sender<Admission>,
}

/// Accepts the activators' streams and the pods' announcements, and serves `/metrics`, `/healthz` and `/explain`.
pub(crate) struct LinkHandler<P> {
    pub(crate) gate: Arc<P>,
    pub(crate) events: Events,
    pub(crate) heard: mpsc::Sender<Heard>,
    pub(crate) asks: Asks,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) drain: Drain,
    pub(crate) next: AtomicU64,
    /// When a refused stream was last logged.
    pub(crate) told_at: Mutex<Option<Instant>>,
}

impl<P> fmt::Debug for LinkHandler<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkHandler").finish_non_exhaustive()
    }
}

impl<P: Gate + PodSource> Handler for LinkHandler<P> {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<ResponseBody<()>> {
        match (request.method(), request.uri().path()) {
            (&Method::POST, PATH) => self.open(request, peer).await,
            (&Method::POST, announce::PATH) => self.announced(request.into_body(), peer).await,
            (&Method::GET, "/metrics") => metrics::reply(&self.metrics.registry),
            (&Method::GET, "/healthz") => Response::new(ResponseBody::own("ok\n")),
            (&Method::GET, "/readyz") if self.gate.is_ready() => Response::new(ResponseBody::own("ok\n")),
            (&Method::GET, "/readyz") => {
                let text = "not all that there is was seen yet";
                Reply::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", text).into_response()
            }
            (&Method::GET, path) if path.starts_with(EXPLAIN) => self.explain(&path[EXPLAIN.len()..]).await,
            _ => Reply::new(
                StatusCode::NOT_FOUND,
                "not-found",
                format!(
                    "only POST {PATH}, POST {}, GET /metrics, GET /healthz, GET /readyz and GET {EXPLAIN}NAMESPACE/SERVICE are served here",
                    announce::PATH
                ),
            )
            .into_response(),
        }
    }
}

impl<P: Gate + PodSource> LinkHandler<P> {
    /// Explains why the service `name` has its current number of pods, or where the requests of that route go.
    async fn explain(&self, name: &str) -> Response<ResponseBody<()>> {
        let known = match name.parse::<ServiceKey>() {
            Ok(key) => self.asks.explain(&key).await,
            Err(_) => None,
        };
        let Some(known) = known else {
            let text = format!("no service {name:?} is known; want NAMESPACE/SERVICE");
            return Reply::new(StatusCode::NOT_FOUND, "unknown-service", text).into_response();
        };
        let mut response = Response::new(ResponseBody::own(known.to_json(name).to_string()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// Handles a pod's announcement.
    async fn announced(&self, body: RequestBody, peer: SocketAddr) -> Response<ResponseBody<()>> {
        let (outcome, text) = self.judged(body).await;
        self.metrics.announced(outcome);
        if matches!(outcome, Outcome::Forged | Outcome::Malformed) {
            // Any client can send these, so they are counted, and logged only at debug level.
            tracing::debug!(%peer, ?outcome, text, "announcement refused");
        }
        let status = match outcome {
            Outcome::Taken => {
                let mut response = Response::new(ResponseBody::own(""));
                *response.status_mut() = StatusCode::NO_CONTENT;
                return response;
            }
            Outcome::Malformed => StatusCode::BAD_REQUEST,
            Outcome::Forged => StatusCode::FORBIDDEN,
            Outcome::Unknown => StatusCode::NOT_FOUND,
            Outcome::Gone => StatusCode::GONE,
            Outcome::Busy => StatusCode::SERVICE_UNAVAILABLE,
        };
        Reply::new(status, outcome.word(), text).into_response()
    }

    async fn judged(&self, body: RequestBody) -> (Outcome, String) {
        let bytes = match timeout(READ_WITHIN, Limited::new(body, announce::MAX_BYTES).collect()).await {
            Ok(Ok(whole)) => whole.to_bytes(),
            Ok(Err(error)) => return (Outcome::Malformed, error.to_string()),
            Err(_) => return (Outcome::Malformed, format!("not whole within {READ_WITHIN:?}")),
        };
        let said = match announce::read(&bytes) {
            Ok(said) => said,
            Err(error) => return (Outcome::Malformed, error.to_string()),
        };
        let (answer, answered) = oneshot::channel();
        if self.heard.try_send(Heard { said, answer }).is_err() {
            return (Outcome::Busy, "too many announcements wait; come again".to_owned());
        }
        match timeout(JUDGE_WITHIN, answered).await {
            Ok(Ok(Admission::Taken | Admission::Known)) => (Outcome::Taken, String::new()),
            Ok(Ok(Admission::Unknown)) => {
                (Outcome::Unknown, "the pod is not known yet; come again".to_owned())
            }
            Ok(Ok(Admission::Gone)) => (Outcome::Gone, "the pod is gone".to_owned()),
            Ok(Ok(Admission::Forged)) => {
                (Outcome::Forged, "the nonce or the address is not the pod's".to_owned())
            }
            Ok(Err(_)) | Err(_) => (Outcome::Busy, "no answer in time; come again".to_owned()),
        }
    }

    async fn open(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<ResponseBody<()>> {
        match timeout(ADMIT_WITHIN, self.gate.admit(bearer(request.headers()))).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return self.refuse(StatusCode::UNAUTHORIZED, "not-admitted", why, peer),
            Err(_) => {
                let why = format!("whether it may was not known within {ADMIT_WITHIN:?}");
                return self.refuse(StatusCode::SERVICE_UNAVAILABLE, "busy", why, peer);
            }
        }
        let up = request.into_body();
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

    /// Refuses a stream.
    fn refuse(
        &self,
        status: StatusCode,
        reason: &'static str,
        why: String,
        peer: SocketAddr,
    ) -> Response<ResponseBody<()>> {
        self.metrics.refused_streams.inc();
        let mut told_at = self.told_at.lock();
        if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            *told_at = Some(Instant::now());
            warn!(%peer, why, "refused an activator's stream");
        }
        Reply::new(status, reason, why).into_response()
    }
}

/// Returns the bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

async fn read(id: LinkId, mut up: RequestBody, events: Events, peer: SocketAddr) {
    let mut frames = Frames::default();
    let end = 'stream: loop {
        let piece = match up.frame().await {
            Some(Ok(piece)) => piece,
            Some(Err(_)) => break LinkEnd::BrokeOff,
            None => break LinkEnd::Closed,
        };
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
                    warn!(%peer, %error, "an activator sent an invalid message; closing its stream");
                    break 'stream LinkEnd::BrokeOff;
                }
            }
        }
    };
    // The main task ends last: if it is gone, nobody needs the event.
    let _ = events.send(LinkEvent::Left(id, end)).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_told_from_everything_else() {
        let cases = [
            ("Bearer abc.def", Some("abc.def")),
            ("bearer  abc ", Some("abc")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic abc", None),
            ("", None),
        ];
        for (value, want) in cases {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))]);
            assert_eq!(bearer(&headers), want, "{value:?}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
