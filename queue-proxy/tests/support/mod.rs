//! A pod on loopback: a client, the sidecar as a library, and an app that does what the test says.
//!
//! Nothing here sleeps. The app hands each request to the test, which answers when it wants to. A condition without
//! an event ([`until`]) is checked again whenever the runtime has done something.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file is a crate of its own and uses its part of this"
)]
#![allow(clippy::unnecessary_wraps, reason = "`data` makes what the channel of `frames` takes")]

mod app;
mod client;

use std::{future::Future, io, net::Ipv4Addr, net::SocketAddr, time::Duration};

use bytes::Bytes;
use ebb_core::stat::Stat;
use ebb_proxy::{ConnectionLimits, Quiet, WallClock};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming};
use prost::Message;
use queue_proxy::{Config, Listeners, QueueProxy};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

pub(crate) use app::{App, Exchange};
pub(crate) use client::{Client, Client2, RawClient};

/// Far more than any wait here needs, so that a fault fails the test, but a busy machine does not.
const GENEROUS: Duration = Duration::from_secs(20);

/// The body of any request in a test.
pub(crate) type AnyBody = BoxBody<Bytes, io::Error>;

/// Waits for something that must happen.
#[track_caller]
pub(crate) fn within<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let caller = std::panic::Location::caller();
    async move {
        timeout(GENEROUS, future)
            .await
            .unwrap_or_else(|_| panic!("{caller}: it did not come in {GENEROUS:?}"))
    }
}

/// Waits for a condition without an event.
#[track_caller]
pub(crate) fn until(mut reached: impl FnMut() -> bool) -> impl Future<Output = ()> {
    within(async move {
        while !reached() {
            tokio::task::yield_now().await;
        }
    })
}

/// Returns no body.
pub(crate) fn empty() -> AnyBody {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// Returns a body with a known length.
pub(crate) fn full(bytes: impl Into<Bytes>) -> AnyBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// Returns the sender of a body's frames, and the body, which has no known length. Sending an error ends it early.
pub(crate) fn frames() -> (mpsc::Sender<io::Result<Frame<Bytes>>>, AnyBody) {
    let (sender, frames) = mpsc::channel(1);
    (sender, Frames(frames).boxed())
}

/// Returns a data frame.
pub(crate) fn data(bytes: impl Into<Bytes>) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(bytes.into()))
}

struct Frames(mpsc::Receiver<io::Result<Frame<Bytes>>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx)
    }
}

/// Returns `GET path` with a `Host`, which HTTP/1.1 requires.
pub(crate) fn get(path: &str) -> Request<AnyBody> {
    Request::get(path).header("host", "shop.example").body(empty()).unwrap()
}

/// Returns `POST path`.
pub(crate) fn post(path: &str, body: AnyBody) -> Request<AnyBody> {
    Request::post(path).header("host", "shop.example").body(body).unwrap()
}

/// Reads a complete body.
pub(crate) async fn read(body: impl Body<Data = Bytes, Error = hyper::Error> + Unpin) -> Bytes {
    within(body.collect()).await.unwrap().to_bytes()
}

/// Reads a complete body as text.
pub(crate) async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(read(response.into_body()).await.to_vec()).unwrap()
}

/// Reads the next piece of a body as text.
pub(crate) async fn piece(body: &mut Incoming) -> String {
    let frame = within(body.frame()).await.expect("one more frame").unwrap();
    String::from_utf8(frame.into_data().expect("data").to_vec()).unwrap()
}

/// The sidecar under test.
pub(crate) struct Pod {
    pub(crate) proxy: QueueProxy,
    pub(crate) serving: SocketAddr,
    pub(crate) stats: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Pod {
    /// Starts it in front of `app`. `change` modifies the plain configuration: no concurrency limit, no probe, a
    /// minute per request.
    pub(crate) async fn start(app: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        let listeners = [listen().await, listen().await, listen().await];
        let [serving, stats, admin] = [0, 1, 2].map(|index: usize| listeners[index].local_addr().unwrap());
        let mut config = Config {
            serving,
            stats,
            admin,
            app,
            pod: "pod-1".into(),
            container_concurrency: None,
            request_timeout: Duration::from_secs(60),
            response_start_timeout: None,
            app_protocol: None,
            idle_timeout: None,
            late_response: ebb_core::LateResponse::Cut,
            connections: ConnectionLimits::default(),
            probes: Vec::new(),
            nonce: None,
            announce: None,
            drain: quick(),
        };
        change(&mut config);
        let [serving_listener, stats_listener, admin_listener] = listeners;
        let listeners =
            Listeners { serving: serving_listener, stats: stats_listener, admin: Some(admin_listener) };
        let proxy = QueueProxy::start(config, listeners, WallClock::start());
        Self { proxy, serving, stats, admin }
    }

    /// Waits until `count` requests are in flight.
    #[track_caller]
    pub(crate) fn until_in_flight(&self, count: u32) -> impl Future<Output = ()> {
        until(move || self.proxy.in_flight() == f64::from(count))
    }

    /// Returns the value of the metric `name`.
    pub(crate) async fn metric(&self, name: &str) -> String {
        self.try_metric(name).await.unwrap_or_else(|| panic!("no {name}"))
    }

    /// The same, or `None` if the metric does not exist yet.
    pub(crate) async fn try_metric(&self, name: &str) -> Option<String> {
        let request = Request::get("/metrics").header("accept", "application/openmetrics-text");
        let mut scraper = Client::connect(self.stats).await;
        let page = text(scraper.send(request.body(empty()).unwrap()).await).await;
        let line = page.lines().find(|line| line.starts_with(name) && !line.starts_with('#'));
        Some(line?.rsplit(' ').next().unwrap().to_owned())
    }

    /// Returns what the autoscaler would scrape.
    pub(crate) async fn stat(&self) -> Stat {
        let mut scraper = Client::connect(self.stats).await;
        let answer = scraper.send(Request::get("/metrics").body(empty()).unwrap()).await;
        Stat::decode(read(answer.into_body()).await).unwrap()
    }
}

/// Returns a drain that ends soon after the last request, and never cuts.
pub(crate) fn quick() -> Quiet {
    Quiet { quiet: Duration::from_millis(50), limit: GENEROUS }
}

/// Returns a listener on a free port.
pub(crate) async fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

/// Returns the address of a port on which nobody listens.
pub(crate) async fn free_port() -> SocketAddr {
    listen().await.local_addr().unwrap()
}
