mod claims;

use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{UID, backend::referred, examine, service_name};
use crate::{
    api::DomainMapping,
    conditions::READY,
    config::{HttpProtocol, Scheme},
    outcome::{Kind, Write},
    route::fixtures::{Cluster, NAMESPACE, condition, merged, now, read},
};

const DOMAIN: &str = "www.example.org";
const FRONT: &str = "domain-www-example-org";

fn mapping(namespace: &str, name: &str, spec: &Value) -> DomainMapping {
    read(json!({
        "metadata": { "name": name, "namespace": namespace, "uid": format!("{namespace}-uid"), "generation": 1 },
        "spec": spec,
    }))
}

fn to(kind: &str, version: &str, name: &str) -> Value {
    json!({ "ref": { "kind": kind, "apiVersion": version, "name": name } })
}

fn to_route() -> Value {
    to("Route", "serving.knative.dev/v1", "hello")
}

/// A cluster with a Route that is ready, in which claims are made.
fn cluster() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.config.network.autocreate_claims = true;
    cluster.ready("hello", "hello-00001");
    cluster.route(&json!([{ "tag": "t", "configurationName": "hello", "percent": 100 }]));
    cluster.settle();
    cluster
}

fn put(cluster: &mut Cluster, mapping: DomainMapping) {
    let (namespace, name) = (mapping.namespace().unwrap(), mapping.name_any());
    cluster.seen.mappings.put(&namespace, &name, mapping);
}

/// Examines the mapping of a namespace, and carries out what follows. Returns the writes.
fn step(cluster: &mut Cluster, namespace: &str) -> Vec<Write> {
    let old = DomainMapping::clone(cluster.seen.mappings.get(namespace, DOMAIN).unwrap());
    let outcome = examine(&old, &cluster.seen, &cluster.config, now());
    put(cluster, DomainMapping { status: Some(outcome.status), ..old });
    for write in &outcome.writes {
        cluster.write(write);
    }
    outcome.writes
}

/// Lets a mapping and the engine act until nothing changes.
fn settle(cluster: &mut Cluster, namespace: &str) {
    for _ in 0..200 {
        let wrote = !step(cluster, namespace).is_empty();
        if !cluster.engine() && !wrote {
            return;
        }
    }
    panic!("there is no end");
}

fn says(cluster: &Cluster, namespace: &str, type_: &str) -> String {
    let mapping = cluster.seen.mappings.get(namespace, DOMAIN).unwrap();
    condition(&mapping.status.as_ref().unwrap().observed.conditions, type_)
}

#[test]
fn a_mapping_claims_its_domain_and_then_serves_it() {
    let mut cluster = cluster();
    put(&mut cluster, mapping(NAMESPACE, DOMAIN, &to_route()));
    step(&mut cluster, NAMESPACE);
    assert!(says(&cluster, NAMESPACE, "DomainClaimed").starts_with("Unknown ClaimPending"));
    assert_eq!(cluster.seen.claims.get("", DOMAIN).unwrap().spec.namespace, NAMESPACE);
    step(&mut cluster, NAMESPACE);
    assert_eq!(
        says(&cluster, NAMESPACE, READY),
        "Unknown Uninitialized Waiting for load balancer to be ready"
    );
    assert_eq!(cluster.split(FRONT), Some("hello-00001=100"));
    assert_eq!(cluster.annotation(FRONT, "ebb.dev/hosts"), Some(DOMAIN));
    let front = cluster.seen.fronts.get(NAMESPACE, FRONT).unwrap();
    assert_eq!((front.labels.contains_key(UID), front.owner.as_deref()), (true, Some("shop-uid")));
    assert!(!cluster.seen.fronts.get(NAMESPACE, "hello").unwrap().labels.contains_key(UID));
    settle(&mut cluster, NAMESPACE);
    assert_eq!(says(&cluster, NAMESPACE, READY), "True");
    let status = cluster.seen.mappings.get(NAMESPACE, DOMAIN).unwrap().status.clone().unwrap();
    assert_eq!(status.addresses.url.as_deref(), Some("http://www.example.org"));
    assert_eq!(status.addresses.address.unwrap().url.as_deref(), Some("http://www.example.org"));
    assert_eq!(status.observed.observed_generation, Some(1));
    assert_eq!(cluster.settle().writes, [], "the Route leaves the mapping's Service alone");
}

#[test]
fn a_domain_follows_the_split_of_its_route() {
    let mut cluster = cluster();
    put(&mut cluster, mapping(NAMESPACE, DOMAIN, &to_route()));
    settle(&mut cluster, NAMESPACE);
    cluster.roll_out_over(60);
    cluster.ready("hello", "hello-00002");
    cluster.examine();
    step(&mut cluster, NAMESPACE);
    assert_eq!(cluster.split(FRONT), Some("hello-00002=100"));
    assert_eq!(cluster.annotation(FRONT, "ebb.dev/split-duration"), Some("1m"), "in the same steps");
    settle(&mut cluster, NAMESPACE);
    assert_eq!(says(&cluster, NAMESPACE, READY), "True");
}

