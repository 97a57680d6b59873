//! Many at once: nothing lost, nothing doubled, nothing above its limit, nothing left.

mod support;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use ebb_core::link::ServiceEntry;
use http_body_util::BodyExt;
use support::{
    World,
    client::{connect, connect_http2, get, post},
    pod::{Asked, Pod},
    service, soon,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;

const REQUESTS: usize = 2_000;
const PER_POD: usize = 5;

/// Answers each request with its own path, a while later, and keeps count of how many there are at once.
fn executes(pod: &mut Pod, seen: &mpsc::Sender<String>) -> (AbortOnDropHandle<()>, Arc<AtomicUsize>) {
    let most = Arc::new(AtomicUsize::new(0));
    let (now, highest, seen) = (Arc::new(AtomicUsize::new(0)), most.clone(), seen.clone());
    let serving = pod.serves(move |asked: Asked| {
        highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let (now, seen) = (now.clone(), seen.clone());
        tokio::spawn(async move {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            let path = asked.path().to_owned();
            seen.try_send(path).expect("there is room for all");
            // Uncounted before it is answered: the activator may send the next at once.
            now.fetch_sub(1, Ordering::SeqCst);
            asked.says("done");
        });
    });
    (serving, most)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_held_requests_are_each_answered_once_by_three_small_pods() {
    let mut world = World::new().await;
    let entry = ServiceEntry {
        container_concurrency: u32::try_from(PER_POD).unwrap(),
        queue_depth: 10_000,
        ..service()
    };
    let port = world.serve(&entry).await;

    // 400 connections with one request each, 400 with two after one another, 40 with 20 streams each.
    let mut clients = JoinSet::new();
    for connection in 0..800 {
        clients.spawn(async move {
            let mut client = connect(port).await;
            let requests = if connection < 400 { 1 } else { 2 };
            for i in 0..requests {
                let path = format!("/h1/{connection}/{i}");
                let request = if connection % 2 == 0 { get(&path) } else { post(&path, "some body") };
                client.ready().await.unwrap();
                let response = client.send_request(request).await.unwrap();
                assert_eq!(response.status(), 200);
                assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "done");
            }
            requests
        });
    }
    for connection in 0..40 {
        clients.spawn(async move {
            let client = connect_http2(port).await;
            let mut streams = JoinSet::new();
            for i in 0..20 {
                let mut client = client.clone();
                streams.spawn(async move {
                    let request = get(&format!("http://hello.example/h2/{connection}/{i}"));
                    let response = client.send_request(request).await.unwrap();
                    assert_eq!(response.status(), 200);
                    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "done");
                });
            }
            streams.join_all().await.len()
        });
    }
    // The 400 second requests come when the first ones were answered.
    world.holds(REQUESTS - 400).await;

    let mut pods = [Pod::start("a").await, Pod::start("b").await, Pod::start("c").await];
    let (seen, mut paths) = mpsc::channel(2 * REQUESTS);
    let executing = pods.each_mut().map(|pod| executes(pod, &seen));
    world.tell(&ServiceEntry { pods: support::entries(&pods.each_ref()), ..entry }).await;
    for pod in &mut pods {
        pod.becomes_ready().await;
    }
    let answered: usize = soon("all answers", clients.join_all()).await.into_iter().sum();
    assert_eq!(answered, REQUESTS);

    let mut distinct = HashSet::new();
    let mut executed = 0;
    while let Ok(path) = paths.try_recv() {
        executed += 1;
        assert!(distinct.insert(path.clone()), "{path} was executed twice");
    }
    assert_eq!(executed, REQUESTS);
    for (_, most) in &executing {
        let most = most.load(Ordering::SeqCst);
        assert!((1..=PER_POD).contains(&most), "{most} at once");
    }
    world.is_idle().await;
    assert_eq!(world.load().ready_pods, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_come_and_go_while_pods_come_and_go_leave_nothing_behind() {
    let mut world = World::new().await;
    let entry = ServiceEntry { container_concurrency: 2, queue_depth: 50, ..service() };
    let port = world.serve(&entry).await;
    let mut pods = [Pod::start("a").await, Pod::start("b").await, Pod::start("c").await];
    let _serving = pods.each_mut().map(|pod| pod.serves(|asked| asked.says("done")));

    let mut clients = JoinSet::new();
    for i in 0..600_usize {
        clients.spawn(async move {
            let mut client = connect(port).await;
            let answer = client.send_request(if i % 2 == 0 { get("/") } else { post("/", "some body") });
            // Every third one gives up after a while: some held, some under way, some answered.
            if i % 3 == 0 {
                let mut answer = std::pin::pin!(answer);
                for _ in 0..i {
                    tokio::select! {
                        biased;
                        _ = &mut answer => return,
                        () = tokio::task::yield_now() => {}
                    }
                }
            } else {
                let status = answer.await.unwrap().status().as_u16();
                assert!([200, 503].contains(&status), "{status}");
            }
        });
    }
    for round in 0..30 {
        let table: Vec<_> =
            (0..3).filter(|pod| (round + pod) % 3 != 0).map(|pod: usize| pods[pod].entry()).collect();
        world.tell(&ServiceEntry { pods: table, ..entry.clone() }).await;
        for pod in &mut pods {
            if let Some(probe) = pod.probe_so_far() {
                probe.says_ready();
            }
        }
        tokio::task::yield_now().await;
    }
    world.tell(&ServiceEntry { pods: support::entries(&pods.each_ref()), ..entry }).await;
    let [a, b, c] = &mut pods;
    tokio::select! {
        _ = soon("all clients to be done", clients.join_all()) => {}
        () = async { loop { a.becomes_ready().await } } => {}
        () = async { loop { b.becomes_ready().await } } => {}
        () = async { loop { c.becomes_ready().await } } => {}
    }
    world.is_idle().await;
}
