//! The translator as a whole, in a simulated cluster: whatever the order of events, and however often the program starts
//! anew, the same comes of it.

mod simulated;

use std::iter::repeat;

use ebb_serving::outcome::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};
use simulated::{Cluster, settle};

fn ksvc(image: &str) -> Value {
    json!({
        "metadata": {"name": "hello", "annotations": {}, "labels": {}},
        "spec": {
            "template": {
                "metadata": {},
                "spec": {"containers": [{"image": format!("dev.local/app-{image}")}]},
            },
            "traffic": [{"latestRevision": true, "percent": 100}],
        },
    })
}

fn ready(object: &Value) -> (&str, &str) {
    let all = object["status"]["conditions"].as_array().expect("conditions");
    let ready = all.iter().find(|one| one["type"] == "Ready").expect("Ready");
    (ready["status"].as_str().unwrap_or_default(), ready["reason"].as_str().unwrap_or_default())
}

fn settled(cluster: &mut Cluster, choices: &[usize]) {
    let mut world = cluster.read_anew();
    world.touch_all();
    let mut choices = choices.iter().copied().chain(repeat(0));
    settle(cluster, &mut world, &mut choices);
}

#[test]
fn a_ksvc_becomes_ready_with_six_objects_besides_itself() {
    let mut cluster = Cluster::default();
    cluster.user_applies(Kind::Service, ksvc("one"));
    settled(&mut cluster, &[]);
    let service = cluster.get(Kind::Service, "hello").unwrap();
    assert_eq!(ready(service), ("True", ""), "{service:#}");
    assert_eq!(service["status"]["latestReadyRevisionName"], "hello-00001");
    assert_eq!(service["status"]["observedGeneration"], 1);
    assert_eq!(
        service["status"]["traffic"],
        json!([{"revisionName": "hello-00001", "latestRevision": true, "percent": 100}])
    );
    assert_eq!(cluster.names(Kind::Configuration), ["hello"]);
    assert_eq!(cluster.names(Kind::Revision), ["hello-00001"]);
    assert_eq!(cluster.names(Kind::Route), ["hello"]);
    assert_eq!(cluster.names(Kind::Deployment), ["hello-00001-deployment"]);
    assert_eq!(cluster.names(Kind::Front), ["hello", "hello-00001"]);
    let front = cluster.get(Kind::Front, "hello").unwrap();
    assert_eq!(front["metadata"]["annotations"]["ebb.dev/split"], "hello-00001=100");
}

#[test]
fn a_new_image_makes_the_second_revision_and_moves_the_traffic_to_it() {
    let mut cluster = Cluster::default();
    cluster.user_applies(Kind::Service, ksvc("one"));
    settled(&mut cluster, &[]);
    cluster.user_applies(Kind::Service, ksvc("two"));
    settled(&mut cluster, &[]);
    let service = cluster.get(Kind::Service, "hello").unwrap();
    assert_eq!(ready(service), ("True", ""), "{service:#}");
    assert_eq!(service["status"]["latestReadyRevisionName"], "hello-00002");
    let front = cluster.get(Kind::Front, "hello").unwrap();
    assert_eq!(front["metadata"]["annotations"]["ebb.dev/split"], "hello-00002=100");
    let labels = |name| cluster.get(Kind::Revision, name).unwrap()["metadata"]["labels"].clone();
    assert_eq!(labels("hello-00001")["serving.knative.dev/routingState"], "reserve");
    assert_eq!(labels("hello-00002")["serving.knative.dev/routingState"], "active");
    let configuration = cluster.get(Kind::Configuration, "hello").unwrap();
    assert_eq!(configuration["metadata"]["generation"], 2);
}

#[test]
fn an_idle_cluster_is_not_written_to() {
    let mut cluster = Cluster::default();
    cluster.user_applies(Kind::Service, ksvc("one"));
    settled(&mut cluster, &[]);
    let before = cluster.writes;
    settled(&mut cluster, &[]);
    assert_eq!(cluster.writes, before);
}

