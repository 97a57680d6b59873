use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::{Revision, Route, Service};

const HOUR: i64 = 3600;

fn at(hour: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + hour * HOUR).unwrap()
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

/// A Configuration whose latest created revision is `created`, and whose latest ready one is `ready`.
fn configuration(created: &str, ready: &str) -> Configuration {
    serde_json::from_value(json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Configuration",
        "metadata": {"name": "hello", "namespace": "apps", "uid": "uid-1", "generation": 3},
        "spec": {},
        "status": {
            "observedGeneration": 3, "latestCreatedRevisionName": created, "latestReadyRevisionName": ready
        }
    }))
    .unwrap()
}

/// What a test says of a revision.
#[derive(Clone, Debug)]
struct Given {
    name: String,
    state: &'static str,
    /// The hours at which it was created, and last had requests.
    created: i64,
    active: i64,
    ready: &'static str,
    is_kept: bool,
}

fn given(name: &str, state: &'static str, created: i64, active: i64) -> Given {
    Given { name: name.to_owned(), state, created, active, ready: "True", is_kept: false }
}

fn revision(given: &Given) -> Revision {
    let owner = json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Configuration", "name": "hello", "uid": "uid-1",
        "controller": true
    });
    serde_json::from_value(json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Revision",
        "metadata": {
            "name": given.name, "namespace": "apps", "uid": format!("uid-{}", given.name), "generation": 1,
            "creationTimestamp": at(given.created).to_string(), "ownerReferences": [owner],
            "labels": {"serving.knative.dev/routingState": given.state},
            "annotations": {
                "serving.knative.dev/routingStateModified": at(given.active).to_string(),
                "serving.knative.dev/no-gc": given.is_kept.to_string()
            }
        },
        "spec": {"containers": []},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": given.ready}]}
    }))
    .unwrap()
}

fn seen(all: &[Given]) -> Seen {
    let mut seen = Seen::default();
    for given in all {
        seen.revisions.put("apps", &given.name, revision(given));
    }
    seen
}

fn name(write: &Write) -> &str {
    match write {
        Write::Delete(reference, uid) => {
            assert_eq!((reference.kind, reference.namespace.as_str()), (Kind::Revision, "apps"));
            assert_eq!(*uid, format!("uid-{}", reference.name));
            reference.name.as_str()
        }
        other => panic!("{other:?}"),
    }
}

fn names(writes: &[Write]) -> Vec<&str> {
    writes.iter().map(name).collect()
}

fn five() -> Vec<Given> {
    // Sorted by when they were last active: a, b, c, d, e.
    ["a", "b", "c", "d", "e"]
        .into_iter()
        .zip(0..)
        .map(|(name, hour)| given(name, "reserve", 0, hour))
        .collect()
}

#[test]
fn old_revisions_go_and_some_stay_to_go_back_to() {
    let gc = |create, active, min, max| Gc {
        retain_since_create: create,
        retain_since_last_active: active,
        min_non_active: min,
        max_non_active: max,
    };
    let table: [(Gc, i64, &[&str], Option<i64>); 12] = [
        (Gc::default(), 1000, &[], None),
        (gc(Some(hours(48)), Some(hours(15)), 0, None), 47, &[], Some(48)),
        (gc(Some(hours(48)), Some(hours(15)), 0, None), 48, &["a", "b", "c", "d", "e"], None),
        (gc(Some(hours(48)), Some(hours(15)), 2, None), 48, &["a", "b", "c"], None),
        (gc(Some(hours(48)), Some(hours(15)), 5, None), 48, &[], None),
        (gc(Some(hours(1)), Some(hours(15)), 0, None), 17, &["a", "b", "c"], Some(18)),
        (gc(None, Some(hours(15)), 0, None), 16, &["a", "b"], Some(17)),
        (gc(Some(hours(20)), None, 1, None), 20, &["a", "b", "c", "d"], None),
        (gc(None, None, 0, None), 1000, &[], None),
        (gc(None, None, 0, Some(2)), 5, &["a", "b", "c"], None),
        (gc(Some(hours(48)), Some(hours(15)), 0, Some(4)), 5, &["a"], Some(48)),
        (gc(Some(Duration::MAX), Some(hours(1)), 0, None), 1000, &[], None),
    ];
    for (gc, hour, gone, next) in table {
        let (writes, again) = examine(&configuration("x", "x"), &seen(&five()), &gc, at(hour));
        assert_eq!(names(&writes), gone, "{gc:?} at {hour}");
        assert_eq!(again, next.map(at), "{gc:?} at {hour}");
    }
}

fn eager() -> Gc {
    Gc {
        retain_since_create: Some(hours(0)),
        retain_since_last_active: Some(hours(0)),
        min_non_active: 0,
        max_non_active: Some(0),
    }
}

#[test]
fn what_somebody_needs_stays() {
    let mut seen = seen(&[
        given("created", "reserve", 0, 0),
        given("ready", "reserve", 0, 0),
        given("active", "active", 0, 0),
        given("odd", "", 0, 0),
        Given { is_kept: true, ..given("kept", "reserve", 0, 0) },
        given("asked", "reserve", 0, 0),
        given("routed", "reserve", 0, 0),
        given("wished", "reserve", 0, 0),
        given("free", "reserve", 0, 0),
    ]);
    let route: Route = serde_json::from_value(json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Route", "metadata": {"name": "any", "namespace": "apps"},
        "spec": {"traffic": [{"revisionName": "asked", "percent": 0, "tag": "x"}]},
        "status": {"traffic": [{"revisionName": "routed", "percent": 100}]}
    }))
    .unwrap();
    seen.routes.put("apps", "any", route);
    let service: Service = serde_json::from_value(json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "Service",
        "metadata": {"name": "hello", "namespace": "apps"},
        "spec": {"traffic": [{"revisionName": "wished", "percent": 100}]}
    }))
    .unwrap();
    seen.services.put("apps", "hello", service);
    let mut stranger = revision(&given("stranger", "reserve", 0, 0));
    stranger.metadata.owner_references = None;
    seen.revisions.put("apps", "stranger", stranger);
    let (writes, again) = examine(&configuration("created", "ready"), &seen, &eager(), at(10));
    assert_eq!((names(&writes), again), (vec!["free"], None));
}

