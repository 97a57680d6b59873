//! Apps that do not come up, and pods without a sidecar.

use std::time::Duration;

use e2e::{App, Front, Load, get_within, scenario, served};
use http::StatusCode;

/// The longest time that clients wait if no pod comes.
const DEADLINE: Duration = Duration::from_secs(10);

/// Clients get an answer with a reason in time, and the owner gets an Event.
async fn is_said(name: &str, app: App, event: &str) {
    scenario(name, async |it| {
        let front = Front::scaled(&app)
            .with("ebb.dev/activation-deadline", "10s")
            // How long the app may run without listening.
            .with("serving.knative.dev/progress-deadline", "3s");
        let address = it.with(&app, &front).await;
        let start = tokio::time::Instant::now();
        let answer = get_within(address, "/", 2 * DEADLINE).await.expect("there is an answer in time");
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header("ebb-reason"), "activation-deadline", "{}", answer.body);
        assert!(start.elapsed() < DEADLINE + Duration::from_secs(3), "after {:?}", start.elapsed());
        let said = it.event("hello", event).await;
        assert!(!said.is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_app_that_crashes_is_a_503_in_time_and_an_event() {
    is_said("crashing", App::deployment("hello").crashing(), "PodsCannotStart").await;
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_a_503_in_time_and_an_event() {
    let app = App::deployment("hello").from_image("ebb/no-such-image:1");
    is_said("no-image", app, "PodsCannotStart").await;
}

#[tokio::test]
async fn an_app_that_never_listens_is_a_503_in_time_and_an_event() {
    is_said("never-listening", App::deployment("hello").never_listening().probed(), "NotListening").await;
}

/// Kubernetes calls it ready: only activators notice.
#[tokio::test]
async fn an_app_without_a_probe_that_never_listens_is_a_503_in_time_and_an_event() {
    is_said("never-listening-unprobed", App::deployment("hello").never_listening(), "NotListening").await;
}

#[tokio::test]
async fn pods_without_a_sidecar_are_served() {
    scenario("bare", async |it| {
        let app = App::deployment("hello").without_sidecar().probed();
        let address = it.with(&app, &Front::scaled(&app)).await;
        served(address, "/").await;
        let pods = it.pods("hello").await;
        let containers = pods[0].spec.as_ref().unwrap().containers.len();
        assert_eq!(containers, 1, "it has no sidecar");
        let load = Load::of(20, address, "/?ms=20").start();
        it.event("hello", "PodsWithoutSidecar").await;
        load.serves(100).await;
        load.stop().await.assert_nothing_lost();
        it.at_zero(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_service_that_asks_for_no_sidecar_has_none_and_is_scaled_by_its_activators() {
    scenario("no-sidecar", async |it| {
        let app = App::deployment("hello").probed();
        let address = it.with(&app, &Front::scaled(&app).with("ebb.dev/sidecar", "none")).await;
        served(address, "/").await;
        let pods = it.pods("hello").await;
        assert_eq!(pods[0].spec.as_ref().unwrap().containers.len(), 1);
        it.at_zero(&app).await;
    })
    .await;
}
