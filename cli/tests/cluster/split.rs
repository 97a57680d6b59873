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
    let service = Service { name, port: 0, command: Vec::new(), directory: None, environment, annotations };
    service.understand(&local_defaults()).unwrap()
}

fn spec(split: &str) -> RouteSpec {
    parse_route("hello", &[(full_key("split"), split.to_owned())].into()).unwrap().spec
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
