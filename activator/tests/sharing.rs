//! Several activators before the same pods.

mod support;

use ebb_core::link::ServiceEntry;
use support::{
    World,
    client::{ask, get},
    pod::Pod,
    service_with,
};

/// Two pods in the order of their addresses, by which activators count.
async fn two_pods() -> [Pod; 2] {
    let mut pods = [Pod::start("a").await, Pod::start("b").await];
    pods.sort_by_key(|pod| pod.address.to_string());
    pods
}

fn entry_of(pods: &[Pod; 2], container_concurrency: u32, activator_index: u32) -> ServiceEntry {
    let [a, b] = pods;
    ServiceEntry { container_concurrency, activators: 2, activator_index, ..service_with(&[b, a]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn activators_that_share_pods_keep_to_a_limit_together() {
    let mut worlds = [World::new().await, World::new().await];
    let mut pods = two_pods().await;
    let mut ports = Vec::new();
    for (world, index) in worlds.iter_mut().zip(0..) {
        ports.push(world.serve(&entry_of(&pods, 2, index)).await);
    }
    for pod in &mut pods {
        pod.becomes_ready().await;
        pod.becomes_ready().await;
    }
    for ((world, pod), (port, path)) in worlds.iter().zip(&mut pods).zip(ports.into_iter().zip(["/0", "/1"]))
    {
        world.has_ready_pods(2).await;
        let asked: Vec<_> = (0..3).map(|_| ask(port, get(path))).collect();
        world.holds(1).await;
        // All three have their turn at the activator's own pod.
        for _ in 0..3 {
            let request = pod.request().await;
            assert_eq!(request.path(), path);
            request.says("hello");
        }
        for asked in asked {
            asked.hears("hello").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_becomes_alone_gets_all_pods_for_what_it_holds() {
    let mut world = World::new().await;
    let mut pods = two_pods().await;
    let port = world.serve(&entry_of(&pods, 1, 0)).await;
    for pod in &mut pods {
        pod.becomes_ready().await;
    }
    world.has_ready_pods(2).await;
    let asked = [ask(port, get("/")), ask(port, get("/"))];
    world.holds(1).await;
    world.tell(&ServiceEntry { activators: 1, ..entry_of(&pods, 1, 0) }).await;
    // Only when the second has come to the other pod does the first make room.
    let [a, b] = &mut pods;
    for request in [b.request().await, a.request().await] {
        request.says("hello");
    }
    for asked in asked {
        asked.hears("hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activator_does_not_wait_for_its_own_pod_while_another_is_ready() {
    let mut world = World::new().await;
    let mut pods = two_pods().await;
    let port = world.serve(&entry_of(&pods, 1, 1)).await;
    let held = ask(port, get("/first"));
    world.holds(1).await;
    pods[0].becomes_ready().await;
    let first = pods[0].request().await;
    // From here on the second pod is its own; what is at the first stays there.
    pods[1].becomes_ready().await;
    world.has_ready_pods(2).await;
    let next = ask(port, get("/next"));
    pods[1].request().await.says("from the second");
    next.hears("from the second").await;
    first.says("from the first");
    held.hears("from the first").await;
}
