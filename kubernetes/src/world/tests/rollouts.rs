//! The progress of a route's rollout, as written on the Service and read from it.

use ebb_decide::route::{Split, rollout::Progress};

use super::{routes::scaled, *};

const SETTLED: &str = r#"{"to":"v1=100"}"#;
const BEGUN: &str = r#"{"before":"v1=100","done":10,"from":"v1=100","to":"v2=100"}"#;
const HALF: &str = r#"{"before":"v1=100","done":500,"from":"v1=100","to":"v2=100"}"#;
const FAILED: &str =
    r#"{"before":"v1=100","done":500,"from":"v1=100","stopped":"v2: pod a: no image","to":"v2=100"}"#;

impl Cluster {
    /// Creates a cluster with a route whose split takes ten minutes to change, and two services in addition to it.
    fn with_rollouts(split: &str) -> Self {
        let mut cluster = Self::with_route(split);
        cluster.annotate("ebb.dev/split-duration", json!("10m"));
        for name in ["v1", "v2"] {
            cluster.world.service(scaled(name));
        }
        cluster.world.want(&key(), to_activators());
        cluster.settle();
        cluster.log.clear();
        cluster.forget_told();
        cluster
    }

    fn forget_told(&mut self) {
        let _ = (self.world.take_events(), self.world.take_notices());
    }

    fn keep(&mut self, text: Option<&str>) {
        self.world.keep(&key(), text.map(|text| Progress::read(text).unwrap()));
        self.settle();
    }

    fn told_route(&mut self) -> Option<Arc<Split>> {
        let events = self.world.take_events();
        let route = |event: &FleetEvent| match event {
            FleetEvent::Route { split, .. } => Some(split.clone()),
            _ => None,
        };
        events.iter().filter_map(route).next_back()
    }

    /// Returns the progress of the rollout that was told last.
    fn told_progress(&mut self) -> Option<String> {
        self.told_route()?.pace.kept.as_ref().map(Progress::text)
    }

    /// Returns what the owner was told since the last call, by reason.
    fn told_owner(&mut self) -> Vec<(&'static str, String)> {
        self.world.take_notices().into_iter().map(|notice| (notice.reason, notice.text)).collect()
    }

    fn written(&self) -> Option<&str> {
        self.annotation("ebb.dev/rollout")
    }
}

#[test]
fn how_far_a_rollout_is_is_written_on_the_service_and_told_to_all() {
    let mut cluster = Cluster::with_rollouts("v1=100");
    cluster.keep(Some(SETTLED));
    assert_eq!((cluster.written(), &*cluster.log), (Some(SETTLED), &["patch service"][..]));
    assert_eq!(cluster.told_progress().as_deref(), Some(SETTLED));
    assert_eq!(cluster.told_owner(), []);

    cluster.annotate("ebb.dev/split", json!("v2=100"));
    cluster.keep(Some(BEGUN));
    let split = cluster.told_route().unwrap();
    assert_eq!((split.pace.over, split.pace.paused), (Some(Duration::from_secs(600)), false));
    assert_eq!(cluster.told_owner(), [("RolloutStarted", "from v1=100 to v2=100 in 10m".to_owned())]);
    cluster.log.clear();
    cluster.keep(Some(BEGUN));
    assert!(cluster.log.is_empty(), "it stands there");

    cluster.keep(Some(FAILED));
    let why = "the rollout to v2=100 has stopped at 50.0 %: v2: pod a: no image".to_owned();
    assert_eq!(cluster.annotation("ebb.dev/status"), Some(&*why));
    assert_eq!(cluster.told_owner(), [("RolloutStopped", why)]);
    cluster.keep(Some(HALF));
    assert_eq!(cluster.annotation("ebb.dev/status"), None);
    cluster.keep(Some(r#"{"to":"v2=100"}"#));
    assert_eq!(cluster.told_owner(), [("RolloutDone", "the split v2=100 holds".to_owned())]);
    cluster.keep(None);
    assert_eq!(cluster.written(), None);
}

#[test]
fn who_leads_next_hears_of_it_and_overwrites_it_with_what_it_knows_better() {
    let mut cluster = Cluster::with_rollouts("v2=100");
    cluster.annotate("ebb.dev/rollout", json!(FAILED));
    assert_eq!(cluster.told_progress().as_deref(), Some(FAILED));
    cluster.settle();
    assert_eq!(cluster.written(), Some(FAILED), "it is left as it was until somebody decides");
    assert!(cluster.annotation("ebb.dev/status").is_some_and(|status| status.contains("no image")));
    cluster.keep(Some(BEGUN));
    assert_eq!(cluster.written(), Some(BEGUN));
    // Another autoscaler leads and continues, then this one again.
    cluster.annotate("ebb.dev/rollout", json!(HALF));
    cluster.world.lead(cluster.now);
    cluster.settle();
    assert_eq!(cluster.written(), Some(HALF));
    // Somebody else's change is overwritten.
    cluster.keep(Some(HALF));
    cluster.annotate("ebb.dev/rollout", Value::Null);
    cluster.settle();
    assert_eq!(cluster.written(), Some(HALF));
}

#[test]
fn what_ebb_did_not_write_has_no_effect() {
    let mut cluster = Cluster::with_rollouts("v2=100");
    for garbage in ["", "half", r#"{"to":"v2=100","from":"v1=1","before":"v1=1","done":4711}"#] {
        cluster.annotate("ebb.dev/rollout", json!(garbage));
        cluster.settle();
        assert_eq!(
            (cluster.told_progress(), cluster.annotation("ebb.dev/status")),
            (None, None),
            "{garbage}"
        );
        cluster.keep(Some(HALF));
        assert_eq!(cluster.written(), Some(HALF));
        cluster.world.lead(cluster.now);
    }
}

#[test]
fn a_split_at_fault_hides_no_rollout() {
    let mut cluster = Cluster::with_rollouts("v2=100");
    cluster.annotate("ebb.dev/split", json!("v2=all"));
    cluster.settle();
    cluster.forget_told();
    cluster.annotate("ebb.dev/rollout", json!(HALF));
    assert_eq!(cluster.told_progress().as_deref(), Some(HALF), "it goes on to the split that was valid");
}

#[test]
fn a_route_that_ends_leaves_no_rollout_behind() {
    let mut cluster = Cluster::with_rollouts("v2=100");
    cluster.keep(Some(HALF));
    cluster.service["metadata"]["annotations"]["ebb.dev/scale-target"] = json!("Deployment/hello");
    cluster.service["spec"]["selector"] = json!({"app": "hello"});
    cluster.annotate("ebb.dev/split", Value::Null);
    cluster.world.want(&key(), to_activators());
    cluster.settle();
    assert_eq!(cluster.written(), None);
    cluster.world.keep(&key(), Progress::read(HALF));
    cluster.settle();
    assert_eq!(cluster.written(), None, "a late word says nothing any more");
}
