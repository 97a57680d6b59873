//! Hosts at the gateway.

use ebb_core::{Host, link::CertificateEntry};
use ebb_decide::platform::Exposed;

use super::*;

/// Returns another Service than that of most tests, created `created` seconds after the start of 2026.
pub(super) fn asking(namespace: &str, name: &str, created: u32, hosts: &str) -> Service {
    let annotations = json!({"ebb.dev/scale-target": format!("Deployment/{name}"), "ebb.dev/hosts": hosts});
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": namespace, "uid": name, "resourceVersion": "1",
            "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z"), "annotations": annotations},
        "spec": {"clusterIP": "10.0.0.2", "ipFamilies": ["IPv4"], "selector": {"app": name}, "ports": [{"port": 80}]},
    }))
    .unwrap()
}

impl Cluster {
    /// Returns the hosts that were told since the last call, by Service; `None` if none were.
    pub(super) fn told_hosts(&mut self) -> Option<Vec<(String, Vec<String>)>> {
        let texts = |hosts: Vec<Host>| hosts.iter().map(ToString::to_string).collect();
        let named = |exposed: Exposed| (exposed.key.to_string(), texts(exposed.hosts));
        let events = self.world.take_events().into_iter();
        // At first, an empty list is told as well.
        let of = |event| match event {
            FleetEvent::Hosts(all) if !all.is_empty() => Some(all),
            _ => None,
        };
        let mut news: Vec<_> = events.filter_map(of).collect();
        assert!(news.len() <= 1, "all at once: {news:?}");
        news.pop().map(|all| all.into_iter().map(named).collect())
    }

    pub(super) fn noticed(&mut self, reason: &str) -> Vec<String> {
        let notices = self.world.take_notices().into_iter();
        notices.filter(|notice| notice.reason == reason).map(|notice| notice.text).collect()
    }
}

pub(super) fn has(service: &str, hosts: &[&str]) -> (String, Vec<String>) {
    (service.to_owned(), hosts.iter().map(|&host| host.to_owned()).collect())
}

#[test]
fn a_name_is_the_older_services_and_moves_at_once() {
    let mut cluster = Cluster::taken();
    cluster.world.service(asking("shop", "young", 2, "a.com, b.com"));
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/young", &["a.com", "b.com"])]));
    cluster.world.service(asking("bank", "old", 1, "a.com"));
    assert_eq!(
        cluster.told_hosts(),
        Some(vec![has("bank/old", &["a.com"]), has("shop/young", &["b.com"])]),
        "nobody has it twice, and it is nobody's at no time"
    );
    let taken =
        "host a.com belongs to Service bank/old, which is older; ask for another one in ebb.dev/hosts";
    assert_eq!(cluster.noticed("HostTaken"), [taken]);
    cluster.world.service(asking("shop", "young", 2, "a.com, b.com"));
    assert_eq!((cluster.told_hosts(), cluster.noticed("HostTaken")), (None, vec![]), "said once");
    cluster.world.service_gone(&ServiceKey::new("bank", "old"));
    assert_eq!(
        cluster.told_hosts(),
        Some(vec![has("bank/old", &[]), has("shop/young", &["a.com", "b.com"])])
    );
}

#[test]
fn nothing_is_told_before_all_who_may_be_older_or_kept_to_names_are_known() {
    let mut cluster = Cluster::taken();
    cluster.world = World::new(Arc::new(ClusterDefaults::default()));
    cluster.world.service(asking("shop", "young", 2, "a.com"));
    cluster.world.listed(&Listing::Services);
    assert_eq!(cluster.told_hosts(), None);
    cluster.world.namespace("shop", "9", Some("*.com, x y"));
    cluster.world.listed(&Listing::Namespaces);
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/young", &["a.com"])]));
    let refused =
        "ebb.dev/allowed-hosts: \"x y\" is not the name of a host; want hello.example.com, or *.example.com";
    assert_eq!(cluster.noticed("InvalidAllowedHosts"), [refused]);
}

#[test]
fn without_a_right_to_namespaces_no_name_is_told_and_all_else_is() {
    let mut world = World::new(Arc::new(ClusterDefaults::default()));
    world.service(asking("shop", "young", 2, "a.com"));
    for listing in [Listing::Services, Listing::Pods, Listing::Slices, Listing::Settings] {
        world.listed(&listing);
    }
    world.listed(&Listing::Targets("Deployment".to_owned()));
    assert!(!world.is_complete());
    world.unknowable("Namespace", "forbidden".to_owned());
    assert!(world.is_complete());
    let events = world.take_events();
    assert!(events.iter().any(|event| matches!(event, FleetEvent::Service { .. })));
    assert!(!events.iter().any(|event| matches!(event, FleetEvent::Hosts(_))), "{events:?}");
    world.listed(&Listing::Namespaces);
    assert!(world.take_events().iter().any(|event| matches!(event, FleetEvent::Hosts(_))));
}

#[test]
fn a_namespace_that_is_kept_to_names_has_no_others() {
    let mut cluster = Cluster::taken();
    cluster.world.namespace("shop", "9", Some("*.shop.com"));
    cluster.annotate("ebb.dev/hosts", json!("a.shop.com, bank.com"));
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/hello", &["a.shop.com"])]));
    cluster.settle();
    let status = "host bank.com is none of those that ebb.dev/allowed-hosts allows in this namespace";
    assert_eq!(cluster.annotation("ebb.dev/status"), Some(status));
    assert_eq!(cluster.noticed("HostNotAllowed"), [status]);
    cluster.world.namespace_gone("shop");
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/hello", &["a.shop.com", "bank.com"])]));
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
}

