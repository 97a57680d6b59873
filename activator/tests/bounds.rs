//! How many requests are held, how long, and what those hear that are not.

mod support;

use ebb_core::link::ServiceEntry;
use http::StatusCode;
use support::{
    World,
    client::{ask, connect_http2, get, post, raw, whole},
    pod::Pod,
    service, soon, until,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn one_more_than_the_queue_holds_is_refused_at_once() {
    let mut world = World::new().await;
    let port = world.serve(&ServiceEntry { queue_depth: 3, ..service() }).await;
    let _held: Vec<_> = (0..3).map(|_| ask(port, get("/"))).collect();
    world.holds(3).await;
    let refused = ask(port, get("/")).answer().await;
    assert_eq!(refused.refusal(), (503, Some("hold-queue-full")));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.body, "held queue full: 3 requests wait for this service already\n");
    assert_eq!((world.load().held, world.load().in_flight), (3, 3.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waited_too_long_hears_why_there_is_no_pod() {
    let mut world = World::new().await;
    let trouble = "deployment hello: image pull failed: no such tag".to_owned();
    let entry = ServiceEntry { activation_deadline_ms: 200, trouble, ..service() };
    let port = world.serve(&entry).await;
    let refused = ask(port, get("/")).answer().await;
    assert_eq!(refused.refusal(), (503, Some("activation-deadline")));
    assert_eq!(refused.header("retry-after"), Some("5"));
    assert!(refused.body.starts_with("no pod became ready within 0.2 s"), "{}", refused.body);
    assert!(
        refused.body.ends_with(": deployment hello: image pull failed: no such tag\n"),
        "{}",
        refused.body
    );
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trouble_that_is_told_while_requests_wait_is_what_they_hear() {
    let mut world = World::new().await;
    let entry = ServiceEntry { activation_deadline_ms: 1_000, ..service() };
    let port = world.serve(&entry).await;
    let held = ask(port, get("/"));
    world.holds(1).await;
    world.tell(&ServiceEntry { trouble: "quota exceeded".into(), ..entry }).await;
    assert!(held.answer().await.body.ends_with(": quota exceeded\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_hears_of_it_in_its_own_words() {
    let mut world = World::new().await;
    let port = world.serve(&ServiceEntry { queue_depth: 1, ..service() }).await;
    let _held = ask(port, get("/"));
    world.holds(1).await;
    let mut client = connect_http2(port).await;
    let mut call = post("http://hello.example/pkg.Service/Method", "message");
    call.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    let answer = whole(soon("an answer", client.send_request(call)).await.unwrap()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("grpc-status"), Some("14"), "UNAVAILABLE");
    assert_eq!(answer.header("ebb-reason"), Some("hold-queue-full"));
    assert!(answer.header("grpc-message").is_some_and(|text| text.contains("queue full")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_its_place_to_the_next() {
    let requests = [
        ("GET", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("POST", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"),
        (
            "POST in chunks",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
    ];
    let mut world = World::new().await;
    let port = world.serve(&ServiceEntry { queue_depth: 1, ..service() }).await;
    for (name, bytes) in requests {
        let client = raw(port, bytes).await;
        until(&format!("{name} to be held"), || world.load().held == 1).await;
        assert_eq!(ask(port, get("/")).answer().await.refusal(), (503, Some("hold-queue-full")), "{name}");
        drop(client);
        until(&format!("{name} to be gone"), || world.load().held == 0).await;
        until(&format!("{name} to be counted out"), || world.load().in_flight == 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_in_the_middle_of_its_body_leaves_its_place_to_the_next() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    let client = raw(port, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhello").await;
    world.holds(1).await;
    drop(client);
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_client_that_gives_up_one_request_frees_that_place_alone() {
    let mut world = World::new().await;
    let port = world.serve(&service()).await;
    let client = connect_http2(port).await;
    let send = |path: &str| {
        let (mut client, request) = (client.clone(), get(&format!("http://hello.example{path}")));
        tokio::spawn(async move { whole(client.send_request(request).await.unwrap()).await.body })
    };
    let (stays, goes) = (send("/stays"), send("/goes"));
    world.holds(2).await;
    goes.abort();
    world.holds(1).await;
    let mut pod = Pod::start("a").await;
    world.tell(&support::service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let asked = pod.request().await;
    assert_eq!(asked.path(), "/stays");
    asked.says("hello");
    assert_eq!(soon("the answer", stays).await.unwrap(), "hello");
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_a_pod_frees_its_place_there() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry = ServiceEntry { container_concurrency: 1, ..support::service_with(&[&pod]) };
    let port = world.serve(&entry).await;
    pod.becomes_ready().await;
    let leaves = ask(port, get("/leaves"));
    let mut asked = pod.request().await;
    let next = ask(port, get("/next"));
    world.holds(1).await;
    leaves.leaves();
    asked.is_abandoned().await;
    let asked = pod.request().await;
    assert_eq!(asked.path(), "/next");
    asked.says("hello");
    next.hears("hello").await;
    world.is_idle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_nonsense_blames_no_pod() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let port = world.serve(&support::service_with(&[&pod])).await;
    pod.becomes_ready().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let mut client = raw(port, head).await;
    // The request is at the pod, and its body goes on with what is no chunk.
    let asked = pod.request().await;
    client.write_all(b"ZZ\r\n").await.unwrap();
    let mut answer = vec![0; 1024];
    let read = soon("an answer", client.read(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("client-gone"), "{answer}");
    assert_eq!(world.load().ready_pods, 1, "the pod is not set aside");
    drop(asked);
}
