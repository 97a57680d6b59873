//! A pod whose every answer the test gives by hand.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
};

use bytes::Bytes;
use ebb_core::{fate::Fate, headers, link::PodEntry};
use ebb_proxy::stream::ChannelBody;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::soon;

type Body = BoxBody<Bytes, Infallible>;

/// A scripted pod. When it is dropped, or vanishes, its port refuses connections and those there were break.
pub(crate) struct Pod {
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
    asks: [mpsc::Sender<Asked>; 2],
    probes: mpsc::Receiver<Asked>,
    requests: mpsc::Receiver<Asked>,
    /// Keeps the port while the pod is away: otherwise another test's server gets it, and answers in its place.
    #[expect(dead_code, reason = "held for its drop alone")]
    port: TcpSocket,
    serving: Option<AbortOnDropHandle<()>>,
}

/// A request that waits for its answer. Dropping it breaks the connection off.
pub(crate) struct Asked {
    pub(crate) request: Request<Incoming>,
    /// Which connection it came on.
    pub(crate) peer: SocketAddr,
    answer: oneshot::Sender<Response<Body>>,
}

impl Pod {
    pub(crate) async fn start(name: &str) -> Self {
        let (probe, probes) = mpsc::channel(10_000);
        let (request, requests) = mpsc::channel(10_000);
        let port = TcpSocket::new_v4().expect("a socket");
        // So that the listener, which reuses addresses as well, can have the same one.
        port.set_reuseaddr(true).expect("an option");
        port.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = port.local_addr().expect("an address");
        let asks = [probe, request];
        let mut pod = Self { address, name: name.into(), asks, probes, requests, port, serving: None };
        pod.comes_back().await;
        pod
    }

    pub(crate) fn entry(&self) -> PodEntry {
        PodEntry {
            name: self.name.clone(),
            address: self.address.to_string(),
            nonce: format!("nonce-of-{}", self.name),
            direct: false,
        }
    }

    /// The next question whether it is ready.
    pub(crate) async fn probe(&mut self) -> Asked {
        soon("a probe", self.probes.recv()).await.expect("the pod lives")
    }

    /// The oldest question whether it is ready, if there is one.
    pub(crate) fn probe_so_far(&mut self) -> Option<Asked> {
        self.probes.try_recv().ok()
    }

    /// Whether nobody has asked again whether it is ready.
    pub(crate) fn is_asked_no_more(&self) -> bool {
        self.probes.is_empty()
    }

    /// Waits for the probe and says that it is ready.
    pub(crate) async fn becomes_ready(&mut self) {
        self.probe().await.says_ready();
    }

    /// The same, and closes the probe's connection, so that the first request needs another.
    pub(crate) async fn becomes_ready_and_hangs_up(&mut self) {
        let mut answer = ready();
        answer.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        self.probe().await.answers(answer);
    }

    /// The next request.
    pub(crate) async fn request(&mut self) -> Asked {
        soon("a request", self.requests.recv()).await.expect("the pod lives")
    }

    /// The requests that have come.
    pub(crate) fn requests_so_far(&mut self) -> Vec<Asked> {
        std::iter::from_fn(|| self.requests.try_recv().ok()).collect()
    }

