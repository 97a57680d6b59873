use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::service::cluster::{Cluster, NAME, NAMESPACE};

fn configuration(template: &Value) -> Value {
    json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Configuration",
        "metadata": {"name": NAME}, "spec": {"template": template}
    })
}

fn template(image: &str) -> Value {
    json!({"spec": {"containers": [{"image": image}]}})
}

fn named(name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"image": image}]}})
}

fn cluster(template: &Value) -> Cluster {
    let mut cluster = Cluster::default();
    assert!(cluster.create(Kind::Configuration, configuration(template)));
    cluster.deliver_all();
    cluster
}

/// Changes the template as a user does, without the fields of the old one.
fn change(cluster: &mut Cluster, template: &Value) {
    let mut object = cluster.get(Kind::Configuration, NAME).unwrap().clone();
    object["spec"]["template"] = template.clone();
    assert!(cluster.replace(Kind::Configuration, object));
}

/// Examines the Configuration until nothing follows, while revisions stay as they are.
fn follow(cluster: &mut Cluster) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..10 {
        let before = cluster.version;
        cluster.deliver_all();
        events.extend(cluster.examine_configuration());
        if cluster.version == before {
            return events;
        }
    }
    panic!("it does not end");
}

fn judge(cluster: &mut Cluster, revision: &str, truth: &str) -> Vec<Event> {
    cluster.judge(revision, truth);
    follow(cluster)
}

fn examine_seen(cluster: &Cluster, failure: Option<&str>) -> Outcome<ConfigurationStatus> {
    let configuration = cluster.seen.configurations.get(NAMESPACE, NAME).unwrap();
    examine(configuration, &cluster.seen, failure, cluster.now())
}

fn ready(outcome: &Outcome<ConfigurationStatus>) -> (String, String, String) {
    let ready = outcome.status.observed.conditions.iter().find(|one| one.type_ == READY).unwrap();
    (ready.status.clone(), ready.reason.clone(), ready.message.clone())
}

/// `LATEST CREATED, LATEST READY: READY`.
fn words(cluster: &Cluster) -> String {
    let outcome = examine_seen(cluster, None);
    let word = |name: &Option<String>| name.clone().unwrap_or_else(|| "-".to_owned());
    let latest = &outcome.status.latest;
    let names = [word(&latest.latest_created_revision_name), word(&latest.latest_ready_revision_name)];
    format!("{}: {}", names.join(", "), ready(&outcome).0)
}

fn said(events: &[Event]) -> Vec<(bool, &str, &str)> {
    events.iter().map(|event| (event.is_warning, event.reason, event.text.as_str())).collect()
}

#[test]
fn a_revision_has_the_metadata_of_the_template_and_says_where_it_is_from() {
    let mut object = configuration(&json!({
        "metadata": {
            "namespace": "elsewhere", "labels": {"a": "b", "serving.knative.dev/configuration": "lie"},
            "annotations": {"c": "d"}, "finalizers": ["x/y"], "creationTimestamp": null
        },
        "spec": {"containers": [{"image": "app:1"}], "timeoutSeconds": 300}
    }));
    object["metadata"]["labels"] = json!({
        "own": "x", "serving.knative.dev/service": "svc", "serving.knative.dev/serviceUID": "uid-s"
    });
    object["metadata"]["annotations"] = json!({"own": "x", "serving.knative.dev/lastModifier": "bob"});
    for (routes, state) in [(None, "pending"), (Some(""), "pending"), (Some("hello,other"), "active")] {
        let mut object = object.clone();
        if let Some(routes) = routes {
            object["metadata"]["annotations"]["serving.knative.dev/routes"] = json!(routes);
        }
        let mut cluster = Cluster::default();
        cluster.create(Kind::Configuration, object);
        let events = follow(&mut cluster);
        assert_eq!(said(&events), [(false, "Created", "Created Revision \"hello-00001\"")]);
        let revision = cluster.get(Kind::Revision, "hello-00001").unwrap();
        let metadata = &revision["metadata"];
        let uid = cluster.get(Kind::Configuration, NAME).unwrap()["metadata"]["uid"].clone();
        assert_eq!(
            metadata["labels"],
            json!({
                "a": "b", "serving.knative.dev/configuration": NAME,
                "serving.knative.dev/configurationGeneration": "1",
                "serving.knative.dev/configurationUID": uid, "serving.knative.dev/service": "svc",
                "serving.knative.dev/serviceUID": "uid-s", "serving.knative.dev/routingState": state
            })
        );
        let modified = metadata["annotations"]["serving.knative.dev/routingStateModified"].as_str().unwrap();
        assert!(modified.starts_with("2027-01-15T08:00:0") && modified.ends_with('Z'), "{modified}");
        let mut annotations = json!({
            "c": "d", "serving.knative.dev/creator": "bob",
            "serving.knative.dev/routingStateModified": modified
        });
        if state == "active" {
            annotations["serving.knative.dev/routes"] = json!("hello,other");
        }
        assert_eq!(metadata["annotations"], annotations);
        let owner = json!([{
            "apiVersion": "serving.knative.dev/v1", "kind": "Configuration", "name": NAME, "uid": uid,
            "controller": true, "blockOwnerDeletion": true
        }]);
        assert_eq!(metadata["ownerReferences"], owner);
        assert_eq!(metadata["finalizers"], Value::Null);
        assert_eq!(revision["spec"], json!({"containers": [{"image": "app:1"}], "timeoutSeconds": 300}));
    }
}

