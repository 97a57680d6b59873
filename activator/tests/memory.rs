//! What requests may keep, in bytes.

mod support;

use ebb_core::link::ServiceEntry;
use support::{
    World,
    client::{ask, get, post},
    named,
    pod::Pod,
    service_with, until,
};

/// Room for 16 requests without a body.
const MEMORY: u64 = 150 * 1024;

async fn world() -> World {
    World::with(|config| config.request_memory = Some(MEMORY)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_the_memory_for_them_are_refused_and_leave_others_their_share() {
    let mut world = world().await;
    let greedy = world.serve(&ServiceEntry { namespace: "greedy".into(), ..named("hello") }).await;
    let other = world.serve(&named("hello")).await;
    let mut held: Vec<_> = (0..100).map(|_| ask(greedy, get("/"))).collect();
    until("some to be refused", || held.iter().any(support::client::Waiting::is_over)).await;
    let over = held.iter().position(support::client::Waiting::is_over).expect("one is");
    let refused = held.swap_remove(over).answer().await;
    assert_eq!(refused.refusal(), (503, Some("memory-short")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Of another namespace, that has taken nothing yet.
    let _held = ask(other, get("/"));
    world.holds(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_memory_is_scarce_a_body_is_sent_once_and_whole() {
    let mut world = World::with(|config| config.request_memory = Some(24 * 1024)).await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&service_with(&[&pod])).await;
    let sent = ask(port, post("/", "not read ahead"));
    world.holds(1).await;
    pod.becomes_ready().await;
    let mut asked = pod.request().await;
    assert_eq!(asked.body().await.unwrap(), "not read ahead");
    asked.hands_back(http::StatusCode::BAD_GATEWAY, "app-refused", ebb_core::fate::Fate::NeverSent);
    assert_eq!(sent.answer().await.refusal(), (502, Some("app-refused")), "there was nothing to send again");
}
