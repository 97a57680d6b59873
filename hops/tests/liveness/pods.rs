//! A pod vanishes: requests on their way to it go elsewhere if allowed, and no more are sent there until it is back.

use std::{net::SocketAddr, time::Duration};

use ebb_hops::{
    Hops,
    app::{App, Script},
    client::{Answers, Client},
    has_a_reason,
    net::{Net, Spoke, in_a_net},
    pod_at,
};
use queue_proxy::QueueProxy;

use crate::{
    clients::{SWITCH, web_socket},
    http2, reached, within,
};

/// [`ebb_proxy::net::Liveness::POD`] is five seconds; plus one for the rest.
const NOTICED: Duration = Duration::from_secs(6);
/// A pod that is not tried costs no time.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The next probe finds a pod that is back; its answer is awaited for at most 22 s.
const BACK: Duration = Duration::from_secs(25);

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";

/// A pod at the far end of a link.
struct Pod<A> {
    app: A,
    address: SocketAddr,
    _sidecar: QueueProxy,
}

impl<A: Send + 'static> Pod<A> {
    async fn start(
        spoke: &Spoke,
        app: impl Future<Output = A> + Send + 'static,
        address: fn(&A) -> SocketAddr,
    ) -> Self {
        let there = spoke.there;
        spoke
            .run(async move {
                let app = app.await;
                let (sidecar, at) = pod_at(there, address(&app)).await;
                Self { app, address: at, _sidecar: sidecar }
            })
            .await
    }

    async fn on_each(net: &Net, app: fn() -> BoxedApp<A>, address: fn(&A) -> SocketAddr) -> Vec<Self> {
        let mut pods = Vec::new();
        for spoke in &net.spokes {
            pods.push(Self::start(spoke, app(), address).await);
        }
        pods
    }
}

type BoxedApp<A> = std::pin::Pin<Box<dyn Future<Output = A> + Send>>;

async fn http1_pods(net: &Net) -> (Vec<Pod<App>>, Hops) {
    let start = || -> BoxedApp<App> { Box::pin(App::start(Script::answering(OK))) };
    let pods = Pod::on_each(net, start, |app: &App| app.address).await;
    let hops = before(&pods).await;
    let mut client = Client::connect(hops.entry).await;
    while pods.iter().any(|pod| pod.app.seen().is_empty()) {
        assert_eq!(client.ask(GET).await.status, 200);
    }
    (pods, hops)
}

async fn http2_pods(net: &Net) -> (Vec<Pod<http2::App>>, Hops) {
    let start = || -> BoxedApp<http2::App> { Box::pin(http2::App::start()) };
    let pods = Pod::on_each(net, start, |app: &http2::App| app.address).await;
    let hops = before(&pods).await;
    let mut client = http2::Client::connect(hops.entry).await;
    while pods.iter().any(|pod| *pod.app.deliveries.lock() == 0) {
        assert_eq!(client.status().await, 200);
    }
    (pods, hops)
}

async fn before<A>(pods: &[Pod<A>]) -> Hops {
    let addresses: Vec<_> = pods.iter().map(|pod| pod.address).collect();
    Hops::before(std::net::Ipv4Addr::LOCALHOST.into(), &addresses).await
}

