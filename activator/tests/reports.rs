//! What the autoscaler hears of requests in flight, and when.

mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ebb_core::link::{Down, Frames, PATH, ServiceEntry, Up};
use ebb_proxy::{Drain, Handler, Limits, RequestBody, ResponseBody, serve, stream::ChannelBody};
use http::{Request, Response};
use http_body_util::BodyExt;
use support::{
    NAME, World,
    autoscaler::numbers,
    client::{Waiting, ask, get},
    named,
    pod::Pod,
    service, service_with, soon, until,
};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tokio_util::task::AbortOnDropHandle;

/// An autoscaler that follows, and keeps every message as it came, those with nothing in them among them.
struct Follower {
    address: SocketAddr,
    heard: mpsc::Receiver<Up>,
    _serving: AbortOnDropHandle<()>,
}

struct Listen {
    to: mpsc::Sender<Up>,
}

impl Handler for Listen {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        assert_eq!(request.uri().path(), PATH);
        let (down, body) = ChannelBody::new(1);
        let (to, mut up) = (self.to.clone(), request.into_body());
        // Ends with the stream.
        tokio::spawn(async move {
            let (mut frames, _down) = (Frames::default(), down);
            while let Some(Ok(piece)) = up.frame().await {
                frames.push(piece.data_ref().expect("no trailers"));
                while let Some(message) = frames.next_message().expect("a message") {
                    to.try_send(message).expect("the test takes what is said");
                }
            }
        });
        Response::new(ResponseBody::streamed(body))
    }
}

impl Follower {
    /// Beside the autoscaler of `world`, to whose activator it is made known.
    async fn of(world: &World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (to, heard) = mpsc::channel(1_000);
        let serving =
            tokio::spawn(serve(listener, Arc::new(Listen { to }), Drain::default(), Limits::default()));
        let mut follower = Self { address, heard, _serving: AbortOnDropHandle::new(serving) };
        let replicas = vec![world.autoscaler.address.to_string(), follower.address.to_string()];
        world.autoscaler.tell(Down { replicas, ..Down::default() }).await;
        assert!(follower.next().await.hello.is_some_and(|hello| hello.heartbeats));
        follower
    }

    async fn next(&mut self) -> Up {
        soon("a message", self.heard.recv()).await.expect("the handler lives")
    }

    /// Resolves when so many reports have come.
    async fn hears_reports(&mut self, mut count: usize) {
        while count > 0 {
            count -= usize::from(self.next().await.stats.is_some());
        }
    }

