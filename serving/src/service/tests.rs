use serde_json::{Value, json};

use super::{
    cluster::{Cluster, NAME},
    *,
};
use crate::outcome::Kind;

/// A ksvc as a user writes it, with the defaults of the API.
pub(super) fn ksvc(template: &Value) -> Value {
    let annotations = json!({
        "serving.knative.dev/creator": "ann",
        "serving.knative.dev/lastModifier": "bob",
        "serving.knative.dev/rollout-duration": "10s",
        "kubectl.kubernetes.io/last-applied-configuration": "{}"
    });
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": NAME, "labels": {"team": "a"}, "annotations": annotations},
        "spec": {"template": template, "traffic": [{"latestRevision": true, "percent": 100}]}
    })
}

pub(super) fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"image": image}]}})
}

pub(super) fn named(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"image": image}]}})
}

/// A cluster with this ksvc, which was seen and not examined.
fn cluster(template: &Value) -> Cluster {
    let mut cluster = Cluster::default();
    assert!(cluster.create(Kind::Service, ksvc(template)));
    cluster.deliver_all();
    cluster
}

pub(super) fn run(template: &Value) -> Cluster {
    let mut cluster = cluster(template);
    cluster.settle();
    cluster
}

/// The conditions of the ksvc, as `TYPE=STATUS REASON`.
pub(super) fn words(cluster: &Cluster) -> Vec<String> {
    let conditions = cluster.get(Kind::Service, NAME).unwrap()["status"]["conditions"].clone();
    let word = |one: &Value| {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        format!("{}={} {}", text("type"), text("status"), text("reason")).trim_end().to_owned()
    };
    conditions.as_array().unwrap().iter().map(word).collect()
}

fn examine_seen(cluster: &Cluster) -> Outcome<ServiceStatus> {
    let service = cluster.seen.services.get(cluster::NAMESPACE, NAME).unwrap();
    examine(service, &cluster.seen, cluster.now())
}

fn condition(outcome: &Outcome<ServiceStatus>, type_: &str) -> (String, String, String) {
    let all = &outcome.status.observed.conditions;
    let one = all.iter().find(|one| one.type_ == type_).unwrap();
    (one.status.clone(), one.reason.clone(), one.message.clone())
}

fn said(status: &str, reason: &str, message: &str) -> (String, String, String) {
    (status.to_owned(), reason.to_owned(), message.to_owned())
}

#[test]
fn a_new_ksvc_makes_a_configuration_and_a_route_of_its_name() {
    let mut cluster = cluster(&template("app:1"));
    let outcome = examine_seen(&cluster);
    let texts: Vec<_> = outcome.events.iter().map(|event| (event.reason, event.text.as_str())).collect();
    let wanted = [("Created", "Created Configuration \"hello\""), ("Created", "Created Route \"hello\"")];
    assert_eq!(texts, wanted);
    cluster.examine_service();
    assert_eq!(
        words(&cluster),
        ["ConfigurationsReady=Unknown OutOfDate", "Ready=Unknown OutOfDate", "RoutesReady=Unknown OutOfDate"]
    );
    let uid = cluster.get(Kind::Service, NAME).unwrap()["metadata"]["uid"].clone();
    let configuration = cluster.get(Kind::Configuration, NAME).unwrap();
    assert_eq!(
        configuration["metadata"]["labels"],
        json!({"team": "a", "serving.knative.dev/service": NAME, "serving.knative.dev/serviceUID": uid})
    );
    assert_eq!(
        configuration["metadata"]["annotations"],
        json!({
            "serving.knative.dev/creator": "ann", "serving.knative.dev/lastModifier": "bob",
            "serving.knative.dev/routes": NAME
        })
    );
    assert_eq!(configuration["metadata"]["ownerReferences"][0]["uid"], uid);
    assert_eq!(configuration["spec"], json!({"template": template("app:1")}));
    let route = cluster.get(Kind::Route, NAME).unwrap();
    assert_eq!(route["metadata"]["labels"], json!({"team": "a", "serving.knative.dev/service": NAME}));
    assert_eq!(
        route["metadata"]["annotations"],
        json!({
            "serving.knative.dev/creator": "ann", "serving.knative.dev/lastModifier": "bob",
            "serving.knative.dev/rollout-duration": "10s"
        })
    );
    let target = json!({"configurationName": NAME, "latestRevision": true, "percent": 100});
    assert_eq!(route["spec"], json!({"traffic": [target]}));
}

