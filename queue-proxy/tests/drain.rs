//! Draining: no request is lost, and what does not end is cut at the limit and counted.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::time::Duration;

use ebb_proxy::{Cut, Quiet};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use queue_proxy::{QueueProxy, readiness::Probe};
use support::*;
use tokio::{task::JoinHandle, time::Instant};

const NEVER: Duration = Duration::from_secs(600);
/// Leaves, and does not close before the test ends.
const LEAVING: Quiet = Quiet { quiet: NEVER, limit: NEVER };

/// Starts a drain, and returns when a probe reports that the sidecar is leaving.
async fn drain(proxy: QueueProxy, serving: std::net::SocketAddr, plan: Quiet) -> JoinHandle<Result<(), Cut>> {
    let drain = tokio::spawn(proxy.drain(plan));
    let probed = async || {
        let mut probe = get("/");
        probe.headers_mut().insert("user-agent", "kube-probe/1.34".parse().unwrap());
        probe.headers_mut().insert("k-network-probe", "queue".parse().unwrap());
        Client::connect(serving).await.send(probe).await.status()
    };
    within(async { while probed().await != StatusCode::SERVICE_UNAVAILABLE {} }).await;
    drain
}

#[tokio::test]
async fn who_waits_for_an_app_that_never_listened_is_told_so_when_the_pod_leaves() {
    let pod = Pod::start(free_port().await, |config| config.probes = vec![Probe::tcp()]).await;
    let answer = Client::connect(pod.serving).await.start(get("/"));
    pod.until_in_flight(1).await;
    let Pod { proxy, serving, .. } = pod;
    let drain = drain(proxy, serving, quick()).await;
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(text(answer).await.contains("refused"));
    within(drain).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_then_everything_has_ended() {
    let mut app = App::http1().await;
    let Pod { proxy, serving, stats, admin } = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(serving).await;
    let answer = client.start(get("/"));
    let (sender, body) = frames();
    app.next().await.answer(Response::new(body));
    let mut answer = within(answer).await.unwrap().unwrap();
    sender.send(data("half")).await.unwrap();
    assert_eq!(piece(answer.body_mut()).await, "half");
    let mut drain = tokio::spawn(proxy.drain(quick()));
    // The listener closes at the end of the quiet time; the request in flight continues.
    within(async { while Client::try_connect(serving).await.is_ok() {} }).await;
    assert!(tokio::time::timeout(Duration::ZERO, &mut drain).await.is_err());
    sender.send(data("half")).await.unwrap();
    assert_eq!(piece(answer.body_mut()).await, "half");
    drop(sender);
    assert!(within(answer.body_mut().frame()).await.is_none(), "the end is clean");
    assert_eq!(within(drain).await.unwrap(), Ok(()));
    client.closed().await;
    for address in [serving, stats, admin] {
        assert!(Client::try_connect(address).await.is_err(), "nobody listens any more");
    }
}

#[tokio::test]
async fn a_kept_connection_is_served_once_more_and_told_to_close() {
    let mut app = App::http1().await;
    let Pod { proxy, serving, .. } = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(serving).await;
    let answer = client.start(get("/before"));
    app.next().await.answer_with("ok");
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.headers().get("connection"), None);
    assert_eq!(text(answer).await, "ok");
    let drain = drain(proxy, serving, LEAVING).await;
    assert!(!client.is_closed(), "an idle connection stays open: a request may be on its way");
    client.ready().await.unwrap();
    let answer = client.start(get("/during"));
    app.next().await.answer_with("ok");
    let answer = within(answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["connection"], "close");
    assert_eq!(text(answer).await, "ok");
    client.closed().await;
    let mut newcomer = Client::connect(serving).await;
    let answer = newcomer.start(get("/new"));
    app.next().await.answer_with("ok");
    assert_eq!(within(answer).await.unwrap().unwrap().headers()["connection"], "close");
    drain.abort();
}

