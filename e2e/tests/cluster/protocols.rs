//! Everything except short HTTP/1 requests.

use e2e::{App, Front, HTTP_PORT, SOON, eventually, grpc, scenario, served, websocket};
use serde_json::json;

#[tokio::test]
async fn a_grpc_call_wakes_a_service_and_keeps_its_trailers() {
    scenario("grpc", async |it| {
        let app = App::deployment("hello");
        let ports = json!([
            {"name": "grpc", "port": 80, "targetPort": HTTP_PORT, "appProtocol": "kubernetes.io/h2c"}
        ]);
        let address = it.with(&app, &Front::scaled(&app).with_field("ports", ports)).await;
        let answer = grpc(address, "/echo", "there and back").await.unwrap();
        answer.assert_ok();
        assert_eq!(answer.body, "there and back");
        assert_eq!(answer.trailers.get("grpc-status").map(http::HeaderValue::as_bytes), Some(&b"0"[..]));
    })
    .await;
}

#[tokio::test]
async fn a_websocket_wakes_a_service_and_holds_it_awake() {
    scenario("websocket", async |it| {
        let app = App::deployment("hello");
        let address = it.with(&app, &Front::scaled(&app)).await;
        let (said, socket) = websocket(address, "/ws", "hello").await.unwrap();
        assert_eq!(said, "hello");
        // Another service has the time to come and go twice.
        let other = App::deployment("other");
        let nearby = it.with(&other, &Front::scaled(&other)).await;
        served(nearby, "/").await;
        it.at_zero(&other).await;
        assert_eq!(it.replicas(&app).await, Some(1), "a socket is open");
        drop(socket);
        it.at_zero(&app).await;
    })
    .await;
}

#[tokio::test]
async fn ports_that_are_not_http_lead_straight_to_the_pods() {
    scenario("ports", async |it| {
        let app = App::deployment("hello");
        let ports = json!([
            {"name": "http", "port": 80, "targetPort": HTTP_PORT},
            {"name": "db", "port": 5432, "targetPort": HTTP_PORT, "appProtocol": "postgresql"},
        ]);
        let address = it.with(&app, &Front::scaled(&app).with_field("ports", ports)).await;
        assert!(it.endpoints("hello", "db").await.addresses.is_empty(), "nobody waits there for a pod");
        served(address, "/").await;
        let straight = eventually("the other port leads to the pod", SOON, async || {
            it.endpoints("hello", "db").await.addresses.first().copied()
        })
        .await;
        assert_eq!(straight.port(), HTTP_PORT, "to the app, past the sidecar");
        served(straight, "/").await;
        it.at_zero(&app).await;
        eventually("the other port leads nowhere again", SOON, async || {
            it.endpoints("hello", "db").await.addresses.is_empty().then_some(())
        })
        .await;
    })
    .await;
}