#[test]
fn a_ksvc_that_runs_has_the_revisions_of_its_configuration_and_the_traffic_of_its_route() {
    let cluster = run(&template("app:1"));
    assert_eq!(words(&cluster), ["ConfigurationsReady=True", "Ready=True", "RoutesReady=True"]);
    let status = &cluster.get(Kind::Service, NAME).unwrap()["status"];
    assert_eq!(status["latestCreatedRevisionName"], "hello-00001");
    assert_eq!(status["latestReadyRevisionName"], "hello-00001");
    assert_eq!(
        status["traffic"],
        json!([{"latestRevision": true, "percent": 100, "revisionName": "hello-00001"}])
    );
    assert_eq!(status["observedGeneration"], 1);
    let outcome = examine_seen(&cluster);
    assert_eq!((outcome.writes, outcome.events), (vec![], vec![]));
}

#[test]
fn only_a_change_of_the_template_makes_a_generation_of_the_configuration() {
    let mut cluster = run(&template("app:1"));
    let generations = |cluster: &Cluster| {
        let of = |kind| cluster.get(kind, NAME).unwrap()["metadata"]["generation"].as_i64().unwrap();
        (of(Kind::Configuration), of(Kind::Route))
    };
    let changes = [
        (json!({"metadata": {"labels": {"juicy": "jamba"}}}), (1, 1)),
        (json!({"metadata": {"annotations": {"juicy": "jamba"}}}), (1, 1)),
        (json!({"spec": {"traffic": [{"revisionName": "hello-00001", "percent": 100}]}}), (1, 2)),
        (json!({"spec": {"template": template("app:2")}}), (2, 2)),
        (json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}), (3, 2)),
        (json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}), (4, 2)),
    ];
    for (patch, wanted) in changes {
        assert!(cluster.change(Kind::Service, NAME, &patch));
        cluster.settle();
        assert_eq!(generations(&cluster), wanted, "{patch}");
    }
    let labels = ["1", "2", "3", "4"].map(|text| json!(text));
    let revisions = cluster.names(Kind::Revision);
    let of = |name: &String| cluster.get(Kind::Revision, name).unwrap()["metadata"]["labels"].clone();
    let got = revisions.iter().map(|name| of(name)["serving.knative.dev/configurationGeneration"].clone());
    assert_eq!(got.collect::<Vec<_>>(), labels);
}

#[test]
fn what_a_ksvc_loses_its_children_lose_too_but_not_the_names_of_other_routes() {
    let mut cluster = run(&template("app:1"));
    let juicy = json!({"metadata": {"labels": {"juicy": "jamba"}, "annotations": {"juicy": "jamba"}}});
    cluster.change(Kind::Service, NAME, &juicy);
    let routes = json!({"metadata": {"annotations": {"serving.knative.dev/routes": "zebra,,hello, ant"}}});
    cluster.change(Kind::Configuration, NAME, &routes);
    cluster.change(Kind::Route, NAME, &json!({"metadata": {"finalizers": ["a/b"]}}));
    cluster.settle();
    for kind in [Kind::Configuration, Kind::Route] {
        let metadata = &cluster.get(kind, NAME).unwrap()["metadata"];
        assert_eq!(
            (&metadata["labels"]["juicy"], &metadata["annotations"]["juicy"]),
            (&json!("jamba"), &json!("jamba"))
        );
    }
    let gone = json!({"metadata": {"labels": {"juicy": null}, "annotations": {"juicy": null}}});
    cluster.change(Kind::Service, NAME, &gone);
    cluster.settle();
    for kind in [Kind::Configuration, Kind::Route] {
        let metadata = &cluster.get(kind, NAME).unwrap()["metadata"];
        assert_eq!(
            (&metadata["labels"]["juicy"], &metadata["annotations"]["juicy"]),
            (&Value::Null, &Value::Null)
        );
    }
    let routes = &cluster.get(Kind::Configuration, NAME).unwrap()["metadata"]["annotations"];
    assert_eq!(routes["serving.knative.dev/routes"], "ant,hello,zebra");
    assert_eq!(cluster.get(Kind::Route, NAME).unwrap()["metadata"]["finalizers"], json!(["a/b"]));
}

