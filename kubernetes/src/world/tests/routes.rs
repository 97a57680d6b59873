//! Services that divide their requests between others.

use ebb_core::ServiceKey;
use ebb_decide::route::Split;

use super::*;

/// Returns another Service than that of most tests, with or without Ebb's annotations.
fn other(name: &str, annotations: &Value) -> Service {
    let selector = json!({"app": name});
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1", "annotations": annotations},
        "spec": {"clusterIP": "10.0.0.2", "ipFamilies": ["IPv4"], "selector": selector, "ports": [{"port": 80}]},
    }))
    .unwrap()
}

pub(super) fn scaled(name: &str) -> Service {
    other(name, &json!({"ebb.dev/scale-target": format!("Deployment/{name}")}))
}

impl Cluster {
    /// Creates a cluster with one Service that is a route, and no other.
    pub(super) fn with_route(split: &str) -> Self {
        let mut cluster = Self::new();
        cluster.slices.clear();
        cluster.world.slice_gone(&key(), "hello-abc");
        cluster.service["spec"]["selector"] = Value::Null;
        cluster.service["metadata"]["annotations"] = json!({"ebb.dev/split": split});
        cluster.show_service();
        cluster
    }

    /// Steps until nothing is left to do, with or without endpoints.
    fn finish(&mut self) {
        self.until_at_rest(Self::write_step);
    }

    /// Returns the split of the route that was told last: each service, its weight, and what is wrong with it.
    fn told_split(&mut self) -> Option<Vec<(String, u32, String)>> {
        let of = |split: &Split| {
            split.targets.iter().map(|one| (one.service.clone(), one.weight, one.trouble.clone())).collect()
        };
        let events = self.world.take_events();
        let route = |event: &FleetEvent| match event {
            FleetEvent::Route { key: of, split, .. } if *of == key() => Some(split.clone()),
            _ => None,
        };
        events.iter().filter_map(route).next_back().map(|split| of(&split))
    }
}

fn share(service: &str, weight: u32, trouble: &str) -> (String, u32, String) {
    (service.to_owned(), weight, trouble.to_owned())
}

#[test]
fn a_route_is_told_with_what_is_wrong_with_its_services() {
    let mut cluster = Cluster::with_route("v1=90, v2=10, v3=0");
    cluster.world.service(scaled("v1"));
    cluster.world.service(other("v2", &json!({})));
    let told = cluster.told_split().unwrap();
    let of_v2 = "Ebb does not scale Service v2: it has no annotation ebb.dev/scale-target";
    let wanted = [share("v1", 90, ""), share("v2", 10, of_v2), share("v3", 0, "there is no Service v3")];
    assert_eq!(told, wanted);
    cluster.world.want(&key(), to_activators());
    while cluster.step().is_none() {}
    assert!(
        cluster.world.take_notices().iter().all(|notice| notice.reason != "SplitTarget"),
        "they may come yet"
    );
    cluster.settle();
    let notices = cluster.world.take_notices();
    let last = notices.iter().rfind(|notice| notice.reason == "SplitTarget").unwrap();
    let told = format!("v2 gets 10 of 100: {of_v2}\nv3 gets 0 of 100: there is no Service v3");
    assert_eq!((&last.text, cluster.annotation("ebb.dev/status")), (&told, Some(&*told.replace('\n', "; "))));

    cluster.world.service(scaled("v2"));
    cluster.world.service(scaled("v3"));
    let told = cluster.told_split().unwrap();
    assert!(told.iter().all(|(.., trouble)| trouble.is_empty()), "{told:?}");
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
    cluster.world.service_gone(&ServiceKey::new("shop", "v1"));
    assert_eq!(cluster.told_split().unwrap()[0], share("v1", 90, "there is no Service v1"));
}

#[test]
fn a_route_to_a_route_is_refused_its_share() {
    let mut cluster = Cluster::with_route("v1=1, other=1");
    cluster.world.service(scaled("v1"));
    let mut other = other("other", &json!({"ebb.dev/split": "hello"}));
    other.spec.as_mut().unwrap().selector = None;
    cluster.world.service(other);
    let told = cluster.told_split().unwrap();
    assert_eq!(told[0], share("v1", 1, ""));
    assert!(told[1].2.starts_with("Service other is a route itself"), "{told:?}");
}

#[test]
fn a_route_has_its_slices_and_its_port_and_ends_without_a_trace() {
    let mut cluster = Cluster::with_route("v1=90, v2=10");
    for name in ["v1", "v2"] {
        cluster.world.service(scaled(name));
    }
    assert!(cluster.told_split().is_some());
    assert!(cluster.world.want(&key(), to_activators()));
    cluster.settle();
    assert_eq!(cluster.log, ["apply slices", "patch service"]);
    assert!(cluster.annotation("ebb.dev/activator-port").is_some() && cluster.has_slice_of_ebbs());
    assert_eq!(cluster.annotation("ebb.dev/status"), None);

    cluster.log.clear();
    cluster.annotate("ebb.dev/split", Value::Null);
    cluster.finish();
    assert_eq!(cluster.log, ["patch service", "delete slices"]);
    assert_eq!(cluster.annotation("ebb.dev/activator-port"), None);
    assert!(!cluster.has_slice_of_ebbs());
    let gone = |event: &FleetEvent| matches!(event, FleetEvent::Gone(of) if *of == key());
    assert!(cluster.world.take_events().iter().any(gone));
}