#[test]
fn nothing_is_deleted_while_the_status_is_of_an_older_spec_or_the_configuration_goes() {
    let seen = seen(&five());
    let mut changed = configuration("x", "x");
    changed.metadata.generation = Some(4);
    assert_eq!(examine(&changed, &seen, &eager(), at(10)), (vec![], None));
    let mut leaving = configuration("x", "x");
    leaving.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    assert_eq!(examine(&leaving, &seen, &eager(), at(10)), (vec![], None));
}

#[test]
fn revisions_that_failed_or_never_had_a_route_go_when_they_are_old_and_keep_no_other_from_staying() {
    let all = [
        given("pending", "pending", 0, 0),
        Given { ready: "False", ..given("failed", "reserve", 1, 1) },
        Given { ready: "Unknown", ..given("unknown", "reserve", 0, 0) },
        given("good", "reserve", 0, 0),
        Given { ready: "False", ..given("young", "pending", 30, 30) },
    ];
    let gc = Gc { min_non_active: 2, ..Gc::default() };
    let (writes, again) = examine(&configuration("x", "x"), &seen(&all), &gc, at(50));
    assert_eq!((names(&writes), again), (vec!["pending", "failed"], Some(at(78))));
}

#[test]
fn revisions_that_failed_make_room_before_good_ones_do() {
    let all = [
        given("good", "reserve", 0, 0),
        given("better", "reserve", 1, 1),
        Given { ready: "False", ..given("failed", "reserve", 2, 2) },
    ];
    let gc = Gc { min_non_active: 0, max_non_active: Some(1), ..Gc::default() };
    let (writes, again) = examine(&configuration("x", "x"), &seen(&all), &gc, at(3));
    assert_eq!((names(&writes), again), (vec!["failed", "good"], Some(at(49))));
}

#[test]
fn what_a_revision_does_not_say_of_its_age_is_read_to_its_favour() {
    let mut revision = revision(&given("a", "reserve", 0, 0));
    revision.metadata.annotations = Some([(crate::keys::ROUTING_STATE_MODIFIED, "rubbish")])
        .map(|all| all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
    let mut seen = Seen::default();
    seen.revisions.put("apps", "a", revision.clone());
    let gc = Gc { min_non_active: 0, ..Gc::default() };
    assert_eq!(examine(&configuration("x", "x"), &seen, &gc, at(48)).0.len(), 1, "its creation counts");
    revision.metadata.creation_timestamp = None;
    seen.revisions.put("apps", "a", revision);
    assert_eq!(examine(&configuration("x", "x"), &seen, &gc, at(48)), (vec![], Some(at(96))));
}

fn any_given() -> impl Strategy<Value = Vec<Given>> {
    let state = prop_oneof![4 => Just("reserve"), 1 => Just("pending"), 1 => Just("active")];
    let ready = prop_oneof![4 => Just("True"), 1 => Just("False"), 1 => Just("Unknown")];
    let one = (state, 0..100_i64, 0..100_i64, ready, prop::bool::weighted(0.1));
    prop::collection::vec(one, 0..20).prop_map(|all| {
        let one = |(number, (state, created, active, ready, is_kept)): (usize, _)| Given {
            name: format!("r{number}"),
            state,
            created,
            active,
            ready,
            is_kept,
        };
        all.into_iter().enumerate().map(one).collect()
    })
}

proptest! {
    #[test]
    fn one_pass_is_enough_until_the_time_that_it_tells(
        all in any_given(),
        ages in (prop::option::of(0..60_u64), prop::option::of(0..60_u64)),
        min in 0..6_usize,
        more in prop::option::of(0..6_usize),
        hour in 0..200_i64,
    ) {
        let gc = Gc {
            retain_since_create: ages.0.map(hours),
            retain_since_last_active: ages.1.map(hours),
            min_non_active: min,
            max_non_active: more.map(|more| min + more),
        };
        let configuration = configuration("r0", "r1");
        let mut seen = seen(&all);
        let (writes, again) = examine(&configuration, &seen, &gc, at(hour));
        let gone: Vec<String> = names(&writes).into_iter().map(str::to_owned).collect();
        for given in all.iter().filter(|given| gone.contains(&given.name)) {
            prop_assert!(given.state != "active" && !given.is_kept, "{:?}", given);
            prop_assert!(given.name != "r0" && given.name != "r1");
        }
        let is_useful = |given: &&Given| {
            let is_free = !given.is_kept && given.name != "r0" && given.name != "r1";
            is_free && given.state == "reserve" && given.ready != "False"
        };
        let before = all.iter().filter(is_useful).count();
        let after = all.iter().filter(is_useful).filter(|given| !gone.contains(&given.name)).count();
        prop_assert!(after >= before.min(min), "{before} became {after}");
        for name in &gone {
            seen.revisions.take("apps", name);
        }
        prop_assert_eq!(examine(&configuration, &seen, &gc, at(hour)), (vec![], again));
        // The time that it tells is neither too early nor too late.
        for later in hour..hour + 300 {
            let (writes, _) = examine(&configuration, &seen, &gc, at(later));
            if again.is_some_and(|again| at(later) >= again) {
                prop_assert!(!writes.is_empty());
                break;
            }
            prop_assert_eq!(writes, vec![]);
        }
    }
}
