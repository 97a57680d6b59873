//! Scaling to zero and back, and as far up as needed.

use e2e::{ACTIVATOR_PORTS, App, Front, Load, SERVING_PORT, SOON, Scenario, eventually, scenario, served};

async fn from_zero_to_one_and_back(it: &Scenario, app: App) {
    let address = it.with(&app, &Front::scaled(&app)).await;
    assert_eq!(it.replicas(&app).await, Some(0), "nobody has asked yet");
    it.leads("hello", "to activators", |address| ACTIVATOR_PORTS.contains(&address.port())).await;

    served(address, "/").await;
    assert_eq!(it.replicas(&app).await, Some(1));
    it.leads("hello", "to the pod's sidecar", |address| address.port() == SERVING_PORT).await;

    it.at_zero(&app).await;
    it.leads("hello", "to activators again", |address| ACTIVATOR_PORTS.contains(&address.port())).await;
    served(address, "/").await;
}

#[tokio::test]
async fn a_deployment_goes_from_zero_to_one_and_back() {
    scenario("deployment", async |it| from_zero_to_one_and_back(it, App::deployment("hello")).await).await;
}

#[tokio::test]
async fn a_stateful_set_goes_from_zero_to_one_and_back() {
    scenario("stateful-set", async |it| from_zero_to_one_and_back(it, App::stateful_set("hello")).await)
        .await;
}

#[tokio::test]
async fn an_app_with_a_readiness_probe_gets_no_request_before_it_is_ready() {
    scenario("probed", async |it| {
        let app = App::deployment("hello").probed().starting_within_ms(700);
        let address = it.with(&app, &Front::scaled(&app)).await;
        served(address, "/").await;
    })
    .await;
}

#[tokio::test]
async fn a_burst_is_spread_over_several_pods_and_they_all_go_again() {
    scenario("burst", async |it| {
        let app = App::deployment("hello");
        let front = Front::scaled(&app)
            .with("autoscaling.knative.dev/target", "5")
            .with("autoscaling.knative.dev/max-scale", "4")
            .with("autoscaling.knative.dev/target-burst-capacity", "20");
        let address = it.with(&app, &front).await;
        // 15 requests in flight; the target per pod is 3.5.
        let load = Load::of(30, address, "/?ms=500").start();
        it.has_ready(&app, 3).await;
        let report = load.stop().await;
        report.assert_nothing_lost();
        it.at_zero(&app).await;
    })
    .await;
}

#[tokio::test]
async fn a_scale_down_under_load_loses_nothing() {
    scenario("scale-down", async |it| {
        let app = App::deployment("hello");
        let front = Front::scaled(&app).with("autoscaling.knative.dev/target", "5");
        let address = it.with(&app, &front).await;
        let fresh = Load::of(20, address, "/?ms=20").start();
        let kept = Load::of(20, address, "/?ms=20").keeping_connections().start();
        // 10 requests in flight with a target per pod of 3.5, until all pods for them are ready, however long
        // that takes.
        let burst = Load::of(20, address, "/?ms=500").start();
        it.has_ready(&app, 2).await;
        burst.stop().await.assert_nothing_lost();
        eventually("there is one pod again", SOON, async || {
            (it.replicas(&app).await == Some(1) && it.pods_and_ending("hello").await.len() == 1).then_some(())
        })
        .await;
        fresh.stop().await.assert_nothing_lost();
        kept.stop().await.assert_nothing_lost();
    })
    .await;
}
