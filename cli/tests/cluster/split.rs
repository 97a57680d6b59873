//! One name for several services.

use std::time::Duration;

use crate::support::{
    client::{KeepAlive, get, get_request},
    options, service, until, until_service,
};
use ebb_annotations::{RouteSpec, full_key, parse_route};
use ebb_local::{
    Cluster,
    config::{Service, Understood, local_defaults},
};

fn route(split: &str) -> Understood {
    let annotations = [(full_key("split"), split.to_owned())].into();
    let name = "hello".to_owned();
    let environment = std::collections::BTreeMap::new();
    let service = Service {
        name,
        port: 0,
        command: Vec::new(),
        directory: None,
        environment,
        container: None,
        annotations,
    };
    service.understand(&local_defaults()).unwrap()
}

fn spec(split: &str) -> RouteSpec {
    paced(split, "0s")
}

/// The same, reached in `duration`.
fn paced(split: &str, duration: &str) -> RouteSpec {
    let says = [("split", split), ("split-duration", duration)];
    let annotations = says.map(|(key, value)| (full_key(key), value.to_owned())).into();
    parse_route("hello", &annotations).unwrap().spec
}

/// Two services at zero, reached directly once they have pods, and a route between them.
async fn start(split: &str) -> (Cluster, std::net::SocketAddr) {
    let direct = [("target-burst-capacity", "0"), ("scale-to-zero-pod-retention-period", "1h")];
    let services = vec![service("v1", &direct, &[]), service("v2", &direct, &[]), route(split)];
    let cluster = Cluster::start(services, options()).await.unwrap().0;
    until(&cluster, |all| all.iter().all(|one| one.view.is_some()), "the services are known").await;
    let address = cluster.addresses().find(|(name, _)| *name == "hello").unwrap().1;
    (cluster, address)
}

/// The service whose pod answered.
fn by(answer: &crate::support::client::Answer) -> String {
    answer.assert_ok();
    answer.header("sample-pod").rsplit_once('-').unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_divided_by_weight_and_wake_both_services() {
    let (cluster, address) = start("v1=80, v2=20").await;
    let mut second = 0;
    for _ in 0..100 {
        second += usize::from(by(&get(address, "/").await) == "v2");
    }
    assert_eq!(second, 20);
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_keep_their_connections_follow_a_change() {
    let (cluster, address) = start("v1").await;
    get(address, "/").await.assert_ok();
    let serves = |status: &ebb_local::ServiceStatus| {
        status.view.is_some_and(|view| view.path == ebb_decide::zero::Path::Serve)
    };
    until_service(&cluster, "v1", serves, "clients reach its pod directly").await;
    let mut client = KeepAlive::new(address);
    assert_eq!(by(&client.send(get_request("/")).await.unwrap()), "v1");
    assert!(cluster.divide("hello", &spec("v2")) && !cluster.divide("nobody", &spec("v2")));
    tokio::time::timeout(Duration::from_secs(20), async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while by(&client.send(get_request("/")).await.unwrap()) != "v2" {
            looks.tick().await;
        }
    })
    .await
    .expect("the client is asked to connect anew");
    for _ in 0..10 {
        assert_eq!(by(&client.send(get_request("/")).await.unwrap()), "v2");
    }
    cluster.shut_down().await;
}

/// What the autoscaler says of the route.
async fn explained(cluster: &Cluster) -> serde_json::Value {
    let answer = get(cluster.api(), "/explain/local/hello").await;
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_split_is_reached_step_by_step_and_undone_at_once() {
    let (cluster, address) = start("v1=100").await;
    let is_busy = |said: &serde_json::Value| said["targets"][0]["now"]["rate"].as_f64() > Some(0.0);
    while !is_busy(&explained(&cluster).await) {
        assert_eq!(by(&get(address, "/").await), "v1");
    }
    assert!(cluster.divide("hello", &paced("v2=100", "3s")));
    let mut shares = Vec::new();
    tokio::time::timeout(Duration::from_secs(60), async {
        // v2 is at zero: what it gets first wakes it, and every other step waits until it is there.
        while shares.last() != Some(&100_000_000) {
            get(address, "/").await.assert_ok();
            let said = explained(&cluster).await;
            let target =
                said["targets"].as_array().unwrap().iter().find(|one| one["service"] == "v2").cloned();
            let target = target.unwrap_or_default();
            let share =
                if said["rollout"].is_null() { 100_000_000 } else { target["weight"].as_u64().unwrap() };
            if share > 1_000_000 {
                assert!(target["now"]["ready_pods"].as_u64() >= Some(1), "nobody is flooded: {said}");
            }
            if shares.last() != Some(&share) {
                shares.push(share);
            }
        }
    })
    .await
    .expect("the split is reached");
    // Some step may be over before anybody looks.
    assert!(shares.is_sorted() && shares.len() >= 3, "{shares:?}");
    for _ in 0..5 {
        assert_eq!(by(&get(address, "/").await), "v2");
    }
    assert!(cluster.divide("hello", &paced("v1=100", "1h")));
    let is_under_way = async |cluster: &Cluster| !explained(cluster).await["rollout"].is_null();
    while !is_under_way(&cluster).await {
        get(address, "/").await.assert_ok();
    }
    assert!(cluster.divide("hello", &paced("v2=100", "1h")));
    while is_under_way(&cluster).await {
        get(address, "/").await.assert_ok();
    }
    for _ in 0..5 {
        assert_eq!(by(&get(address, "/").await), "v2");
    }
    cluster.shut_down().await;
}
