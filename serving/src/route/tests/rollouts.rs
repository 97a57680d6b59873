use kube::ResourceExt;
use serde_json::json;

use super::{cluster, says};
use crate::{conditions::READY, route::fixtures::words};

#[test]
fn a_new_latest_revision_gets_its_share_in_steps_and_the_status_says_how_much() {
    let mut cluster = cluster();
    cluster.roll_out_over(60);
    cluster.route(&json!([
        { "revisionName": "hello-00001", "percent": 40 },
        { "configurationName": "hello", "percent": 60 },
    ]));
    cluster.settle();
    assert_eq!(cluster.annotation("hello", "ebb.dev/split-duration"), None, "the first holds at once");
    cluster.ready("hello", "hello-00002");
    cluster.examine();
    assert_eq!(cluster.annotation("hello", "ebb.dev/split-duration"), Some("1m"));
    assert_eq!(words(&cluster.status().traffic), ["hello-00001=40", "hello-00001*=60"], "nothing has begun");
    cluster.engine();
    cluster.examine();
    assert_eq!(words(&cluster.status().traffic), ["hello-00001=40", "hello-00001*=59", "hello-00002*=1"]);
    assert_eq!(
        says(&cluster, READY),
        "Unknown RolloutInProgress A gradual rollout of the latest revision(s) is in progress."
    );
    assert_eq!(cluster.labels("hello-00001").1, "active");
    cluster.settle();
    assert_eq!(says(&cluster, READY), "True");
    assert_eq!(words(&cluster.status().traffic), ["hello-00001=40", "hello-00002*=60"]);
    assert_eq!(cluster.annotation("hello", "ebb.dev/split-duration"), Some("1m"), "nothing asks for a write");
    cluster.roll_out_over(5);
    assert_eq!(cluster.examine().writes, [], "nor does a new pace without a rollout");
    cluster.route(&json!([{ "revisionName": "hello-00001", "percent": 100 }]));
    cluster.examine();
    assert_eq!(cluster.annotation("hello", "ebb.dev/split-duration"), None, "a user's change holds at once");
    cluster.engine();
    cluster.examine();
    assert_eq!(says(&cluster, READY), "True");
}

#[test]
fn a_rollout_that_has_stopped_says_why() {
    let mut cluster = cluster();
    cluster.roll_out_over(60);
    cluster.settle();
    cluster.ready("hello", "hello-00002");
    cluster.examine();
    cluster.engine();
    let stopped = json!({
        "from": "hello-00001=1", "to": "hello-00002=100", "before": "hello-00001=1", "done": 10, "stopped": "no image",
    });
    let service = cluster.services.values_mut().next().unwrap();
    service.annotations_mut().insert("ebb.dev/rollout".to_owned(), stopped.to_string());
    let service = service.clone();
    cluster.service(serde_json::to_value(service).unwrap());
    cluster.examine();
    assert!(says(&cluster, READY).ends_with("is in progress. It has stopped: no image"));
    cluster.roll_out_over(0);
    cluster.settle();
    assert_eq!(says(&cluster, READY), "True", "without a duration the rest holds at once");
}

#[test]
fn the_longest_rollout_is_a_day_and_the_own_duration_comes_first() {
    for (own, wanted) in [("48h", "24h"), ("0s", "1m"), ("30s", "30s"), ("nonsense", "1m")] {
        let mut cluster = cluster();
        cluster.roll_out_over(60);
        cluster.edit(|route| {
            route.annotations_mut().insert("serving.knative.dev/rollout-duration".to_owned(), own.to_owned());
        });
        cluster.settle();
        cluster.ready("hello", "hello-00002");
        cluster.examine();
        assert_eq!(cluster.annotation("hello", "ebb.dev/split-duration"), Some(wanted), "{own}");
    }
}
