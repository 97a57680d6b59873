//! Routes that approach a changed split step by step.
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ebb_annotations::{ClusterDefaults, Reachability, full_key, parse, parse_route};
use ebb_core::ServiceKey;
use ebb_decide::{
    Pod,
    platform::FleetEvent,
    route::{Split, rollout::Progress},
};
use support::{Activator, Call, Told, World, pod, young_world};

fn route() -> ServiceKey {
    ServiceKey::new("ns", "hello")
}

fn annotations(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(key, value)| (full_key(key), (*value).to_owned())).collect()
}

/// Adds these annotations to the route.
async fn route_says(world: &World, says: &[(&str, &str)], kept: Option<&Progress>) {
    let mut split = Split::new(&parse_route("hello", &annotations(says)).unwrap().spec, |_| String::new());
    split.pace.kept = kept.cloned();
    world.fleet.send(FleetEvent::Route { key: route(), split: Arc::new(split), port: 30_009 }).await.unwrap();
}

/// Adds a service of the split; activators take all its traffic, and its pods are not scraped.
async fn service_says(world: &World, name: &str, says: &[(&str, &str)]) {
    let defaults = ClusterDefaults { allow_zero_initial_scale: true, ..ClusterDefaults::default() };
    let mut all = annotations(&[("initial-scale", "0"), ("target-burst-capacity", "-1")]);
    all.extend(annotations(says));
    let spec = parse(&all, &defaults, Reachability::Reachable).unwrap().spec;
    let key = ServiceKey::new("ns", name);
    world.fleet.send(FleetEvent::Service { key, spec: Arc::new(spec), port: 30_001 }).await.unwrap();
    pods(world, name, 0, 0, "").await;
}

/// Sets the ready pods of a service, and how many it should have.
async fn pods(world: &World, name: &str, ready: usize, replicas: u32, trouble: &str) {
    let pods: Vec<Pod> = (0..ready).map(|n| Pod { name: format!("{name}-{n}"), ..pod(true) }).collect();
    let (key, trouble) = (ServiceKey::new("ns", name), trouble.to_owned());
    world.fleet.send(FleetEvent::Pods { key, pods, replicas, trouble }).await.unwrap();
}

/// Waits until a stored progress satisfies `wanted`.
async fn kept(world: &mut World, wanted: impl Fn(&Progress) -> bool) -> Progress {
    world
        .until(|told| {
            if let Told::Keep(Some(progress)) = told { wanted(&progress).then_some(progress) } else { None }
        })
        .await
}

/// Waits for the end of a rollout, which may exceed the limit of a single wait.
async fn ended(world: &mut World) -> Progress {
    loop {
        let next = kept(world, |_| true).await;
        if next.under_way.is_none() {
            return next;
        }
    }
}

/// Returns how much of the way is done; all of it if no rollout is under way.
fn done(progress: &Progress) -> u16 {
    progress.under_way.as_ref().map_or(1000, |way| way.done)
}

fn stopped(progress: &Progress) -> &str {
    progress.under_way.as_ref().map_or("", |way| &way.stopped)
}

/// Returns a world with a route that sends everything to v1 and changes slowly; v2 must have two pods before its
/// share.
async fn before() -> World {
    let mut world = young_world().await;
    service_says(&world, "v1", &[]).await;
    service_says(&world, "v2", &[("min-scale", "2")]).await;
    route_says(&world, &[("split", "v1=100"), ("split-duration", "1m")], None).await;
    world.fleet.send(FleetEvent::Complete).await.unwrap();
    assert_eq!(
        kept(&mut world, |_| true).await.text(),
        r#"{"to":"v1=100"}"#,
        "the first split holds at once"
    );
    world
}