#[test]
fn one_slip_in_the_names_of_a_service_costs_no_other_name() {
    let mut cluster = Cluster::taken();
    cluster.annotate("ebb.dev/hosts", json!("a.com, b.com"));
    cluster.told_hosts();
    cluster.annotate("ebb.dev/hosts", json!("a.com, B.com, c.com"));
    assert_eq!(cluster.told_hosts(), None, "it is served as it was until what is wrong is right");
    assert!(cluster.noticed("InvalidService")[0].contains("\"B.com\" is not in lower case"));
    // A new autoscaler finds this state.
    let mut cluster = Cluster::taken();
    let mut service: Service = serde_json::from_value(cluster.service.clone()).unwrap();
    service.metadata.annotations.as_mut().unwrap().insert("ebb.dev/hosts".into(), "a.com, B.com".into());
    cluster.world.service_gone(&key());
    cluster.told_hosts();
    cluster.world.service(service);
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/hello", &["a.com"])]));
}

fn certificate(secret: &str) -> CertificateEntry {
    let (chain, key) = ("chain".into(), "key".into());
    CertificateEntry { namespace: "shop".into(), name: secret.into(), chain, key }
}

/// Returns the certificates that were told since the last call, and whether each is valid.
fn told_certificates(cluster: &mut Cluster) -> Vec<(String, bool)> {
    let of = |event| if let FleetEvent::Certificate(one) = event { Some(one) } else { None };
    let events = cluster.world.take_events().into_iter();
    events.filter_map(of).map(|one: CertificateEntry| (one.name, !one.chain.is_empty())).collect()
}

#[test]
fn a_certificate_is_wanted_as_long_as_a_name_is_to_have_it() {
    let mut cluster = Cluster::taken();
    cluster.annotate("ebb.dev/hosts", json!("a.com"));
    cluster.annotate("ebb.dev/tls-secret", json!("a-tls"));
    cluster.world.take_events();
    let secret = ServiceKey::new("shop", "a-tls");
    let named = cluster.world.wanted_secrets()[&secret];
    cluster.world.certificate(&secret, Ok(certificate("a-tls")));
    assert_eq!(told_certificates(&mut cluster), [("a-tls".to_owned(), true)]);
    assert_eq!(cluster.world.exposed[&key()].tls_secret.as_deref(), Some("a-tls"));

    cluster.annotate("ebb.dev/https-redirect", json!("true"));
    let hosts = cluster.told_hosts();
    assert_eq!(hosts, Some(vec![has("shop/hello", &["a.com"])]), "a change of what goes with names is told");

    cluster.annotate("ebb.dev/https-redirect", Value::Null);
    cluster.annotate("ebb.dev/tls-secret", Value::Null);
    assert_eq!(told_certificates(&mut cluster), [("a-tls".to_owned(), false)]);
    assert!(cluster.world.wanted_secrets().is_empty());
    cluster.annotate("ebb.dev/tls-secret", json!("a-tls"));
    cluster.world.take_events();
    assert!(cluster.world.wanted_secrets()[&secret] > named, "it is to be read anew");
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_and_the_one_before_stays() {
    let mut cluster = Cluster::taken();
    cluster.annotate("ebb.dev/hosts", json!("a.com"));
    cluster.annotate("ebb.dev/tls-secret", json!("a-tls"));
    cluster.world.take_events();
    let secret = ServiceKey::new("shop", "a-tls");
    cluster.world.certificate(&secret, Err("there is no Secret a-tls".to_owned()));
    assert_eq!(told_certificates(&mut cluster), []);
    cluster.settle();
    let status = "there is no Secret a-tls; ebb.dev/tls-secret names it";
    assert_eq!(cluster.annotation("ebb.dev/status"), Some(status));
    assert_eq!(cluster.noticed("NoCertificate"), [status]);
    cluster.world.certificate(&secret, Ok(certificate("a-tls")));
    assert_eq!(told_certificates(&mut cluster), [("a-tls".to_owned(), true)]);
    cluster.settle();
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
    // Nothing is told of a Secret that no Service names, even if it is read late.
    cluster.world.certificate(&ServiceKey::new("shop", "other"), Ok(certificate("other")));
    assert_eq!(told_certificates(&mut cluster), []);
}

#[test]
fn a_route_has_names_and_whoever_is_given_back_has_none() {
    let mut cluster = Cluster::taken();
    cluster.annotate("ebb.dev/hosts", json!("a.com"));
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/hello", &["a.com"])]));
    cluster.annotate("ebb.dev/scale-target", Value::Null);
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/hello", &[])]));
    let route = json!({"ebb.dev/split": "v1", "ebb.dev/hosts": "b.com"});
    let route = json!({
        "metadata": {"name": "route", "namespace": "shop", "uid": "7", "resourceVersion": "1", "annotations": route},
        "spec": {"clusterIP": "10.0.0.3", "ipFamilies": ["IPv4"], "ports": [{"port": 80}]},
    });
    cluster.world.service(serde_json::from_value(route).unwrap());
    assert_eq!(cluster.told_hosts(), Some(vec![has("shop/route", &["b.com"])]));
}
