//! The pod announces that it comes and that it leaves.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use ebb_core::announce::{Announced, Announcement, PATH, read};
use http::{Method, Response, StatusCode};
use queue_proxy::announce::{Announcing, ReadyBy};
use support::*;

fn announcement() -> Announcement {
    Announcement {
        namespace: "shop".into(),
        services: vec!["web".into()],
        pod: "pod-1".into(),
        address: "10.0.0.7".into(),
        serving_port: 8012,
        stats_port: 9090,
        nonce: "secret".into(),
        draining: false,
    }
}

/// Starts a pod that announces itself to `autoscaler`.
async fn pod(app: &App, autoscaler: &App) -> Pod {
    pod_ready_by(ReadyBy::Sidecar, app, autoscaler).await
}

async fn pod_ready_by(ready_by: ReadyBy, app: &App, autoscaler: &App) -> Pod {
    let announcing = Announcing { autoscaler: autoscaler.address, pod: announcement(), ready_by };
    Pod::start(app.address, |config| config.announce = Some(announcing)).await
}

/// Returns the next announcement, and answers it with `status`.
async fn announced(autoscaler: &mut App, status: StatusCode) -> Announced {
    let Exchange { request, reply } = autoscaler.next().await;
    assert_eq!((request.method(), request.uri().path()), (&Method::POST, PATH));
    let said = support::read(request.into_body()).await;
    reply.send(Response::builder().status(status).body(empty()).unwrap()).unwrap();
    read(&said).unwrap()
}

#[tokio::test]
async fn a_pod_says_where_it_is_before_its_app_is_ready_and_once_is_enough() {
    let mut autoscaler = App::http1().await;
    let app = App::http1().await;
    let pod = pod(&app, &autoscaler).await;
    let said = announced(&mut autoscaler, StatusCode::NO_CONTENT).await;
    assert_eq!(said, announcement().checked().unwrap());
    assert!(app.has_nothing(), "nobody asked the app for that");
    let taken = r#"ebb_queue_proxy_announcements_total{what="coming",outcome="taken"}"#;
    while pod.try_metric(taken).await.is_none() {}
    assert!(autoscaler.has_nothing());
}

#[tokio::test]
async fn a_pod_that_is_not_known_yet_or_not_heard_says_it_again() {
    let mut autoscaler = App::http1().await;
    let app = App::http1().await;
    let _pod = pod(&app, &autoscaler).await;
    announced(&mut autoscaler, StatusCode::NOT_FOUND).await;
    announced(&mut autoscaler, StatusCode::SERVICE_UNAVAILABLE).await;
    autoscaler.next().await.break_off();
    announced(&mut autoscaler, StatusCode::NO_CONTENT).await;
    assert_eq!(autoscaler.accepted(), 4, "each time on a connection of its own: another one may know it");
}

#[tokio::test]
async fn a_pod_that_is_refused_says_it_no_more_and_serves() {
    let mut autoscaler = App::http1().await;
    let mut app = App::http1().await;
    let pod = pod(&app, &autoscaler).await;
    announced(&mut autoscaler, StatusCode::FORBIDDEN).await;
    let refused = r#"ebb_queue_proxy_announcements_total{what="coming",outcome="refused"}"#;
    while pod.try_metric(refused).await.is_none() {}
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    app.next().await.answer_with("hello");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "hello");
    assert!(autoscaler.has_nothing());
}

#[tokio::test]
async fn a_pod_that_drains_says_so_at_once_and_nothing_waits_for_it() {
    let mut autoscaler = App::http1().await;
    let app = App::http1().await;
    let pod = pod(&app, &autoscaler).await;
    // Although nobody answers this one, the pod also announces that it leaves.
    let unanswered = autoscaler.next().await;
    let drained = tokio::spawn(pod.proxy.drain(quick()));
    let said = autoscaler.next().await;
    let bytes = support::read(said.request.into_body()).await;
    assert!(read(&bytes).unwrap().draining);
    within(drained).await.unwrap().unwrap();
    drop(unanswered);
}

#[tokio::test]
async fn a_pod_whose_readiness_is_the_kubelets_says_only_that_it_leaves() {
    let mut autoscaler = App::http1().await;
    let mut app = App::http1().await;
    let pod = pod_ready_by(ReadyBy::Kubelet, &app, &autoscaler).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    app.next().await.answer_with("hello");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "hello");
    let drained = tokio::spawn(pod.proxy.drain(quick()));
    assert!(announced(&mut autoscaler, StatusCode::NO_CONTENT).await.draining, "the first that it says");
    within(drained).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pod_without_an_autoscaler_serves_and_drains() {
    let mut app = App::http1().await;
    let nobody = free_port().await;
    let announcing = Announcing { autoscaler: nobody, pod: announcement(), ready_by: ReadyBy::Sidecar };
    let pod = Pod::start(app.address, |config| config.announce = Some(announcing)).await;
    let mut client = Client::connect(pod.serving).await;
    let answer = client.start(get("/"));
    app.next().await.answer_with("hello");
    assert_eq!(text(within(answer).await.unwrap().unwrap()).await, "hello");
    within(pod.proxy.drain(quick())).await.unwrap();
}