#[tokio::test]
async fn an_idle_connection_is_closed_when_the_quiet_time_has_passed() {
    let app = App::answering(async |_| Response::new(full("ok"))).await;
    let Pod { proxy, serving, .. } = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(serving).await;
    assert_eq!(text(client.send(get("/")).await).await, "ok");
    // A connection without a request.
    let mut silent = RawClient::connect(serving).await;
    let began = Instant::now();
    let quiet = Duration::from_millis(200);
    let drain = tokio::spawn(proxy.drain(Quiet { quiet, limit: NEVER }));
    client.closed().await;
    assert!(began.elapsed() >= quiet, "closed after {:?}", began.elapsed());
    assert_eq!(silent.rest().await.unwrap(), "");
    assert_eq!(within(drain).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn clients_that_hammer_through_a_drain_lose_nothing() {
    let app = App::answering(async |request| Response::new(full(read(request.into_body()).await))).await;
    let Pod { proxy, serving, .. } = Pod::start(app.address, |_| {}).await;
    let draining = tokio::sync::watch::Sender::new(false);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let draining = draining.subscribe();
        clients.spawn(async move {
            let (mut client, mut told_to_close, mut during) = (Client::connect(serving).await, 0, 0);
            // Long enough for the load to continue for a while after the drain started.
            while during < 100 {
                client.ready().await.expect("closed without having said so");
                let answer = client.send(post("/", full("echo"))).await;
                let close = answer.headers().get("connection").is_some_and(|value| value == "close");
                assert_eq!(text(answer).await, "echo");
                if close {
                    told_to_close += 1;
                    client.closed().await;
                    client = Client::connect(serving).await;
                }
                during += usize::from(*draining.borrow());
            }
            told_to_close
        });
    }
    // Some requests come before the drain, all others during it.
    until(|| proxy.first_request_at().is_some()).await;
    let drain = tokio::spawn(proxy.drain(Quiet { quiet: Duration::from_millis(500), limit: NEVER }));
    draining.send_replace(true);
    for told_to_close in within(clients.join_all()).await {
        assert!(told_to_close >= 90, "{told_to_close} of 100 answers said that we leave");
    }
    assert_eq!(within(drain).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn an_http2_client_gets_goaway_at_once_and_its_streams_are_finished() {
    let mut app = App::http2().await;
    let Pod { proxy, serving, .. } = Pod::start(app.address, |_| {}).await;
    let request = || Request::get("http://a.example/").version(Version::HTTP_2).body(empty()).unwrap();
    let mut client = Client2::connect(serving).await;
    let answer = tokio::spawn(client.send(request()));
    let exchange = app.next().await;
    let mut idle = Client2::connect(serving).await;
    idle.sender.ready().await.unwrap();
    let drain = drain(proxy, serving, LEAVING).await;
    within(idle.connection).await.unwrap().expect("an idle connection ends cleanly");
    until(|| client.sender.is_closed() || client.sender.is_ready()).await;
    exchange.answer_with("ok");
    assert_eq!(text(within(answer).await.unwrap()).await, "ok");
    within(client.connection).await.unwrap().expect("the connection ends cleanly after its last stream");
    // New clients are served, too.
    let mut newcomer = Client2::connect(serving).await;
    let answer = tokio::spawn(newcomer.send(request()));
    app.next().await.answer_with("ok");
    assert_eq!(text(within(answer).await.unwrap()).await, "ok");
    within(newcomer.connection).await.unwrap().expect("and told to go elsewhere");
    drain.abort();
}

#[tokio::test]
async fn a_websocket_is_waited_for_and_then_cut_and_counted() {
    let mut app = App::http1().await;
    let Pod { proxy, serving, .. } = Pod::start(app.address, |_| {}).await;
    let (mut client, server) = upgraded(&mut app, serving).await;
    let limit = Duration::from_millis(300);
    let began = Instant::now();
    let drain = tokio::spawn(proxy.drain(Quiet { quiet: Duration::from_millis(10), limit }));
    within(async { while Client::try_connect(serving).await.is_ok() {} }).await;
    client.write("still open").await;
    assert_eq!(client.rest().await.unwrap_or_default(), "", "cut");
    assert_eq!(within(drain).await.unwrap(), Err(Cut { connections: 1 }));
    assert!(began.elapsed() >= limit);
    assert_eq!(within(server).await.unwrap(), "still open");
}

#[tokio::test]
async fn a_websocket_that_closes_in_time_lets_the_drain_end() {
    let mut app = App::http1().await;
    let Pod { proxy, serving, .. } = Pod::start(app.address, |_| {}).await;
    let (client, server) = upgraded(&mut app, serving).await;
    let drain = drain(proxy, serving, quick()).await;
    drop(client);
    within(server).await.unwrap();
    assert_eq!(within(drain).await.unwrap(), Ok(()));
}

/// Returns an upgraded connection: the client, and the app's task, which reads everything.
async fn upgraded(app: &mut App, serving: std::net::SocketAddr) -> (RawClient, JoinHandle<String>) {
    let mut client = RawClient::connect(serving).await;
    client.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n").await;
    let mut exchange = app.next().await;
    let upgrade = hyper::upgrade::on(&mut exchange.request);
    let switch = Response::builder().status(101).header("connection", "upgrade").header("upgrade", "x");
    exchange.answer(switch.body(empty()).unwrap());
    client.head().await;
    let server = tokio::spawn(async move {
        let mut read = Vec::new();
        let mut stream = hyper_util::rt::TokioIo::new(upgrade.await.unwrap());
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut read).await;
        String::from_utf8(read).unwrap()
    });
    (client, server)
}

#[tokio::test]
async fn a_request_that_outlives_the_limit_is_cut_and_counted() {
    let mut app = App::http1().await;
    let Pod { proxy, serving, .. } = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(serving).await;
    let answer = client.start(get("/"));
    let mut exchange = app.next().await;
    let plan = Quiet { quiet: Duration::ZERO, limit: Duration::from_millis(50) };
    assert_eq!(within(proxy.drain(plan)).await, Err(Cut { connections: 1 }));
    assert!(within(answer).await.unwrap().is_err());
    exchange.gone().await;
}

#[tokio::test]
async fn the_hook_that_waits_for_the_drain_is_answered_after_it_and_not_before() {
    let mut app = App::http1().await;
    let Pod { proxy, serving, admin, .. } = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(serving).await;
    let answer = client.start(get("/"));
    let exchange = app.next().await;
    let drain = tokio::spawn(proxy.drain(quick()));
    let mut hooks = Vec::new();
    for _ in 0..3 {
        let mut hook = Client::connect(admin).await;
        let answer = hook.start(Request::get("/wait-for-drain").body(empty()).unwrap());
        hooks.push((hook, answer));
    }
    within(async { while Client::try_connect(serving).await.is_ok() {} }).await;
    assert!(hooks.iter().all(|(_, answer)| !answer.is_finished()), "a request is still in flight");
    exchange.answer_with("ok");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
    for (_hook, answer) in hooks {
        assert_eq!(within(answer).await.unwrap().expect("an answer").status(), StatusCode::OK);
    }
    assert_eq!(within(drain).await.unwrap(), Ok(()));
}

fn drain_hook(nonce: Option<&str>) -> Request<AnyBody> {
    let request = Request::get("/drain");
    nonce
        .into_iter()
        .fold(request, |request, nonce| request.header("ebb-pod-nonce", nonce))
        .body(empty())
        .unwrap()
}

#[tokio::test]
async fn a_native_sidecars_own_hook_drains_and_all_hooks_are_answered_at_the_end() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |config| config.nonce = Some("secret".into())).await;
    let Pod { proxy, serving, admin, .. } = pod;
    let mut client = Client::connect(serving).await;
    let answer = client.start(get("/before"));
    let before = app.next().await;
    // The kubelet calls them at the same time, in no particular order.
    let mut of_app = Client::connect(admin).await;
    let of_app = of_app.start(Request::get("/wait-for-drain").body(empty()).unwrap());
    let mut own = Client::connect(admin).await;
    let own = own.start(drain_hook(Some("secret")));
    within(proxy.told_to_leave()).await;
    // Clients that do not know about the drain yet are served.
    let mut newcomer = Client::connect(serving).await;
    let late = newcomer.start(get("/late"));
    app.next().await.answer_with("ok");
    assert_eq!(within(late).await.unwrap().unwrap().headers()["connection"], "close");
    let drain = tokio::spawn(proxy.drain(quick()));
    within(async { while Client::try_connect(serving).await.is_ok() {} }).await;
    assert!(!own.is_finished() && !of_app.is_finished(), "a request is still in flight");
    before.answer_with("ok");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "ok");
    for hook in [own, of_app] {
        assert_eq!(within(hook).await.unwrap().expect("an answer").status(), StatusCode::OK);
    }
    assert_eq!(within(drain).await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_stranger_cannot_drain_a_pod() {
    let app = App::answering(async |_| Response::new(full("ok"))).await;
    for ours in [Some("secret"), None] {
        let pod = Pod::start(app.address, |config| config.nonce = ours.map(str::to_owned)).await;
        for theirs in [None, Some("guess")] {
            let answer = Client::connect(pod.admin).await.send(drain_hook(theirs)).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        }
        let answer = Client::connect(pod.serving).await.send(get("/")).await;
        assert_eq!(answer.headers().get("connection"), None, "it stays");
    }
}

#[tokio::test]
async fn the_hook_of_an_app_that_is_merely_restarted_is_answered_soon_and_nothing_drains() {
    let app = App::answering(async |_| Response::new(full("ok"))).await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut hook = Client::connect(pod.admin).await;
    let answer = hook.send(Request::get("/wait-for-drain").body(empty()).unwrap()).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = Client::connect(pod.serving).await.send(get("/")).await;
    assert_eq!(answer.headers().get("connection"), None);
}

#[tokio::test]
async fn a_sidecar_that_is_dropped_takes_its_connections_along() {
    let mut app = App::http1().await;
    let pod = Pod::start(app.address, |_| {}).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    let mut exchange = app.next().await;
    drop(pod);
    assert!(within(answer).await.unwrap().is_err());
    exchange.gone().await;
}