#[test]
fn a_configuration_is_ready_when_its_latest_revision_is() {
    let mut cluster = cluster(&template("app:1"));
    follow(&mut cluster);
    assert_eq!(words(&cluster), "hello-00001, -: Unknown");
    assert_eq!(ready(&examine_seen(&cluster, None)), (s("Unknown"), s(""), s("")));
    let events = judge(&mut cluster, "hello-00001", "True");
    assert_eq!(words(&cluster), "hello-00001, hello-00001: True");
    assert_eq!(
        said(&events),
        [
            (false, "ConfigurationReady", "Configuration becomes ready"),
            (false, "LatestReadyUpdate", "LatestReadyRevisionName updated to \"hello-00001\""),
        ]
    );
    change(&mut cluster, &template("app:2"));
    follow(&mut cluster);
    assert_eq!(words(&cluster), "hello-00002, hello-00001: Unknown");
    let events = judge(&mut cluster, "hello-00002", "False");
    assert_eq!(words(&cluster), "hello-00002, hello-00001: False");
    let message = "Revision \"hello-00002\" failed with message: it is so.";
    assert_eq!(ready(&examine_seen(&cluster, None)), (s("False"), s("RevisionFailed"), s(message)));
    let text = "Latest created revision \"hello-00002\" has failed";
    assert_eq!(said(&events), [(true, "LatestCreatedFailed", text)]);
    judge(&mut cluster, "hello-00002", "True");
    assert_eq!(words(&cluster), "hello-00002, hello-00002: True");
    let events = judge(&mut cluster, "hello-00002", "False");
    assert_eq!(words(&cluster), "hello-00002, hello-00002: False");
    assert_eq!(
        said(&events),
        [(true, "LatestReadyFailed", "Latest ready revision \"hello-00002\" has failed")]
    );
}

fn s(text: &str) -> String {
    text.to_owned()
}

#[test]
fn the_latest_ready_revision_never_goes_back_while_it_exists() {
    let mut cluster = cluster(&template("app:1"));
    for image in ["app:2", "app:3", "app:4"] {
        follow(&mut cluster);
        change(&mut cluster, &template(image));
    }
    follow(&mut cluster);
    // Each row: what happens to which revision, and what is said then.
    let table = [
        ("hello-00002", "True", "hello-00004, hello-00002: Unknown"),
        ("hello-00001", "True", "hello-00004, hello-00002: Unknown"),
        ("hello-00003", "False", "hello-00004, hello-00002: Unknown"),
        ("hello-00002", "False", "hello-00004, hello-00002: Unknown"),
        ("hello-00003", "True", "hello-00004, hello-00003: Unknown"),
        ("hello-00004", "False", "hello-00004, hello-00003: False"),
        ("hello-00002", "True", "hello-00004, hello-00003: False"),
        ("hello-00003", "delete", "hello-00004, hello-00002: False"),
        ("hello-00004", "True", "hello-00004, hello-00004: True"),
        // It is made again, and what is ready is the latest until it is too.
        ("hello-00004", "delete", "hello-00004, hello-00002: Unknown"),
        ("hello-00004", "True", "hello-00004, hello-00004: True"),
    ];
    for (revision, what, wanted) in table {
        if what == "delete" {
            cluster.delete(Kind::Revision, revision);
            follow(&mut cluster);
        } else {
            judge(&mut cluster, revision, what);
        }
        assert_eq!(words(&cluster), wanted, "after {revision} {what}");
    }
}

