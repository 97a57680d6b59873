use kube::ResourceExt;
use serde_json::json;

use super::{cluster, latest, says};
use crate::{
    api::Configuration,
    conditions::READY,
    route::{
        fixtures::{Cluster, NAMESPACE, read, words},
        targets,
    },
};

#[test]
fn a_route_without_a_ready_revision_says_why_and_has_an_url_but_no_service() {
    let target = |target: serde_json::Value| json!([target]);
    let named = |name: &str| target(json!({ "revisionName": name, "percent": 100 }));
    let configured = |name: &str| target(json!({ "configurationName": name, "percent": 100 }));
    for (traffic, wanted) in [
        (
            configured("none"),
            "False ConfigurationMissing Configuration \"none\" referenced in traffic not found.",
        ),
        (named("none"), "False RevisionMissing Revision \"none\" referenced in traffic not found."),
        (
            configured("waits"),
            "Unknown RevisionMissing Configuration \"waits\" is waiting for a Revision to become ready.",
        ),
        (
            configured("fails"),
            "False RevisionMissing Configuration \"fails\" does not have any ready Revision.",
        ),
        (
            configured("lost"),
            "False RevisionMissing Revision \"lost-00001\" referenced in traffic not found.",
        ),
        (named("waits-00001"), "Unknown RevisionMissing Revision \"waits-00001\" is not yet ready."),
        (named("fails-00001"), "False RevisionMissing Revision \"fails-00001\" failed to become ready."),
        (
            named("other-00001"),
            "False RevisionNotOwned Revision \"other-00001\" belongs to Service \"other\", not Service \"hello\".",
        ),
        (named("bare"), "False RevisionNotOwned Revision \"bare\" does not belong to Service \"hello\"."),
        (
            named("alone-00001"),
            "False ConfigurationMissing Configuration \"alone\" referenced in traffic not found.",
        ),
        (json!([{}]), "False TrafficInvalid Traffic targets sum to 0, want 100."),
        (json!([]), "False TrafficInvalid Traffic targets sum to 0, want 100."),
        (
            target(json!({ "configurationName": "hello", "percent": i64::MIN })),
            "False TrafficInvalid A target's percent is -9223372036854775808, want 0 to 100.",
        ),
        (
            json!([
                { "revisionName": "waits-00001", "percent": 50 },
                { "revisionName": "none", "percent": 50 },
                { "revisionName": "fails-00001", "percent": 0 },
            ]),
            "False RevisionMissing Revision \"none\" referenced in traffic not found.",
        ),
    ] {
        let mut cluster = Cluster::new();
        cluster.ready("hello", "hello-00001");
        cluster.ready("other", "other-00001");
        cluster.configuration("waits", "waits-00001", None, "Unknown");
        cluster.configuration("fails", "fails-00001", None, "False");
        cluster.configuration("lost", "lost-00001", Some("lost-00001"), "True");
        cluster.revision("hello", "waits-00001", "Unknown");
        cluster.revision("hello", "fails-00001", "False");
        cluster.revision("alone", "alone-00001", "True");
        cluster.seen.revisions.put(
            NAMESPACE,
            "bare",
            read(json!({ "metadata": { "name": "bare", "namespace": NAMESPACE }, "spec": { "containers": [] } })),
        );
        cluster.route(&traffic);
        cluster.edit(|route| {
            route.labels_mut().insert("serving.knative.dev/service".to_owned(), "hello".to_owned());
        });
        cluster.examine();
        assert_eq!(says(&cluster, "AllTrafficAssigned"), wanted, "{traffic}");
        assert_eq!(says(&cluster, READY), wanted, "{traffic}");
        assert_eq!(
            says(&cluster, "IngressReady"),
            "Unknown IngressNotConfigured Ingress has not yet been reconciled."
        );
        let status = cluster.status();
        assert_eq!(status.observed.observed_generation, Some(1));
        assert_eq!(status.addresses.url.as_deref(), Some("http://hello.shop.example.com"));
        assert_eq!((status.addresses.address, status.traffic), (None, vec![]));
        assert!(cluster.services.is_empty());
    }
}

#[test]
fn a_configuration_that_has_not_seen_its_template_has_not_failed() {
    let mut cluster = Cluster::new();
    cluster.configuration("hello", "hello-00001", None, "False");
    let mut newer = Configuration::clone(cluster.seen.configurations.get(NAMESPACE, "hello").unwrap());
    newer.metadata.generation = Some(2);
    cluster.seen.configurations.put(NAMESPACE, "hello", newer);
    cluster.route(&latest());
    cluster.examine();
    assert!(says(&cluster, READY).starts_with("Unknown RevisionMissing"), "{}", says(&cluster, READY));
}

#[test]
fn while_a_target_fails_requests_go_where_they_went() {
    let mut cluster = cluster();
    cluster.settle();
    cluster.revision("hello", "hello-00002", "Unknown");
    cluster.route(&json!([{ "tag": "new", "revisionName": "hello-00002", "percent": 100 }]));
    cluster.settle();
    assert_eq!(says(&cluster, READY), "Unknown RevisionMissing Revision \"hello-00002\" is not yet ready.");
    assert_eq!(cluster.split("hello"), Some("hello-00001=100"));
    assert_eq!(words(&cluster.status().traffic), ["hello-00001*=100"]);
    assert!(cluster.status().addresses.address.is_some());
    assert_eq!(cluster.names(), ["hello"]);
    cluster.revision("hello", "hello-00002", "True");
    cluster.settle();
    assert_eq!(says(&cluster, READY), "True");
    assert_eq!(cluster.split("hello"), Some("hello-00002=100"));
    assert_eq!(cluster.split("new-hello"), Some("hello-00002=100"));
}

#[test]
fn targets_that_mean_the_same_are_one() {
    let mut cluster = cluster();
    let half = json!({ "configurationName": "hello", "percent": 50 });
    let named = json!({ "revisionName": "hello-00001", "percent": 25 });
    cluster.route(&json!([{ "revisionName": "hello-00001", "percent": 25 }, half, named]));
    cluster.settle();
    assert_eq!(words(&cluster.status().traffic), ["hello-00001=50", "hello-00001*=50"]);
    assert_eq!(cluster.split("hello"), Some("hello-00001=100"));
}

#[test]
fn a_route_mentions_what_its_spec_and_its_status_mention() {
    let mut cluster = cluster();
    cluster.settle();
    cluster.route(&json!([{ "revisionName": "hello-00007" }, { "configurationName": "other" }, {}]));
    let (configurations, revisions) = targets(&cluster.hello());
    assert_eq!(configurations.into_iter().collect::<Vec<_>>(), ["other"]);
    assert_eq!(revisions.into_iter().collect::<Vec<_>>(), ["hello-00001", "hello-00007"]);
}

#[test]
fn an_empty_tag_is_none() {
    let mut cluster = cluster();
    let target = |tag: &str, percent| json!({ "tag": tag, "configurationName": "hello", "percent": percent });
    cluster.route(&json!([target("", 100), target("a", 0)]));
    cluster.settle();
    assert_eq!(says(&cluster, READY), "True");
    assert_eq!(cluster.names(), ["a-hello", "hello"]);
    assert_eq!(cluster.status().traffic[0].tag, None);
}
