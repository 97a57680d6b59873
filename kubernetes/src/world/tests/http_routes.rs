//! Hosts whose requests a Gateway of the cluster takes.

use super::{
    hosts::{asking, has},
    *,
};
use crate::http_routes::{Backend, Parent, Trouble};

fn gateway() -> Parent {
    "infra/web".parse().unwrap()
}

impl Cluster {
    /// Returns the Services that should have HTTPRoutes, with their ports and hosts.
    fn http_routes(&mut self) -> Vec<(String, u16, Vec<String>)> {
        self.world.take_events();
        let of = |(key, backend): (&ServiceKey, &Backend)| {
            let hosts = backend.hosts.iter().map(ToString::to_string).collect();
            (key.to_string(), backend.port, hosts)
        };
        self.world.http_routes().unwrap().services.iter().map(of).collect()
    }
}

fn routed(service: &str, hosts: &[&str]) -> (String, u16, Vec<String>) {
    (service.to_owned(), 80, hosts.iter().map(|&host| host.to_owned()).collect())
}

#[test]
fn a_gateway_takes_the_hosts_and_ebbs_own_has_none_as_long_as_it_is_set() {
    let mut cluster = Cluster::taken();
    cluster.annotate("ebb.dev/hosts", json!("a.com, b.com"));
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/hello", &["a.com", "b.com"])]));
    assert_eq!(cluster.http_routes(), []);
    cluster.world.set_gateway(Some(gateway()));
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/hello", &[])]));
    assert_eq!(cluster.http_routes(), [routed("shop/hello", &["a.com", "b.com"])]);
    assert_eq!(cluster.world.http_routes().unwrap().services[&key()].uid, "1");
    cluster.world.set_gateway(Some(gateway()));
    assert_eq!(cluster.told_hosts(), None, "nothing new");
    cluster.world.set_gateway(None);
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/hello", &["a.com", "b.com"])]));
    assert_eq!(cluster.http_routes(), []);
}

#[test]
fn as_long_as_a_namespace_may_be_kept_to_other_names_nobody_knows_which_are_wanted() {
    let mut cluster = Cluster::taken();
    cluster.world = World::new(Arc::new(ClusterDefaults::default()));
    cluster.world.set_gateway(Some(gateway()));
    cluster.world.service(asking("shop", "young", 2, "a.com"));
    cluster.world.listed(&Listing::Services);
    cluster.world.unknowable("Namespace", "forbidden".to_owned());
    cluster.world.take_events();
    assert_eq!(cluster.world.http_routes(), None, "those that are there are not to be deleted");
    cluster.world.listed(&Listing::Namespaces);
    assert_eq!(cluster.http_routes(), [routed("shop/young", &["a.com"])]);
}

#[test]
fn the_older_service_has_the_http_route_too() {
    let mut cluster = Cluster::taken();
    cluster.world.set_gateway(Some(gateway()));
    cluster.world.service(asking("shop", "young", 2, "a.com, b.com"));
    cluster.world.service(asking("bank", "old", 1, "a.com"));
    assert_eq!(cluster.http_routes(), [routed("bank/old", &["a.com"]), routed("shop/young", &["b.com"])]);
    assert_eq!(cluster.noticed("HostTaken").len(), 1);
    cluster.world.namespace("shop", "9", Some("c.com"));
    assert_eq!(cluster.http_routes(), [routed("bank/old", &["a.com"])], "those of none are none");
    cluster.world.service_gone(&ServiceKey::new("bank", "old"));
    assert_eq!(cluster.http_routes(), []);
}

#[test]
fn another_port_is_written_and_whoever_is_given_back_has_none() {
    let mut cluster = Cluster::taken();
    cluster.annotate("ebb.dev/hosts", json!("a.com"));
    cluster.world.set_gateway(Some(gateway()));
    assert_eq!(cluster.http_routes(), [routed("shop/hello", &["a.com"])]);
    cluster.service["spec"]["ports"] = json!([{"port": 8000, "targetPort": 8080}]);
    cluster.show_service();
    assert_eq!(cluster.http_routes()[0].1, 8000);
    cluster.world.set_defaults(Arc::new(ClusterDefaults::default()), true);
    assert_eq!(cluster.http_routes(), [], "everything is given back");
    cluster.world.set_defaults(Arc::new(ClusterDefaults::default()), false);
    assert_eq!(cluster.http_routes().len(), 1);
    cluster.annotate("ebb.dev/scale-target", Value::Null);
    assert_eq!(cluster.http_routes(), []);
}

#[test]
fn a_route_has_its_http_route() {
    let mut cluster = Cluster::taken();
    cluster.world.set_gateway(Some(gateway()));
    let route = json!({"ebb.dev/split": "hello", "ebb.dev/hosts": "b.com"});
    let route = json!({
        "metadata": {"name": "route", "namespace": "shop", "uid": "7", "resourceVersion": "1", "annotations": route},
        "spec": {"clusterIP": "10.0.0.3", "ipFamilies": ["IPv4"], "ports": [{"port": 80}]},
    });
    cluster.world.service(serde_json::from_value(route).unwrap());
    assert_eq!(cluster.http_routes(), [routed("shop/route", &["b.com"])]);
}

#[test]
fn of_certificates_the_gateway_has_its_own() {
    let mut cluster = Cluster::taken();
    cluster.world.set_gateway(Some(gateway()));
    cluster.annotate("ebb.dev/hosts", json!("a.com"));
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
    cluster.annotate("ebb.dev/tls-secret", json!("a-tls"));
    cluster.http_routes();
    assert!(cluster.world.wanted_secrets().is_empty());
    cluster.settle();
    let status = "ebb.dev/tls-secret and ebb.dev/https-redirect have no effect: Gateway infra/web takes the requests, and \
                  its listeners have the certificates";
    assert_eq!(cluster.annotation("ebb.dev/status"), Some(status));
    assert_eq!(cluster.noticed("TlsAtGateway"), [status]);
    cluster.world.set_gateway(None);
    cluster.http_routes();
    assert_eq!(cluster.world.wanted_secrets().len(), 1);
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
}

#[test]
fn what_is_wrong_with_an_http_route_is_told_until_it_is_right_or_not_wanted() {
    let mut cluster = Cluster::taken();
    cluster.world.set_gateway(Some(gateway()));
    cluster.annotate("ebb.dev/hosts", json!("a.com"));
    cluster.http_routes();
    let trouble = || -> Option<Trouble> { Some(("HttpRouteTaken", "it is not Ebb's".to_owned())) };
    cluster.world.http_route_trouble(&key(), trouble());
    cluster.http_routes();
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), Some("it is not Ebb's"));
    assert_eq!(cluster.noticed("HttpRouteTaken"), ["it is not Ebb's"]);
    cluster.world.http_route_trouble(&key(), None);
    cluster.http_routes();
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
    cluster.world.http_route_trouble(&key(), trouble());
    cluster.world.set_gateway(None);
    cluster.http_routes();
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
    cluster.world.http_route_trouble(&key(), trouble());
    cluster.http_routes();
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None, "late word");
}