#[test]
fn a_status_of_an_older_generation_of_a_revision_does_not_count() {
    let mut cluster = cluster(&template("app:1"));
    follow(&mut cluster);
    judge(&mut cluster, "hello-00001", "True");
    cluster.change(Kind::Revision, "hello-00001", &json!({"spec": {"timeoutSeconds": 7}}));
    follow(&mut cluster);
    assert_eq!(words(&cluster), "hello-00001, hello-00001: Unknown");
}

#[test]
fn a_revision_of_a_chosen_name_is_used_again_when_the_template_comes_back_to_it() {
    let mut cluster = cluster(&named("hello-a", "app:1"));
    for template in [named("hello-b", "app:2"), named("hello-c", "app:3")] {
        follow(&mut cluster);
        change(&mut cluster, &template);
    }
    follow(&mut cluster);
    for revision in ["hello-a", "hello-b", "hello-c"] {
        judge(&mut cluster, revision, "True");
    }
    assert_eq!(words(&cluster), "hello-c, hello-c: True");
    change(&mut cluster, &named("hello-a", "app:1"));
    follow(&mut cluster);
    assert_eq!(words(&cluster), "hello-a, hello-a: True");
    assert_eq!(cluster.revisions, 3);

    // The next one fails: what the user went back from does not come again.
    change(&mut cluster, &template("app:5"));
    follow(&mut cluster);
    judge(&mut cluster, "hello-00005", "False");
    judge(&mut cluster, "hello-b", "False");
    judge(&mut cluster, "hello-b", "True");
    assert_eq!(words(&cluster), "hello-00005, hello-a: False");
    judge(&mut cluster, "hello-00005", "True");
    assert_eq!(words(&cluster), "hello-00005, hello-00005: True");
    let status = &cluster.get(Kind::Configuration, NAME).unwrap()["status"];
    assert_eq!(status["annotations"], Value::Null);
}

#[test]
fn a_chosen_name_that_means_something_else_is_a_conflict() {
    let mut cluster = cluster(&named("hello-a", "app:1"));
    follow(&mut cluster);
    judge(&mut cluster, "hello-a", "True");
    change(&mut cluster, &named("hello-a", "app:2"));
    let events = follow(&mut cluster);
    let text =
        "Revision creation failed with message: revisions.serving.knative.dev \"hello-a\" already exists.";
    let outcome = examine_seen(&cluster, None);
    assert_eq!(ready(&outcome), (s("False"), s("RevisionFailed"), s(text)));
    assert_eq!(said(&events), [(true, "CreationFailed", text)]);
    assert_eq!((outcome.writes, outcome.events), (vec![], vec![]));
    assert_eq!(words(&cluster), "hello-a, hello-a: False");
}

#[test]
fn a_name_that_a_deleted_configuration_still_has_is_waited_for() {
    let mut cluster = cluster(&template("app:1"));
    follow(&mut cluster);
    judge(&mut cluster, "hello-00001", "True");
    cluster.delete(Kind::Configuration, NAME);
    cluster.create(Kind::Configuration, configuration(&template("app:1")));
    follow(&mut cluster);
    assert_eq!(words(&cluster), "-, -: Unknown");
    assert_eq!(examine_seen(&cluster, None).writes, []);
    cluster.delete(Kind::Revision, "hello-00001");
    follow(&mut cluster);
    assert_eq!((words(&cluster), cluster.revisions), (s("hello-00001, -: Unknown"), 2));

    // One of another Configuration that lives does not go away.
    let mut other = configuration(&template("app:1"));
    other["metadata"]["name"] = json!("other");
    cluster.create(Kind::Configuration, other);
    let uid = cluster.get(Kind::Configuration, "other").unwrap()["metadata"]["uid"].clone();
    let owner = json!([{
        "apiVersion": "serving.knative.dev/v1", "kind": "Configuration", "name": "other", "uid": uid,
        "controller": true
    }]);
    cluster.change(Kind::Revision, "hello-00001", &json!({"metadata": {"ownerReferences": owner}}));
    follow(&mut cluster);
    assert_eq!(words(&cluster), "hello-00001, -: False");
}