#[test]
fn a_ksvc_without_annotations_does_not_write_its_route_again_and_again() {
    let mut cluster = run(&template("app:1"));
    cluster.change(Kind::Service, NAME, &json!({"metadata": {"annotations": null}}));
    cluster.settle();
    assert_eq!(examine_seen(&cluster).writes, []);
}

#[test]
fn an_object_of_somebody_else_is_left_alone_and_named() {
    for (kind, text, type_) in
        [(Kind::Configuration, "Configuration", CONFIGURATIONS_READY), (Kind::Route, "Route", ROUTES_READY)]
    {
        let mut cluster = cluster(&template("app:1"));
        let other =
            json!([{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "uid-x", "controller": true}]);
        let metadata = json!({"name": NAME, "ownerReferences": other});
        let object = json!({
            "apiVersion": "serving.knative.dev/v1", "kind": text, "metadata": metadata,
            "spec": {}
        });
        assert!(cluster.create(kind, object));
        cluster.deliver_all();
        let outcome = examine_seen(&cluster);
        let message = format!("There is an existing {text} \"hello\" that we do not own.");
        assert_eq!(condition(&outcome, type_), said("False", "NotOwned", &message));
        assert_eq!(condition(&outcome, "Ready"), said("False", "NotOwned", &message));
        assert!(
            !outcome.writes.iter().any(|write| matches!(write, Write::Replace(_))),
            "{:?}",
            outcome.writes
        );
    }
}

#[test]
fn an_orphan_is_adopted_if_its_label_names_the_ksvc() {
    let mut cluster = run(&template("app:1"));
    let generation = cluster.get(Kind::Configuration, NAME).unwrap()["metadata"]["generation"].clone();
    for kind in [Kind::Configuration, Kind::Route] {
        cluster.change(kind, NAME, &json!({"metadata": {"ownerReferences": null}}));
    }
    cluster.deliver_all();
    assert_eq!(examine_seen(&cluster).writes.len(), 2);
    cluster.settle();
    for kind in [Kind::Configuration, Kind::Route] {
        let owners = &cluster.get(kind, NAME).unwrap()["metadata"]["ownerReferences"];
        assert_eq!(owners[0]["uid"], cluster.get(Kind::Service, NAME).unwrap()["metadata"]["uid"]);
    }
    assert_eq!(cluster.get(Kind::Configuration, NAME).unwrap()["metadata"]["generation"], generation);
    assert_eq!(words(&cluster)[1], "Ready=True");

    let lost =
        json!({"metadata": {"ownerReferences": null, "labels": {"serving.knative.dev/service": "other"}}});
    cluster.change(Kind::Route, NAME, &lost);
    cluster.deliver_all();
    let outcome = examine_seen(&cluster);
    assert_eq!(condition(&outcome, ROUTES_READY).1, "NotOwned");
    assert_eq!((outcome.writes, outcome.status.traffic), (vec![], vec![]));
}

#[test]
fn a_ksvc_is_not_ready_before_requests_go_to_the_latest_revision() {
    let mut cluster = run(&template("app:1"));
    cluster.change(Kind::Service, NAME, &json!({"spec": {"template": template("app:2")}}));
    for _ in 0..3 {
        cluster.deliver_all();
        cluster.examine_service();
        cluster.examine_configuration();
        assert_ne!(words(&cluster)[1], "Ready=True");
    }
    cluster.judge("hello-00002", "True");
    cluster.deliver_all();
    cluster.examine_configuration();
    cluster.deliver_all();
    let outcome = examine_seen(&cluster);
    assert_eq!(condition(&outcome, CONFIGURATIONS_READY).0, "True");
    let message = "Traffic is not yet migrated to the latest revision.";
    assert_eq!(condition(&outcome, ROUTES_READY), said("Unknown", "TrafficNotMigrated", message));
    assert_eq!(condition(&outcome, "Ready"), said("Unknown", "TrafficNotMigrated", message));
    cluster.route();
    cluster.deliver_all();
    assert_eq!(condition(&examine_seen(&cluster), "Ready").0, "True");
}

#[test]
fn a_first_revision_that_fails_is_told_up_to_the_ksvc() {
    let mut cluster = cluster(&template("app:1"));
    for _ in 0..4 {
        cluster.judge("hello-00001", "False");
        cluster.deliver_all();
        cluster.examine_service();
        cluster.examine_configuration();
    }
    let outcome = examine_seen(&cluster);
    let message = "Revision \"hello-00001\" failed with message: it is so.";
    assert_eq!(condition(&outcome, CONFIGURATIONS_READY), said("False", "RevisionFailed", message));
    assert_eq!(condition(&outcome, "Ready"), said("False", "RevisionFailed", message));
    assert_eq!(outcome.status.observed.observed_generation, Some(1));
    assert_eq!(outcome.status.latest.latest_ready_revision_name, None);
}