    /// Answers whatever comes with `respond`, from now on.
    pub(crate) fn serves(&mut self, respond: impl Fn(Asked) + Send + 'static) -> AbortOnDropHandle<()> {
        let (_, nothing) = mpsc::channel(1);
        let mut requests = std::mem::replace(&mut self.requests, nothing);
        AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(asked) = requests.recv().await {
                respond(asked);
            }
        }))
    }

    /// Breaks all connections and refuses others.
    pub(crate) async fn vanishes(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            // Its end means that the port is closed; the connections follow.
            let _ = soon("the pod's end", serving).await;
        }
    }

    /// Takes connections again, at the same address.
    pub(crate) async fn comes_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is the pod's");
        self.serving = Some(serving(listener, self.asks.clone()));
    }
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.request.uri().path()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name).map(|value| value.to_str().expect("text"))
    }

    /// All of the request's body.
    pub(crate) async fn body(&mut self) -> Result<Bytes, hyper::Error> {
        Ok(soon("the request's body", self.request.body_mut().collect()).await?.to_bytes())
    }

    pub(crate) fn answers(self, response: Response<Body>) {
        // The client may have gone.
        let _ = self.answer.send(response);
    }

    pub(crate) fn says_ready(self) {
        self.answers(ready());
    }

    pub(crate) fn says(self, text: &'static str) {
        self.answers(Response::new(full(text)));
    }

    /// Answers as a queue-proxy does whose app did not, and says what became of the request.
    pub(crate) fn hands_back(self, status: StatusCode, reason: &str, fate: Fate) {
        let mut response = Response::new(full("handed back"));
        *response.status_mut() = status;
        response.headers_mut().insert(headers::REASON, reason.parse().expect("a reason"));
        response.headers_mut().insert(headers::FATE, HeaderValue::from_static(fate.word()));
        self.answers(response);
    }

    /// Answers with a body that goes on until the sender is dropped.
    pub(crate) fn streams(self) -> mpsc::Sender<Bytes> {
        let (pieces, body) = ChannelBody::new(16);
        self.answers(Response::new(body.map_err(|error| panic!("{error}")).boxed()));
        pieces
    }

    /// Answers 101 to a request that asks for `protocol`; the connection then belongs to the test.
    pub(crate) fn switches_to(mut self, protocol: &str) -> hyper::upgrade::OnUpgrade {
        assert_eq!(self.header("upgrade"), Some(protocol));
        let upgraded = hyper::upgrade::on(&mut self.request);
        let mut response = Response::new(Empty::new().boxed());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let head: &mut HeaderMap = response.headers_mut();
        head.insert("connection", http::HeaderValue::from_static("upgrade"));
        head.insert("upgrade", protocol.parse().expect("a protocol"));
        self.answers(response);
        upgraded
    }

    pub(crate) fn breaks_off(self) {
        drop(self);
    }

    /// Resolves when whoever asked has gone.
    pub(crate) async fn is_abandoned(&mut self) {
        soon("the request's end", self.answer.closed()).await;
    }
}

fn full(text: &'static str) -> Body {
    Full::new(Bytes::from_static(text.as_bytes())).boxed()
}

fn ready() -> Response<Body> {
    let mut response = Response::new(full(headers::PROBE_QUEUE));
    response.headers_mut().insert(headers::PROBED_BY, http::HeaderValue::from_static(headers::PROBE_QUEUE));
    response
}

/// Accepts until it is dropped; its connections end with it.
fn serving(listener: TcpListener, asks: [mpsc::Sender<Asked>; 2]) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, peer)) = listener.accept().await {
            connections.spawn(connection(stream, peer, asks.clone()));
        }
    }))
}

async fn connection(stream: TcpStream, peer: SocketAddr, [probes, requests]: [mpsc::Sender<Asked>; 2]) {
    let service = service_fn(move |request: Request<Incoming>| {
        let probe = request.headers().get(headers::PROBE).is_some_and(|value| value == headers::PROBE_QUEUE);
        let to = if probe { probes.clone() } else { requests.clone() };
        async move {
            let (answer, answered) = oneshot::channel();
            to.try_send(Asked { request, peer, answer }).map_err(io::Error::other)?;
            answered.await.map_err(io::Error::other)
        }
    });
    let mut first = [0];
    let preface = stream.peek(&mut first).await.is_ok_and(|read| read == 1) && first == *b"P";
    let mut rest = [0; 3];
    let http2 = preface && stream.peek(&mut rest).await.is_ok() && rest == *b"PRI";
    // How a connection ends is the test's business.
    if http2 {
        let _ =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
    } else {
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let _ = connection.with_upgrades().await;
    }
}