#[tokio::test(start_paused = true)]
async fn a_rollout_waits_for_pods_stops_where_they_fail_and_ends_with_what_was_asked_for() {
    let mut world = before().await;
    let begin = tokio::time::Instant::now();
    route_says(&world, &[("split", "v2=100"), ("split-duration", "1m")], None).await;
    let first = kept(&mut world, |_| true).await;
    assert_eq!((done(&first), stopped(&first)), (0, ""), "nobody gets anything who has no pods yet");
    let waited = world.until(|told| if let Told::Keep(Some(_)) = told { Some(()) } else { None });
    assert!(tokio::time::timeout(Duration::from_secs(10), waited).await.is_err(), "it waits");

    pods(&world, "v2", 2, 2, "").await;
    let mut last = first;
    while done(&last) < 300 {
        let next = kept(&mut world, |_| true).await;
        assert!(done(&next) > done(&last) && stopped(&next).is_empty(), "{next:?} after {last:?}");
        last = next;
    }
    pods(&world, "v2", 1, 2, "pod v2-1: CrashLoopBackOff").await;
    let stuck = kept(&mut world, |progress| !stopped(progress).is_empty()).await;
    assert_eq!(stopped(&stuck), "v2: pod v2-1: CrashLoopBackOff");
    tokio::time::advance(Duration::from_secs(300)).await;
    pods(&world, "v2", 2, 2, "").await;
    let again = kept(&mut world, |progress| stopped(progress).is_empty()).await;
    assert!(
        done(&again) <= done(&stuck) + 17,
        "one step at most is taken by then: {again:?} after {stuck:?}"
    );
    assert_eq!(ended(&mut world).await.text(), r#"{"to":"v2=100"}"#);
    let took = begin.elapsed().as_secs();
    assert!((300 + 70..300 + 100).contains(&took), "its minute, and what it waited: {took} s");
}

#[tokio::test(start_paused = true)]
async fn an_undo_takes_no_steps_and_a_pause_none_either() {
    let mut world = before().await;
    pods(&world, "v2", 2, 2, "").await;
    let to_v2 = [("split", "v2=100"), ("split-duration", "1m"), ("rollout-paused", "false")];
    route_says(&world, &to_v2, None).await;
    kept(&mut world, |progress| done(progress) > 200).await;
    route_says(&world, &[to_v2[0], to_v2[1], ("rollout-paused", "true")], None).await;
    tokio::time::advance(Duration::from_secs(30)).await;
    route_says(&world, &to_v2, None).await;
    let after = kept(&mut world, |_| true).await;
    assert!(done(&after) < 350, "{after:?}");
    route_says(&world, &[("split", "v1=100"), ("split-duration", "1m")], None).await;
    let undone = kept(&mut world, |progress| progress.to[0].service == "v1").await;
    assert_eq!(undone.under_way, None);
}

#[tokio::test(start_paused = true)]
async fn who_takes_over_goes_on_from_what_is_written_down() {
    let mut world = before().await;
    pods(&world, "v2", 2, 2, "").await;
    world.leads(false).await;
    // Another autoscaler leads meanwhile.
    let text = r#"{"before":"v1=100","done":700,"from":"v1=100","to":"v2=100"}"#;
    route_says(&world, &[("split", "v2=100"), ("split-duration", "1m")], Progress::read(text).as_ref()).await;
    world.leads(true).await;
    let next = kept(&mut world, |_| true).await;
    assert!((701..=760).contains(&done(&next)), "{next:?}");
    ended(&mut world).await;
    // A follower stores nothing.
    world.leads(false).await;
    route_says(&world, &[("split", "v1=100"), ("split-duration", "1m")], None).await;
    let anything = world.until(|told| if let Told::Keep(_) = told { Some(()) } else { None });
    assert!(tokio::time::timeout(Duration::from_secs(10), anything).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_down_is_written_down_again() {
    let mut world = before().await;
    pods(&world, "v2", 2, 2, "").await;
    world.will_panic(Call::Keep);
    route_says(&world, &[("split", "v2=100"), ("split-duration", "1m")], None).await;
    kept(&mut world, |progress| progress.under_way.is_some()).await;
}

#[tokio::test]
async fn activators_hear_of_every_step_and_of_the_way_in_explain() {
    let world = before().await;
    let mut activator = Activator::join(world.address, "a", "10.0.1.1").await;
    let weights = |down: &ebb_core::link::Down| {
        let targets = down.routes.first().map(|route| &route.targets);
        targets.map(|all| all.iter().map(|one| (one.service.clone(), one.weight)).collect::<Vec<_>>())
    };
    let is_known = |down: &ebb_core::link::Down| weights(down).is_some();
    activator.message(is_known).await;
    pods(&world, "v2", 1, 2, "").await;
    route_says(&world, &[("split", "v2=100"), ("split-duration", "2s")], None).await;
    let told = weights(&activator.message(is_known).await).unwrap();
    assert_eq!(told, [("v1".to_owned(), 100_000_000), ("v2".to_owned(), 0)], "it is about to begin");
    let (_, said) = world.get("/explain/ns/hello").await;
    let rollout = serde_json::from_str::<serde_json::Value>(&said).unwrap()["rollout"].take();
    assert_eq!((&rollout["from"], &rollout["to"]), (&"v1=100".into(), &"v2=100".into()), "{said}");
    assert_eq!(rollout["why"], "v2 has 1 of the 2 pods that it needs for what it gets now", "{said}");

    let (_, metrics) = world.get("/metrics").await;
    let share = |service: &str, share: &str| {
        format!(
            "ebb_autoscaler_route_share{{namespace=\"ns\",route=\"hello\",service=\"{service}\"}} {share}\n"
        )
    };
    for series in [
        share("v1", "1.0"),
        share("v2", "0.0"),
        "ebb_autoscaler_rollout_stopped{namespace=\"ns\",route=\"hello\"} 0\n".to_owned(),
    ] {
        assert!(metrics.contains(&series), "{series} is not in {metrics}");
    }

    pods(&world, "v2", 2, 2, "").await;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last: &Vec<_>| last.len() > 1) {
        seen.push(weights(&activator.message(is_known).await).unwrap());
    }
    let of_v2: Vec<u32> = seen.iter().map(|all| all.last().unwrap().1).collect();
    assert_eq!(of_v2, [1_000_000, 50_500_000, 100], "{seen:?}");
    let (_, said) = world.get("/explain/ns/hello").await;
    assert!(said.contains(r#""rollout":null"#), "{said}");
    let (_, metrics) = world.get("/metrics").await;
    assert!(metrics.contains(&share("v2", "1.0")) && !metrics.contains(&share("v1", "")), "{metrics}");
    assert!(!metrics.contains("ebb_autoscaler_rollout_stopped{"), "{metrics}");
    world.fleet.send(FleetEvent::Gone(route())).await.unwrap();
    activator.message(|down| down.gone == ["ns/hello"]).await;
    let (_, metrics) = world.get("/metrics").await;
    assert!(!metrics.contains("route=\"hello\""), "{metrics}");
}