#[test]
fn what_a_mapping_refers_to_takes_requests_or_the_mapping_says_why_not() {
    let serving = "serving.knative.dev/v1";
    let elsewhere =
        json!({ "ref": { "kind": "Route", "apiVersion": serving, "name": "hello", "namespace": "other" } });
    let scaled = "hello-00001";
    for (spec, wanted) in [
        (to("Route", serving, "hello"), Ok("hello-00001=100")),
        (to("Service", serving, "hello"), Ok("hello-00001=100")),
        (to("Service", "v1", "t-hello"), Ok("hello-00001=100")),
        (to("Service", "v1", scaled), Ok("hello-00001=100")),
        (
            to("Route", serving, "none"),
            Err("False ResolveFailed routes.serving.knative.dev \"none\" not found"),
        ),
        (
            to("Service", serving, "none"),
            Err("False ResolveFailed services.serving.knative.dev \"none\" not found"),
        ),
        (to("Service", "v1", "none"), Err("False ResolveFailed services \"none\" not found")),
        (to("Service", serving, "young"), Err("Unknown ResolveFailed \"young\" has no address yet")),
        (
            to("Service", "v1", "plain"),
            Err("False ResolveFailed the Service \"plain\" is neither a Route's nor a Revision's"),
        ),
        (to("Broker", "eventing.knative.dev/v1", "b"), Err("False ResolveFailed the kind \"Broker\" of")),
        (
            elsewhere,
            Err("False ResolveFailed resolved URI \"http://hello.other.svc.cluster.local\" must be in same \
                 namespace as DomainMapping"),
        ),
    ] {
        let mut cluster = cluster();
        for name in ["hello", "young"] {
            let ksvc = json!({ "metadata": { "name": name, "namespace": NAMESPACE }, "spec": {} });
            cluster.seen.services.put(NAMESPACE, name, read(ksvc));
        }
        let plain = |name: &str, labels: Value| {
            json!({
                "metadata": {
                    "name": name, "namespace": NAMESPACE, "uid": name, "labels": labels,
                    "annotations": { "ebb.dev/scale-target": "Deployment/x" },
                },
            })
        };
        cluster.service(plain("plain", json!({})));
        cluster.service(plain(scaled, json!({ "serving.knative.dev/revision": scaled })));
        put(&mut cluster, mapping(NAMESPACE, DOMAIN, &spec));
        settle(&mut cluster, NAMESPACE);
        let said = says(&cluster, NAMESPACE, "ReferenceResolved");
        match wanted {
            Ok(split) => {
                assert_eq!((said.as_str(), cluster.split(FRONT)), ("True", Some(split)), "{spec}");
                assert_eq!(says(&cluster, NAMESPACE, READY), "True", "{spec}");
            }
            Err(why) => {
                assert!(said.starts_with(why), "{spec}: {said}");
                assert_eq!(cluster.split(FRONT), None, "{spec}");
            }
        }
    }
}

#[test]
fn what_it_refers_to_can_be_named() {
    let kind = |spec: &Value| referred(&mapping(NAMESPACE, DOMAIN, spec)).map(|one| (one.kind, one.name));
    let ksvc = to("Service", "serving.knative.dev/v1", "a");
    assert_eq!(kind(&ksvc), Some((Kind::Service, "a".to_owned())));
    assert_eq!(kind(&to_route()), Some((Kind::Route, "hello".to_owned())));
    assert_eq!(kind(&to("Service", "v1", "b")), Some((Kind::Front, "b".to_owned())));
    assert_eq!(kind(&to("Service", "", "c")), None);
}

#[test]
fn a_certificate_is_the_domains_own() {
    for (protocol, annotation, redirect) in [
        (HttpProtocol::Enabled, None, "false"),
        (HttpProtocol::Redirected, None, "true"),
        (HttpProtocol::Enabled, Some("Redirected"), "true"),
    ] {
        let mut cluster = cluster();
        cluster.config.network.http_protocol = protocol;
        let mut spec = to_route();
        spec["tls"] = json!({ "secretName": "www-tls" });
        let mut secure = mapping(NAMESPACE, DOMAIN, &spec);
        let key = "networking.knative.dev/http-protocol".to_owned();
        secure.annotations_mut().extend(annotation.map(|value| (key, value.to_owned())));
        put(&mut cluster, secure);
        settle(&mut cluster, NAMESPACE);
        assert_eq!(cluster.annotation(FRONT, "ebb.dev/tls-secret"), Some("www-tls"));
        assert_eq!(cluster.annotation(FRONT, "ebb.dev/https-redirect"), Some(redirect));
        assert_eq!(cluster.annotation("hello", "ebb.dev/tls-secret"), None);
        assert_eq!(
            says(&cluster, NAMESPACE, "CertificateProvisioned"),
            "True CertificateExternallyProvided TLS certificate was provided externally"
        );
        let status = cluster.seen.mappings.get(NAMESPACE, DOMAIN).unwrap().status.clone().unwrap();
        assert_eq!(status.addresses.url.as_deref(), Some("https://www.example.org"));
    }
}