#[test]
fn what_the_api_server_says_of_a_failed_creation_is_said_once() {
    let mut cluster = cluster(&template("app:1"));
    let outcome = examine_seen(&cluster, Some("quota"));
    let message = "Revision creation failed with message: quota.";
    assert_eq!(ready(&outcome), (s("False"), s("RevisionFailed"), s(message)));
    assert!(said(&outcome.events).contains(&(true, "CreationFailed", "Failed to create Revision: quota")));
    assert!(matches!(outcome.writes[..], [Write::Create(_)]), "it is tried again");
    assert_eq!(outcome.status.observed.observed_generation, Some(1));
    let version = cluster.get(Kind::Configuration, NAME).unwrap()["metadata"]["resourceVersion"].clone();
    cluster.put_status(Kind::Configuration, NAME, &version, serde_json::to_value(&outcome.status).unwrap());
    cluster.deliver_all();
    let again = examine_seen(&cluster, Some("quota"));
    assert_eq!(again.status, outcome.status);
    assert!(!said(&again.events).iter().any(|(_, reason, _)| *reason == "CreationFailed"));
    // Once the Revision exists, the failure is of the past.
    follow(&mut cluster);
    assert_eq!(ready(&examine_seen(&cluster, Some("quota"))).0, "Unknown");
}

#[test]
fn a_template_without_anything_to_run_says_so() {
    for template in [json!(null), json!({}), json!({"metadata": {"name": "hello-a"}})] {
        let mut object = configuration(&template);
        if template.is_null() {
            object["spec"] = json!({});
        }
        let mut cluster = Cluster::default();
        cluster.create(Kind::Configuration, object);
        follow(&mut cluster);
        let outcome = examine_seen(&cluster, None);
        let message = "Revision creation failed with message: missing field(s): spec.template.spec.";
        assert_eq!((ready(&outcome).2.as_str(), outcome.writes.len()), (message, 0));
    }
}

#[test]
fn orphans_are_adopted_and_the_one_that_runs_the_template_is_used() {
    let mut cluster = cluster(&template("app:1"));
    follow(&mut cluster);
    change(&mut cluster, &template("app:2"));
    follow(&mut cluster);
    // As after a restore: the references are gone, and the Configuration is a new one.
    cluster.delete(Kind::Configuration, NAME);
    for revision in ["hello-00001", "hello-00002"] {
        let orphan = json!({"metadata": {"ownerReferences": null}});
        cluster.change(Kind::Revision, revision, &orphan);
        cluster.judge(revision, "True");
    }
    let before = cluster.clone();
    cluster.create(Kind::Configuration, configuration(&template("app:1")));
    follow(&mut cluster);
    assert_eq!(words(&cluster), "hello-00001, hello-00001: True");
    assert_eq!(cluster.revisions, 2);
    let uid = cluster.get(Kind::Configuration, NAME).unwrap()["metadata"]["uid"].clone();
    for revision in ["hello-00001", "hello-00002"] {
        let metadata = &cluster.get(Kind::Revision, revision).unwrap()["metadata"];
        assert_eq!(metadata["ownerReferences"][0]["uid"], uid);
    }

    // The first one runs something else: it must not pass as what the template asks for.
    let mut cluster = before;
    cluster.create(Kind::Configuration, configuration(&template("app:2")));
    follow(&mut cluster);
    assert_eq!(words(&cluster), "-, hello-00002: False");
}

#[test]
fn metadata_of_a_configuration_makes_no_revision_and_reaches_none() {
    let mut cluster = cluster(&template("app:1"));
    follow(&mut cluster);
    judge(&mut cluster, "hello-00001", "True");
    let revision = cluster.get(Kind::Revision, "hello-00001").unwrap().clone();
    let metadata = json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}});
    cluster.change(Kind::Configuration, NAME, &metadata);
    let object = cluster.get(Kind::Configuration, NAME).unwrap().clone();
    assert_eq!(follow(&mut cluster), []);
    assert_eq!(cluster.get(Kind::Configuration, NAME), Some(&object));
    assert_eq!(cluster.get(Kind::Revision, "hello-00001"), Some(&revision));
}