#[test]
fn a_route_waits_for_the_revision_that_the_template_names() {
    let mut cluster = cluster(&named("hello-a", "app:1"));
    let outcome = examine_seen(&cluster);
    assert_eq!(outcome.writes.len(), 1, "only the Configuration");
    assert_eq!(condition(&outcome, ROUTES_READY).1, "OutOfDate");
    cluster.settle();
    assert_eq!(words(&cluster)[1], "Ready=True");
    assert_eq!(cluster.names(Kind::Revision), ["hello-a"]);

    // The name of a revision that runs something else. (Admission refuses it only if it is the template's last name.)
    cluster.change(Kind::Service, NAME, &json!({"spec": {"template": named("hello-b", "app:2")}}));
    cluster.settle();
    let traffic = cluster.get(Kind::Route, NAME).unwrap()["spec"].clone();
    let patch = json!({"spec": {
        "template": named("hello-a", "app:3"), "traffic": [{"revisionName": "hello-a", "percent": 100}]
    }});
    cluster.change(Kind::Service, NAME, &patch);
    cluster.settle();
    let outcome = examine_seen(&cluster);
    let message =
        "The revision name \"hello-a\" is taken by a conflicting Revision, so traffic will not be migrated";
    assert_eq!(condition(&outcome, ROUTES_READY), said("False", "RevisionNameTaken", message));
    assert_eq!(cluster.get(Kind::Route, NAME).unwrap()["spec"], traffic);
    assert_eq!(
        condition(&outcome, CONFIGURATIONS_READY).2,
        "Revision creation failed with message: revisions.serving.knative.dev \"hello-a\" already exists."
    );
    // The first revision of that name is what the user meant after all.
    cluster.change(Kind::Service, NAME, &json!({"spec": {"template": named("hello-a", "app:1")}}));
    cluster.settle();
    assert_eq!(words(&cluster)[1], "Ready=True");
    assert_eq!(cluster.names(Kind::Revision), ["hello-a", "hello-b"]);
}

#[test]
fn a_ksvc_that_is_being_deleted_makes_nothing() {
    let mut cluster = cluster(&template("app:1"));
    cluster.change(Kind::Service, NAME, &json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z"}}));
    cluster.deliver_all();
    let outcome = examine_seen(&cluster);
    assert_eq!(outcome.writes, []);
    assert_eq!(outcome.status, ServiceStatus::default());
}

#[test]
fn a_child_that_is_being_deleted_is_not_written_and_made_again_once_it_is_gone() {
    let mut cluster = run(&template("app:1"));
    let leaving = json!({"metadata": {"deletionTimestamp": "2027-01-15T08:00:00Z", "labels": null}});
    cluster.change(Kind::Route, NAME, &leaving);
    cluster.deliver_all();
    let outcome = examine_seen(&cluster);
    assert_eq!(outcome.writes, []);
    assert_eq!(condition(&outcome, ROUTES_READY).1, "OutOfDate");
    cluster.delete(Kind::Route, NAME);
    cluster.settle();
    assert_eq!(words(&cluster)[1], "Ready=True");
}

#[test]
fn odd_ksvcs_are_no_reason_to_panic() {
    let objects = [
        json!({"metadata": {}, "spec": {}}),
        json!({"metadata": {"name": ""}, "spec": {"traffic": [{}, {"percent": -5}, {"percent": i64::MAX}]}}),
        json!({"metadata": {"name": "ä"}, "spec": {"template": {"metadata": {"name": "ä"}}}}),
        json!({"metadata": {"name": "x", "generation": -1}, "spec": {"template": {}, "traffic": [{"tag": ""}]}}),
    ];
    for mut object in objects {
        object["apiVersion"] = json!("serving.knative.dev/v1");
        object["kind"] = json!("Service");
        let service: Service = serde_json::from_value(object).unwrap();
        let outcome = examine(&service, &Seen::default(), Timestamp::UNIX_EPOCH);
        assert!(!outcome.writes.is_empty());
    }
}