#[test]
fn a_deleted_ksvc_leaves_nothing() {
    let mut cluster = Cluster::default();
    cluster.user_applies(Kind::Service, ksvc("one"));
    settled(&mut cluster, &[]);
    cluster.user_deletes(Kind::Service, "hello");
    settled(&mut cluster, &[]);
    for kind in
        [Kind::Service, Kind::Configuration, Kind::Revision, Kind::Route, Kind::Deployment, Kind::Front]
    {
        assert!(cluster.names(kind).is_empty(), "{kind:?}: {:?}", cluster.names(kind));
    }
}

/// What the user does next.
#[derive(Clone, Debug)]
enum Step {
    Image(u8),
    Label(u8),
    Pin(u8),
    Delete,
    /// Deletes the ksvc and creates it anew, before anything has followed from the deletion.
    Anew,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..4).prop_map(Step::Image),
        1 => (0_u8..3).prop_map(Step::Label),
        1 => (1_u8..3).prop_map(Step::Pin),
        1 => Just(Step::Delete),
        1 => Just(Step::Anew),
    ]
}

/// Does the steps, settling after each, in the order that `choices` gives.
fn after(steps: &[Step], choices: &[usize]) -> Cluster {
    let mut cluster = Cluster::default();
    let mut world = cluster.read_anew();
    let mut service = ksvc("app-0");
    let mut choices = choices.iter().copied().chain(repeat(0));
    for step in steps {
        match step {
            Step::Image(image) => {
                service["spec"]["template"]["spec"]["containers"][0]["image"] =
                    json!(format!("dev.local/app-{image}"));
            }
            Step::Label(label) => service["metadata"]["labels"]["juicy"] = json!(label.to_string()),
            Step::Pin(revision)
                if cluster.get(Kind::Revision, &format!("hello-0000{revision}")).is_some() =>
            {
                service["spec"]["traffic"] = json!([{"revisionName": format!("hello-0000{revision}"), "latestRevision": false, "percent": 100}]);
            }
            Step::Pin(_) => {}
            Step::Anew => cluster.user_deletes(Kind::Service, "hello"),
            Step::Delete => {
                cluster.user_deletes(Kind::Service, "hello");
                service = ksvc("app-0");
                settle(&mut cluster, &mut world, &mut choices);
                continue;
            }
        }
        cluster.user_applies(Kind::Service, service.clone());
        settle(&mut cluster, &mut world, &mut choices);
    }
    cluster
}

/// Everything but what differs from run to run: uids and versions.
fn shape(cluster: &Cluster) -> Vec<(String, Value)> {
    let kinds =
        [Kind::Service, Kind::Configuration, Kind::Revision, Kind::Route, Kind::Deployment, Kind::Front];
    let mut all = Vec::new();
    for kind in kinds {
        for name in cluster.names(kind) {
            let mut object = cluster.get(kind, name).expect("it is named").clone();
            strip(&mut object);
            all.push((format!("{kind:?} {name}"), object));
        }
    }
    all
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for key in [
                "uid",
                "resourceVersion",
                "serving.knative.dev/configurationUID",
                "serving.knative.dev/serviceUID",
                "serving.knative.dev/revisionUID",
                "serving.knative.dev/deployment-hash",
                "ebb.dev/generation",
                "observedGeneration",
                "generation",
            ] {
                fields.remove(key);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_events_and_any_restart_end_in_the_same_state(
        steps in prop::collection::vec(step(), 1..5),
        choices in prop::collection::vec(0_usize..4096, 0..600),
    ) {
        let (plain, mixed) = (after(&steps, &[]), after(&steps, &choices));
        let (plain, mixed) = (shape(&plain), shape(&mixed));
        let names = |all: &[(String, Value)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        prop_assert_eq!(names(&plain), names(&mixed));
        for ((name, one), (_, other)) in plain.iter().zip(&mixed) {
            prop_assert_eq!(one, other, "{}", name);
        }
    }
}