#[test]
fn without_a_secret_the_condition_says_whether_tls_was_asked_for() {
    let mut cluster = cluster();
    cluster.config.network.external_domain_tls = true;
    cluster.config.network.external_scheme = Scheme::Https;
    put(&mut cluster, mapping(NAMESPACE, DOMAIN, &to_route()));
    settle(&mut cluster, NAMESPACE);
    assert!(says(&cluster, NAMESPACE, "CertificateProvisioned").starts_with("True HTTPDowngrade"));
    let declined = json!({ "metadata": { "annotations": {
        "networking.knative.dev/disable-external-domain-tls": "true",
    } } });
    let changed = merged(cluster.seen.mappings.get(NAMESPACE, DOMAIN).unwrap().as_ref(), &declined);
    put(&mut cluster, changed);
    settle(&mut cluster, NAMESPACE);
    assert!(says(&cluster, NAMESPACE, "CertificateProvisioned").starts_with("True TLSNotEnabled"));
}

#[test]
fn a_refused_domain_is_the_mappings_trouble_and_not_the_routes() {
    let mut cluster = cluster();
    cluster.refused.insert(FRONT.to_owned(), "the namespace may not use it".to_owned());
    put(&mut cluster, mapping(NAMESPACE, DOMAIN, &to_route()));
    settle(&mut cluster, NAMESPACE);
    assert_eq!(says(&cluster, NAMESPACE, READY), "False Refused the namespace may not use it");
    cluster.settle();
    assert_eq!(condition(&cluster.status().observed.conditions, READY), "True");
}

#[test]
fn a_mapping_that_is_deleted_loses_the_finalizer_of_the_reference() {
    let cluster = cluster();
    let mut leaving = mapping(NAMESPACE, DOMAIN, &to_route());
    leaving.metadata.deletion_timestamp = Some(read(json!("2027-01-15T08:00:00Z")));
    leaving.metadata.finalizers = Some(vec!["domainmappings.serving.knative.dev".to_owned()]);
    leaving.metadata.resource_version = Some("3".to_owned());
    let outcome = examine(&leaving, &cluster.seen, &cluster.config, now());
    let [Write::Merge(reference, patch)] = &outcome.writes[..] else { panic!("{outcome:?}") };
    assert_eq!((reference.kind, reference.name.as_str()), (Kind::DomainMapping, DOMAIN));
    assert_eq!(patch, &json!({ "metadata": { "finalizers": [], "resourceVersion": "3" } }));
}

#[test]
fn a_name_that_is_no_host_is_told() {
    let mut cluster = cluster();
    let odd = mapping(NAMESPACE, "192.0.2.1", &to_route());
    let claim = json!({ "metadata": { "name": "192.0.2.1" }, "spec": { "namespace": NAMESPACE } });
    cluster.seen.claims.put("", "192.0.2.1", read(claim));
    let outcome = examine(&odd, &cluster.seen, &cluster.config, now());
    assert_eq!(
        condition(&outcome.status.observed.conditions, READY),
        "False ErrorConfig domain name error: invalid domain name \"192.0.2.1\": it is an IP address"
    );
    assert_eq!(outcome.writes, []);
}

proptest! {
    #[test]
    fn domains_that_differ_have_services_that_differ(
        one in "[a-z0-9](-{0,3}[a-z0-9]){0,3}(\\.[a-z0-9](-{0,3}[a-z0-9]){0,3}){1,3}",
        other in "[a-z0-9](-{0,3}[a-z0-9]){0,3}(\\.[a-z0-9](-{0,3}[a-z0-9]){0,3}){1,3}",
    ) {
        let (first, second) = (service_name(&one), service_name(&other));
        prop_assert!(first.len() <= 63 && first.starts_with("domain-"));
        prop_assert_eq!(first == second, one == other);
    }

    #[test]
    fn dashes_and_dots_are_told_apart(parts in prop::collection::vec("[ab]", 2..6), dots in any::<u8>(), other in any::<u8>()) {
        let domain = |bits: u8| {
            let glue = |index: usize| if bits >> index & 1 == 1 { "." } else { "-" };
            let all = parts.iter().enumerate().map(|(index, part)| format!("{part}{}", glue(index)));
            format!("{}z", all.collect::<String>())
        };
        let (one, other) = (domain(dots), domain(other));
        prop_assert_eq!(service_name(&one) == service_name(&other), one == other);
    }
}