#[test]
fn odd_configurations_are_no_reason_to_panic() {
    let long = "ä".repeat(300);
    for metadata in [
        json!({}),
        json!({"name": "", "generation": -7}),
        json!({"name": long, "generation": i64::MAX}),
        json!({"name": "x", "labels": {"serving.knative.dev/service": "ä"}}),
    ] {
        let object = json!({
            "apiVersion": "serving.knative.dev/v1", "kind": "Configuration", "metadata": metadata,
            "spec": {"template": template("")}
        });
        let configuration: Configuration = serde_json::from_value(object).unwrap();
        let outcome = examine(&configuration, &Seen::default(), Some("%s ä"), Timestamp::UNIX_EPOCH);
        assert!(matches!(outcome.writes[..], [Write::Create(_)]));
    }
}

/// What may happen to a Configuration without a ksvc.
#[derive(Clone, Debug)]
enum Step {
    Template(Option<u8>, u8),
    Judge(usize, &'static str),
    Delete(usize),
    Deliver(usize),
    Examine,
}

fn steps() -> impl Strategy<Value = Step> {
    let truth = prop_oneof![Just("True"), Just("False"), Just("Unknown")];
    prop_oneof![
        2 => (prop::option::of(0..3_u8), 0..3_u8).prop_map(|(name, image)| Step::Template(name, image)),
        4 => (any::<usize>(), truth).prop_map(|(which, truth)| Step::Judge(which, truth)),
        1 => any::<usize>().prop_map(Step::Delete),
        8 => any::<usize>().prop_map(Step::Deliver),
        4 => Just(Step::Examine),
    ]
}

proptest! {
    // Each case is a small cluster, so there are fewer than usual.
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Chosen names may conflict here: then the Configuration fails, and that is where it ends.
    #[test]
    fn whatever_happens_ends_where_nothing_follows(steps in prop::collection::vec(steps(), 0..60)) {
        let mut cluster = cluster(&template("app:0"));
        for step in steps {
            let revisions = cluster.names(Kind::Revision);
            let revision = |which: usize| revisions.get(which % revisions.len().max(1));
            match step {
                Step::Template(Some(name), image) => {
                    change(&mut cluster, &named(&format!("hello-v{name}"), &format!("app:{image}")));
                }
                Step::Template(None, image) => change(&mut cluster, &template(&format!("app:{image}"))),
                Step::Judge(which, truth) => {
                    if let Some(revision) = revision(which) {
                        cluster.judge(revision, truth);
                    }
                }
                Step::Delete(which) => {
                    let deleted = revision(which).is_some_and(|one| cluster.delete(Kind::Revision, one));
                    prop_assert_eq!(deleted, !revisions.is_empty());
                }
                Step::Deliver(which) => {
                    cluster.deliver(which);
                }
                Step::Examine => prop_assert!(cluster.examine_configuration().len() <= 4),
            }
        }
        follow(&mut cluster);
        let outcome = examine_seen(&cluster, None);
        prop_assert_eq!((&outcome.writes, &outcome.events), (&vec![], &vec![]));
        let stored = cluster.seen.configurations.get(NAMESPACE, NAME).unwrap();
        prop_assert_eq!(Some(&outcome.status), stored.status.as_ref());
        prop_assert_eq!(outcome.status.observed.observed_generation, stored.metadata.generation);

        let latest = &outcome.status.latest;
        let exists = |name: &String| cluster.get(Kind::Revision, name);
        let created = latest.latest_created_revision_name.as_ref().and_then(exists);
        match ready(&outcome).0.as_str() {
            "True" => {
                prop_assert_eq!(&latest.latest_created_revision_name, &latest.latest_ready_revision_name);
                let template = serde_json::to_value(&stored.spec.template).unwrap();
                prop_assert_eq!(&created.unwrap()["spec"], &template["spec"]);
            }
            "Unknown" => prop_assert!(created.is_some()),
            _ => prop_assert!(ready(&outcome).2.contains("failed with message")),
        }
        if let Some(name) = &latest.latest_ready_revision_name {
            prop_assert!(exists(name).is_some());
        }
    }
}