#[test]
fn a_split_at_fault_leaves_what_was_valid_and_says_so() {
    let mut cluster = Cluster::with_route("v1=90, v2=10");
    for name in ["v1", "v2"] {
        cluster.world.service(scaled(name));
    }
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    let _ = (cluster.told_split(), cluster.world.take_notices());
    cluster.annotate("ebb.dev/split", json!("v1=ninety, v2=10"));
    cluster.settle();
    assert_eq!(cluster.told_split(), None, "it is divided as before");
    let fault = "ebb.dev/split: \"v1=ninety\" has no weight; want an integer from 0 to 1000000 after the =";
    assert_eq!(cluster.annotation("ebb.dev/status"), Some(fault));
    assert_eq!(cluster.world.take_notices()[0].text, fault);
    assert!(cluster.has_slice_of_ebbs());
    // Another autoscaler leads, which has never seen it valid.
    let mut other = Cluster::new();
    other.slices.clear();
    other.world.slice_gone(&key(), "hello-abc");
    for name in ["v1", "v2"] {
        other.world.service(scaled(name));
    }
    for slice in cluster.slices.values() {
        other.show_slice(slice.clone());
    }
    other.service = cluster.service.clone();
    other.show_service();
    assert_eq!(other.told_split(), Some(vec![share("v1", 90, ""), share("v2", 10, "")]));
    other.settle();
    assert!(other.has_slice_of_ebbs());

    cluster.annotate("ebb.dev/split", json!("v1=1"));
    cluster.settle();
    assert_eq!(cluster.told_split(), Some(vec![share("v1", 1, "")]));
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
}

#[test]
fn slices_of_the_cluster_are_left_alone_where_it_looks_after_them() {
    let mut cluster = Cluster::with_route("v1=1");
    cluster.world.service(scaled("v1"));
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    cluster.log.clear();
    // The webhook was away.
    cluster.service["spec"]["selector"] = json!({"app": "hello"});
    cluster.show_service();
    cluster.show_slice(of_the_cluster(true));
    cluster.settle();
    assert_eq!(cluster.log, ["patch service"], "it says what is wrong");
    assert!(cluster.slices.contains_key("hello-abc") && cluster.has_slice_of_ebbs());
}

#[test]
fn a_service_with_a_selector_is_no_route() {
    let mut cluster = Cluster::with_route("v1");
    cluster.service["spec"]["selector"] = json!({"app": "hello"});
    let mut again = Cluster::new();
    again.service = cluster.service;
    again.show_service();
    let notices = again.world.take_notices();
    let refused = notices.iter().find(|notice| notice.reason == "InvalidService").unwrap();
    assert!(refused.text.contains("the Service has a selector (app=hello) and ebb.dev/split"), "{refused:?}");
    assert_eq!(again.told_split(), None);
}

#[test]
fn a_service_that_becomes_a_route_is_reached_all_the_time_and_back_again() {
    let mut cluster = Cluster::taken();
    cluster.world.service(scaled("v1"));
    let _ = cluster.world.take_events();
    cluster.service["metadata"]["annotations"]["ebb.dev/split"] = json!("v1");
    cluster.annotate("ebb.dev/scale-target", Value::Null);
    let events = cluster.world.take_events();
    assert!(
        matches!(&events[..], [FleetEvent::Route { .. }]),
        "activators answer for it all the time: {events:?}"
    );
    let pods = Endpoints { path: Path::Serve, addresses: vec![address("10.1.0.7:8012")] };
    cluster.world.want(&key(), pods);
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/selector"), None, "nobody has pods of its own");
    assert!(!cluster.has_selector());

    cluster.service["spec"]["selector"] = json!({"app": "hello"});
    cluster.service["metadata"]["annotations"]["ebb.dev/scale-target"] = json!("Deployment/hello");
    cluster.annotate("ebb.dev/split", Value::Null);
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    assert!(cluster.annotation("ebb.dev/selector").is_some() && !cluster.has_selector());
}

#[test]
fn a_route_that_becomes_a_plain_service_is_handed_over_to_the_cluster() {
    let mut cluster = Cluster::with_route("v1=1, v2=1");
    for name in ["v1", "v2"] {
        cluster.world.service(scaled(name));
    }
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    cluster.service["spec"]["selector"] = json!({"app": "hello"});
    cluster.annotate("ebb.dev/split", Value::Null);
    assert_eq!(cluster.step(), None, "its annotations go");
    assert!(cluster.step().unwrap() > NETWORK, "Kubernetes sends clients nowhere yet");
    cluster.show_slice(of_the_cluster(true));
    assert_eq!(cluster.step(), Some(NETWORK));
    cluster.now = cluster.now.after(NETWORK);
    assert_eq!(cluster.step(), None);
    assert!(!cluster.has_slice_of_ebbs());
    let _ = cluster.world.take_events();
    assert_eq!(cluster.step(), Some(NETWORK), "some nodes still send clients to activators");
    assert!(cluster.world.take_events().is_empty(), "who answer for it");
    cluster.settle();
    let gone = |event: &FleetEvent| matches!(event, FleetEvent::Gone(of) if *of == key());
    assert!(cluster.world.take_events().iter().any(gone));
}
