//! Services that find each other by name, as is usual in a cluster.

use e2e::{App, Front, scenario, served};

#[tokio::test]
async fn a_pod_reaches_a_service_at_zero_by_its_name() {
    scenario("by-name", async |it| {
        let (caller, shop) = (App::deployment("caller").with_pods(1), App::deployment("shop"));
        it.with(&shop, &Front::scaled(&shop)).await;
        // The caller's own traffic does not pass through Ebb.
        let address = it.with(&caller, &Front::plain(&caller)).await;
        let answer = served(address, "/fetch?url=http://shop/").await;
        assert!(answer.body.starts_with("hello from shop-"), "{}", answer.body);
        let whole = format!("/fetch?url=http://shop.{}.svc.cluster.local/healthz", it.namespace);
        served(address, &whole).await;
    })
    .await;
}

#[tokio::test]
async fn two_services_at_zero_that_call_each_other_both_wake() {
    scenario("each-other", async |it| {
        let (one, other) = (App::deployment("one"), App::deployment("other"));
        let address = it.with(&one, &Front::scaled(&one)).await;
        it.with(&other, &Front::scaled(&other)).await;
        let answer = served(address, "/fetch?url=http://other/fetch?url=http://one/").await;
        assert!(answer.body.starts_with("hello from one-"), "{}", answer.body);
        it.at_zero(&one).await;
        it.at_zero(&other).await;
    })
    .await;
}
