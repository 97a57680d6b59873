use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::json;

use super::{cluster, latest, says};
use crate::{
    api::Route,
    conditions::READY,
    config::HttpProtocol,
    route::fixtures::{Cluster, NAMESPACE},
};

#[test]
fn hosts_follow_visibility_domains_and_templates() {
    let label = |key: &'static str, value: &'static str| {
        move |route: &mut Route| {
            route.labels_mut().insert(key.to_owned(), value.to_owned());
        }
    };
    let mut local = cluster();
    local.edit(label("networking.knative.dev/visibility", "cluster-local"));
    local.settle();
    assert_eq!(local.annotation("hello", "ebb.dev/hosts"), None);
    assert_eq!(local.status().addresses.url.as_deref(), Some("http://hello.shop.svc.cluster.local"));
    let front = local.services.values().next().unwrap();
    assert!(!front.labels().contains_key("networking.knative.dev/visibility"));

    let mut without_domain = cluster();
    without_domain.config.domains.domains.clear();
    without_domain.settle();
    assert_eq!(without_domain.annotation("hello", "ebb.dev/hosts"), None);

    let mut one = cluster();
    one.route(&json!([{ "tag": "t", "configurationName": "hello", "percent": 100 }]));
    one.settle();
    let service = one.services.get_mut(&(NAMESPACE.to_owned(), "t-hello".to_owned())).unwrap();
    service.labels_mut().insert("networking.knative.dev/visibility".to_owned(), "cluster-local".to_owned());
    let service = service.clone();
    one.service(serde_json::to_value(service).unwrap());
    one.settle();
    assert_eq!(one.annotation("t-hello", "ebb.dev/hosts"), None);
    assert_eq!(one.annotation("hello", "ebb.dev/hosts"), Some("hello.shop.example.com"));
    assert_eq!(one.status().traffic[0].url.as_deref(), Some("http://t-hello.shop.svc.cluster.local"));
}

#[test]
fn a_name_that_is_no_name_is_told_at_once() {
    let mut long = cluster();
    long.route(&json!([{ "tag": "t".repeat(60), "configurationName": "hello", "percent": 100 }]));
    long.settle();
    let said = says(&long, READY);
    assert!(said.starts_with("False ErrorConfig domain name error: invalid domain name \"tttt"), "{said}");
    assert!(long.status().addresses.url.is_some());

    let mut odd = Cluster::new();
    odd.config.domains.domains.insert("Not.A-Domain-".to_owned(), BTreeMap::default());
    odd.ready("hello", "hello-00001");
    odd.route(&latest());
    odd.settle();
    assert_eq!(
        says(&odd, READY),
        "False ErrorConfig domain name error: invalid domain name \"hello.shop.Not.A-Domain-\": it is not in lower case"
    );
    assert!(odd.services.is_empty());
}

#[test]
fn a_secret_gives_tls_and_the_protocol_says_what_becomes_of_requests_without() {
    let secure = |annotations: &[(&str, &str)], redirected: bool| {
        let mut cluster = cluster();
        if redirected {
            cluster.config.network.http_protocol = HttpProtocol::Redirected;
        }
        cluster.edit(|route| {
            let all = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            route.annotations_mut().extend(all);
        });
        cluster.settle();
        cluster
    };
    let secret = ("ebb.dev/tls-secret", "hello-tls");
    for (annotations, redirected, wanted) in [
        (&[secret][..], false, Some("false")),
        (&[secret], true, Some("true")),
        (&[secret, ("networking.knative.dev/http-protocol", "Redirected")], false, Some("true")),
        (&[secret, ("networking.knative.dev/httpOption", "enabled")], true, Some("false")),
        (&[("networking.knative.dev/http-protocol", "redirected")], true, None),
    ] {
        let cluster = secure(annotations, redirected);
        assert_eq!(cluster.annotation("hello", "ebb.dev/https-redirect"), wanted, "{annotations:?}");
        assert_eq!(says(&cluster, READY), "True");
        let url = cluster.status().addresses.url.unwrap();
        assert_eq!(url.starts_with("https://"), wanted.is_some(), "{annotations:?}");
    }
    let wrong = secure(&[secret, ("networking.knative.dev/http-protocol", "both")], false);
    assert_eq!(says(&wrong, READY), "False ErrorConfig incorrect http-protocol annotation: both");
}