#[test]
fn a_get_on_a_kept_connection_to_a_pod_that_vanished_is_answered_by_another() {
    in_a_net(2, async |net| {
        let (pods, hops) = http1_pods(&net).await;
        let mut client = Client::connect(hops.entry).await;
        net.spokes[0].cut();
        while hops.ready_pods() == 2 {
            let (answer, _) = within(NOTICED, "a GET after the cut", client.ask(GET)).await;
            assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
        }
        for _ in 0..10 {
            let (answer, _) = within(AT_ONCE, "a GET once the pod is set aside", client.ask(GET)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }

        let before = pods[0].app.seen().len();
        assert_eq!(hops.ready_pods(), 1, "it cannot be reached");
        net.spokes[0].mend();
        within(BACK, "the pod is back", reached(|| hops.ready_pods() == 2)).await;
        let asked = async {
            while pods[0].app.seen().len() == before {
                assert_eq!(client.ask(GET).await.status, 200);
            }
        };
        within(BACK, "it is asked again", asked).await;
    });
}

#[test]
fn a_post_to_a_pod_that_vanished_is_answered_soon_and_sent_once() {
    in_a_net(2, async |net| {
        let (pods, hops) = http1_pods(&net).await;
        let mut client = Client::connect(hops.entry).await;
        let before = pods[1].app.seen().len();
        net.spokes[0].cut();
        let (mut served, mut lost) = (0, 0);
        while hops.ready_pods() == 2 {
            let (answer, _) = within(NOTICED, "a POST after the cut", client.ask(POST)).await;
            if answer.status == 502 {
                has_a_reason(&answer);
                lost += 1;
            } else {
                assert_eq!(answer.status, 200, "{answer:?}");
                served += 1;
            }
        }
        assert_eq!((lost, pods[1].app.seen().len() - before), (1, served), "none is sent to both");
    });
}

#[test]
fn a_get_on_a_connection_of_http2_to_a_pod_that_vanished_is_answered_by_another() {
    in_a_net(2, async |net| {
        let (pods, hops) = http2_pods(&net).await;
        let mut client = http2::Client::connect(hops.entry).await;
        net.spokes[0].cut();
        while hops.ready_pods() == 2 {
            let (status, _) = within(NOTICED, "a GET after the cut", client.status()).await;
            assert_eq!(status, 200);
        }
        for _ in 0..10 {
            let (status, _) = within(AT_ONCE, "a GET once the pod is set aside", client.status()).await;
            assert_eq!(status, 200);
        }

        let before = *pods[0].app.deliveries.lock();
        assert_eq!(hops.ready_pods(), 1, "it cannot be reached");
        net.spokes[0].mend();
        within(BACK, "the pod is back", reached(|| hops.ready_pods() == 2)).await;
        let asked = async {
            while *pods[0].app.deliveries.lock() == before {
                let (status, _) = within(AT_ONCE, "a GET once the pod is back", client.status()).await;
                assert_eq!(status, 200);
            }
        };
        within(BACK, "it is asked again", asked).await;
    });
}

#[test]
fn a_lone_pod_that_vanished_is_not_asked_on_its_dead_connection_of_http2_twice() {
    in_a_net(1, async |net| {
        let (pods, hops) = http2_pods(&net).await;
        let mut client = http2::Client::connect(hops.entry).await;
        let before = *pods[0].app.deliveries.lock();
        net.spokes[0].cut();
        let asked = client.get();
        let mended = async {
            reached(|| hops.ready_pods() == 0).await;
            net.spokes[0].mend();
        };
        let (answered, ()) =
            within(NOTICED, "a GET until the cut is mended", async { tokio::join!(asked, mended) }).await.0;
        assert_eq!(answered.expect("an answer").status(), 200);
        assert_eq!(*pods[0].app.deliveries.lock() - before, 1, "on a new connection");
    });
}

#[test]
fn a_web_socket_to_a_pod_that_vanished_ends() {
    in_a_net(1, async |net| {
        let start = || -> BoxedApp<App> { Box::pin(App::start(web_socket())) };
        let pods = Pod::on_each(&net, start, |app: &App| app.address).await;
        let hops = before(&pods).await;
        let mut client = Client::connect(hops.entry).await;
        client.send(SWITCH).await;
        let tape = client.answers.tape.clone();
        let listening = tokio::spawn(async move { client.answers.wire.drain().await });
        Answers::have(&tape, "hello").await;
        net.spokes[0].cut();
        within(NOTICED, "the end of a WebSocket that is silent", listening).await.0.expect("no panic");
    });
}
