//! Who goes next, and how many at once.

mod support;

use ebb_core::link::ServiceEntry;
use support::{
    World,
    client::{ask, get},
    pod::{Asked, Pod},
    service, service_with, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn requests_leave_in_the_order_in_which_they_came() {
    let mut world = World::new().await;
    let entry = ServiceEntry { container_concurrency: 1, ..service() };
    let port = world.serve(&entry).await;
    let mut held = Vec::new();
    for i in 0..10 {
        held.push(ask(port, get(&format!("/{i}"))));
        world.holds(i + 1).await;
    }
    let mut pod = Pod::start("a").await;
    world.tell(&ServiceEntry { pods: vec![pod.entry()], ..entry }).await;
    pod.becomes_ready().await;
    for i in 0..10 {
        let asked = pod.request().await;
        assert_eq!(asked.path(), format!("/{i}"));
        // One that comes while others wait does not overtake them.
        if i == 0 {
            held.push(ask(port, get("/10")));
            world.holds(10).await;
        }
        asked.says("hello");
    }
    let last = pod.request().await;
    assert_eq!(last.path(), "/10");
    last.says("hello");
    for waiting in held {
        waiting.hears("hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pod_gets_more_than_it_may_execute_and_each_end_lets_one_more_go() {
    let mut world = World::new().await;
    let mut pods = [Pod::start("a").await, Pod::start("b").await, Pod::start("c").await];
    let entry =
        ServiceEntry { container_concurrency: 3, pods: support::entries(&pods.each_ref()), ..service() };
    let port = world.serve(&entry).await;
    let held: Vec<_> = (0..20).map(|_| ask(port, get("/"))).collect();
    world.holds(20).await;
    for pod in &mut pods {
        pod.becomes_ready().await;
    }
    world.holds(11).await;
    let mut executing = Vec::new();
    for pod in &mut pods {
        for _ in 0..3 {
            executing.push(pod.request().await);
        }
        assert!(pod.requests_so_far().is_empty(), "{} got more than three", pod.name);
    }
    for left in (0..11).rev() {
        // The oldest that executes ends, and its pod alone has room for the next.
        executing.remove(0).says("hello");
        world.holds(left).await;
        let [a, b, c] = &mut pods;
        executing.push(tokio::select! {
            asked = a.request() => asked,
            asked = b.request() => asked,
            asked = c.request() => asked,
        });
    }
    for asked in executing {
        asked.says("hello");
    }
    for waiting in held {
        waiting.hears("hello").await;
    }
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_changes_holds_from_the_next_request_on() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry = ServiceEntry { container_concurrency: 1, ..service_with(&[&pod]) };
    let port = world.serve(&entry).await;
    pod.becomes_ready().await;
    let held: Vec<_> = (0..3).map(|_| ask(port, get("/"))).collect();
    world.holds(2).await;
    world.tell(&ServiceEntry { container_concurrency: 3, ..entry }).await;
    world.holds(0).await;
    for _ in 0..3 {
        pod.request().await.says("hello");
    }
    for waiting in held {
        waiting.hears("hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_a_newborn_pod_gets_a_few_and_then_all_though_none_ends() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    let held: Vec<_> = (0..100).map(|_| ask(port, get("/"))).collect();
    world.holds(100).await;
    pod.becomes_ready().await;
    let mut executing: Vec<Asked> = Vec::new();
    let mut steps = Vec::new();
    while executing.len() < 100 {
        executing.push(pod.request().await);
        let out = 100 - world.load().held;
        if steps.last() != Some(&out) {
            steps.push(out);
        }
    }
    assert!(steps.len() >= 3, "not all at once: {steps:?}");
    for asked in executing {
        asked.says("hello");
    }
    for waiting in held {
        waiting.hears("hello").await;
    }
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_leaves_the_table_finishes_what_it_has_and_gets_no_more() {
    let mut world = World::new().await;
    let (mut leaves, mut stays) = (Pod::start("leaves").await, Pod::start("stays").await);
    let entry = ServiceEntry { container_concurrency: 1, ..service_with(&[&leaves]) };
    let port = world.serve(&entry).await;
    leaves.becomes_ready().await;
    let first = ask(port, get("/first"));
    let asked = leaves.request().await;
    let second = ask(port, get("/second"));
    world.holds(1).await;
    world.tell(&ServiceEntry { pods: vec![stays.entry()], ..entry }).await;
    let probe = stays.probe().await;
    asked.says("from the one that leaves");
    first.hears("from the one that leaves").await;
    assert_eq!(world.load().held, 1);
    probe.says_ready();
    stays.request().await.says("from the one that stays");
    second.hears("from the one that stays").await;
    assert!(leaves.requests_so_far().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_at_a_pod_is_kept_until_the_last_byte_of_the_answer() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry = ServiceEntry { container_concurrency: 1, ..service_with(&[&pod]) };
    let port = world.serve(&entry).await;
    pod.becomes_ready().await;
    let streaming = ask(port, get("/streaming"));
    let pieces = pod.request().await.streams();
    pieces.send("hello".into()).await.unwrap();
    let next = ask(port, get("/next"));
    world.holds(1).await;
    drop(pieces);
    streaming.hears("hello").await;
    pod.request().await.says("next");
    next.hears("next").await;
    until("the end of both", || world.load().in_flight == 0.0).await;
}