    /// Resolves with a heartbeat: nothing was said for as long as two reports take. Answers whether no report came before.
    async fn hears_only_a_heartbeat(&mut self) -> bool {
        let mut only = true;
        loop {
            let message = self.next().await;
            only &= message.stats.is_none();
            if message == Up::default() {
                return only;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_request_is_told_at_once_and_those_after_it_with_the_report_of_the_second() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    // The report of a second may not begin before the first request of it.
    for round in 0..3 {
        let first = ask(port, get("/"));
        let messages = world.autoscaler.stats().await;
        let told = Instant::now();
        assert_eq!(numbers(&messages[0]), (1.0, 1.0), "round {round}");
        let stat = messages[0].stat.as_ref().unwrap();
        assert_eq!((messages[0].service(), stat.pod_name.as_str()), (support::key(), NAME));

        let later: Vec<_> = (0..4).map(|_| ask(port, get("/"))).collect();
        world.holds(5).await;
        let messages = world.autoscaler.stats().await;
        assert!(told.elapsed() > Duration::from_millis(500), "told again after {:?}", told.elapsed());
        let (concurrency, count) = numbers(&messages[0]);
        assert_eq!(count, 4.0, "the first one is not told twice");
        assert!((0.5..=4.0).contains(&concurrency), "four were there for most of it: {concurrency}");
        assert_eq!(messages[0].stat.as_ref().unwrap().pod_name, NAME);
        assert_eq!(world.autoscaler.stat().await, (5.0, 0.0));

        first.leaves();
        later.into_iter().for_each(Waiting::leaves);
        world.is_idle().await;
        while world.autoscaler.stat().await != (0.0, 0.0) {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_while_nothing_is_in_flight() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    pod.becomes_ready().await;
    world.has_ready_pods(1).await;
    let _serving = pod.serves(|asked| asked.says("hello"));
    let mut follower = Follower::of(&world).await;
    assert!(follower.hears_only_a_heartbeat().await, "nothing came yet");

    ask(port, get("/")).hears("hello").await;
    assert_eq!(world.autoscaler.stat().await, (1.0, 1.0));
    // The second of the request has nothing that was not told; the next says that it is over.
    assert_eq!(world.autoscaler.stat().await, (0.0, 0.0));
    assert_eq!(world.autoscaler.stat().await, (0.0, 0.0));
    follower.hears_reports(3).await;
    assert!(follower.hears_only_a_heartbeat().await, "it is over");

    ask(port, get("/")).hears("hello").await;
    assert_eq!(world.autoscaler.stat().await, (1.0, 1.0), "silence is broken at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_give_up_are_told_of_where_no_pod_answers_and_not_where_all_are_busy() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry =
        ServiceEntry { activation_deadline_ms: 200, container_concurrency: 1, ..service_with(&[&pod]) };
    let port = world.serve(&entry).await;
    let _silent = pod.probe().await;
    for waiting in [ask(port, get("/")), ask(port, get("/"))] {
        assert_eq!(waiting.answer().await.refusal(), (503, Some("activation-deadline")));
    }
    let mut gave_up = 0;
    while gave_up < 2 {
        // A second may have ended between the two.
        let news = world.autoscaler.unanswered().await;
        assert_eq!(news.service(), support::key());
        gave_up += news.requests;
    }
    assert_eq!(gave_up, 2);

    let mut busy = Pod::start("b").await;
    world.tell(&ServiceEntry { pods: vec![busy.entry()], ..entry }).await;
    busy.becomes_ready().await;
    world.has_ready_pods(1).await;
    let served = ask(port, get("/"));
    let asked = busy.request().await;
    assert_eq!(ask(port, get("/")).answer().await.refusal(), (503, Some("activation-deadline")));
    asked.says("hello");
    served.hears("hello").await;
    while world.autoscaler.stat().await != (0.0, 0.0) {}
    assert!(world.autoscaler.has_all_answered());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_has_a_first_request_of_its_own() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    let other = world.serve(&named("other")).await;
    let _held = ask(port, get("/"));
    assert_eq!(world.autoscaler.stat().await, (1.0, 1.0));
    let _other_held = ask(other, get("/"));
    let mut told = world.autoscaler.stats().await;
    while told[0].name != "other" {
        told = world.autoscaler.stats().await;
    }
    assert_eq!(numbers(&told[0]), (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_link_loses_no_held_request_and_the_next_one_begins_with_all_of_them() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry = service();
    let port = world.serve(&entry).await;
    let before = ask(port, get("/"));
    assert_eq!(world.autoscaler.stat().await, (1.0, 1.0));

    world.autoscaler.leave();
    let during: Vec<_> = (0..2).map(|_| ask(port, get("/"))).collect();
    world.holds(3).await;
    world.autoscaler.come_back().await;
    let listening = world.listening().await;
    assert_eq!((listening.name.as_str(), listening.port), ("hello", u32::from(port.port())));
    // A report of the last second may still have left on the old stream.
    let mut told = world.autoscaler.stat().await;
    while told != (3.0, 3.0) {
        told = world.autoscaler.stat().await;
    }
    let (_, count) = world.autoscaler.stat().await;
    assert_eq!(count, 0.0, "what was caught up is not told twice");

    let complete = Down {
        services: vec![ServiceEntry { pods: vec![pod.entry()], ..entry }],
        complete: true,
        ..Down::default()
    };
    world.autoscaler.tell(complete).await;
    pod.becomes_ready().await;
    let _serving = pod.serves(|asked| asked.says("hello"));
    for waiting in during.into_iter().chain([before]) {
        waiting.hears("hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_while_the_link_is_down_is_told_when_it_is_back() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    world.autoscaler.leave();
    let _held = ask(port, get("/"));
    world.holds(1).await;
    world.autoscaler.come_back().await;
    assert_eq!(world.autoscaler.stat().await, (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_came_before_the_link_was_lost_still_hold() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    let probe = pod.probe().await;
    world.autoscaler.leave();
    let held = ask(port, get("/"));
    world.holds(1).await;
    probe.says_ready();
    pod.request().await.says("hello");
    held.hears("hello").await;
    until("its end to be counted", || world.load().in_flight == 0.0).await;
}
