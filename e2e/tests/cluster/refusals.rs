//! Services whose annotations Ebb must refuse.

use e2e::{App, Front, SOON, eventually, scenario, served};
use serde_json::{Value, json};

#[tokio::test]
async fn all_that_is_wrong_with_annotations_is_said_at_once() {
    scenario("faults", async |it| {
        let app = App::deployment("hello");
        let front = Front::scaled(&app)
            .with("autoscaling.knative.dev/window", "5s")
            .with("autoscaling.knative.dev/target", "many")
            .with("ebb.dev/queue-depth", "0");
        let refused = it.try_make(front.manifest()).await.unwrap_err();
        for part in [
            "autoscaling.knative.dev/window",
            "5s",
            "autoscaling.knative.dev/target",
            "many",
            "ebb.dev/queue-depth",
        ] {
            assert!(refused.contains(part), "{part} is not in: {refused}");
        }
    })
    .await;
}

/// A Service that was not judged at admission gets a status that says what is wrong with it.
async fn is_said_of(name: &str, because: &str, change: impl Fn(Front) -> Front) {
    scenario(name, async |it| {
        it.is_not_judged().await;
        let app = App::deployment("hello");
        it.make(app.manifest()).await;
        let front = change(Front::scaled(&app));
        it.make(front.manifest()).await;
        let said =
            eventually("its status says why", SOON, async || it.annotation("hello", "ebb.dev/status").await)
                .await;
        assert!(said.contains(because), "{said}");
        it.event("hello", "InvalidService").await;
        let selector = it.service("hello").await.spec.unwrap_or_default().selector;
        assert_eq!(json!(selector), front.manifest()["spec"]["selector"], "its selector is where it was");
    })
    .await;
}

#[tokio::test]
async fn a_headless_service_is_told_why_it_is_not_scaled() {
    let is_headless = |front: Front| front.with_field("clusterIP", json!("None"));
    is_said_of("headless", "headless", is_headless).await;
}

#[tokio::test]
async fn a_service_without_a_selector_is_told_why_it_is_not_scaled() {
    is_said_of("selector-less", "no selector", |front| front.with_field("selector", Value::Null)).await;
}

#[tokio::test]
async fn an_external_name_is_told_why_it_is_not_scaled() {
    let elsewhere = |front: Front| {
        front.with_field("type", json!("ExternalName")).with_field("externalName", json!("elsewhere.example"))
    };
    is_said_of("external-name", "ExternalName", elsewhere).await;
}

#[tokio::test]
async fn what_is_wrong_is_no_more_said_once_it_is_right() {
    scenario("righted", async |it| {
        it.is_not_judged().await;
        let app = App::deployment("hello");
        it.make(app.manifest()).await;
        it.make(Front::scaled(&app).with("autoscaling.knative.dev/target", "many").manifest()).await;
        eventually("its status says why", SOON, async || it.annotation("hello", "ebb.dev/status").await)
            .await;
        it.annotate("hello", json!({"autoscaling.knative.dev/target": "10"})).await;
        let address = it.reachable("hello").await;
        served(address, "/").await;
        eventually("its status says no more", SOON, async || {
            it.annotation("hello", "ebb.dev/status").await.is_none().then_some(())
        })
        .await;
    })
    .await;
}
