use std::{collections::BTreeMap, time::Duration};

use ebb_annotations::{ClusterDefaults, Reachability, full_key, parse};

use super::*;
use crate::{
    PodAddress,
    endpoints::{Answering, Standing},
    zero::Path,
};

const ACTIVATOR: &str = "10.0.1.1:30001";

/// A service in a world that executes its actions.
struct World {
    service: ServiceState,
    now: Tick,
    replicas: u32,
    /// Pods that run but are not ready yet.
    starting: u32,
    ready: u32,
    published: Option<Endpoints>,
    /// Whether its pods have no queue-proxy.
    direct: bool,
}

impl World {
    /// Creates a service at rest.
    fn with(annotations: &[(&str, &str)]) -> Self {
        Self::running(annotations, 0)
    }

    /// Creates a service that had `pods` pods before it was first seen.
    fn running(annotations: &[(&str, &str)], pods: u32) -> Self {
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(key, value)| (full_key(key), (*value).to_owned())).collect();
        let defaults = ClusterDefaults { allow_zero_initial_scale: true, ..ClusterDefaults::default() };
        let parsed = parse(&annotations, &defaults, Reachability::Reachable).unwrap();
        let now = Tick::from_secs(1_000_000);
        let service = ServiceState::new(Arc::new(ServiceKey::new("ns", "web")), Arc::new(parsed.spec), now);
        let mut world =
            Self { service, now, replicas: pods, starting: 0, ready: pods, published: None, direct: false };
        world.service.set_activators(Answering::heard(vec![ACTIVATOR.parse().unwrap()]), now);
        world.pods_changed();
        world
    }

    fn pods_changed(&mut self) {
        let pods = (0..self.starting + self.ready)
            .map(|n| Pod {
                name: format!("web-{n}"),
                address: Some(PodAddress {
                    serving: format!("10.0.0.{n}:8012").parse().unwrap(),
                    stats: format!("10.0.0.{n}:9090").parse().unwrap(),
                }),
                nonce: format!("nonce-{n}"),
                direct: self.direct,
                ready: n < self.ready,
                started_at: self.now,
            })
            .collect();
        self.service.set_pods(pods, self.replicas, self.now);
        self.act(Cause::Change);
    }

    /// Evaluates and executes the actions until there is nothing more to do at this moment.
    fn act(&mut self, cause: Cause) -> Next {
        loop {
            let actions = self.service.evaluate(self.now, cause);
            if let Some(endpoints) = actions.publish {
                self.published = Some(endpoints);
            }
            if let Some(pods) = actions.scale_to {
                self.replicas = pods;
                self.service.scaled(pods, self.now);
                let all = self.ready + self.starting;
                self.starting += pods.saturating_sub(all);
                self.ready = self.ready.min(pods);
                self.starting = self.starting.min(pods - self.ready);
                self.pods_changed();
            }
            if actions.next != Next::Within(Duration::ZERO) {
                return actions.next;
            }
        }
    }

    fn all_ready(&mut self) {
        self.ready += std::mem::take(&mut self.starting);
        self.pods_changed();
    }

    /// Lets `seconds` pass under a constant load, with a decision every two seconds.
    fn pass(&mut self, seconds: u64, in_flight: f64) {
        for _ in 0..seconds {
            self.now = self.now.after(Duration::from_secs(1));
            self.say(Some(in_flight));
            if self.now.as_secs().is_multiple_of(2) {
                self.act(Cause::Tick);
            }
        }
    }

    /// Reports this load, or no answer, from the pods; without pods, from the activators.
    fn say(&mut self, in_flight: Option<f64>) {
        if self.service.is_scraped() {
            let round = in_flight.map(|in_flight| Some(Estimate { stat: load(in_flight), fresh: true }));
            self.service.scraped(self.now, round.ok_or(SampleError::PodsExhausted));
        } else if let Some(in_flight) = in_flight {
            self.service.report(self.now, &load(in_flight));
        }
    }

    fn path(&self) -> Path {
        self.published.as_ref().unwrap().path
    }
}

fn load(in_flight: f64) -> Stat {
    // Requests that take a second.
    Stat { average_concurrent_requests: in_flight, request_count: in_flight, ..Stat::default() }
}

#[test]
fn the_first_request_wakes_a_service_at_once() {
    let mut world = World::with(&[("initial-scale", "0")]);
    assert_eq!((world.replicas, world.path()), (0, Path::Proxy));
    assert!(world.service.report(world.now, &load(1.0)), "a poke, not a tick");
    world.act(Cause::Poke);
    assert_eq!(world.replicas, 1);
    assert_eq!(world.path(), Path::Proxy, "no pod is ready yet");
}

#[test]
fn a_report_of_more_than_was_decided_for_is_not_left_to_the_tick() {
    let mut world = World::with(&[("initial-scale", "0"), ("target", "10")]);
    assert!(world.service.report(world.now, &load(1.0)));
    world.act(Cause::Poke);
    assert!(!world.service.report(world.now, &load(3.0)), "one pod is enough for that");
    world.now = world.now.after(Duration::from_secs(1));
    assert!(world.service.report(world.now, &load(499.0)));
    world.act(Cause::Poke);
    assert!(world.replicas >= 36, "{} pods for 250 on average at 7 each", world.replicas);
}

#[test]
fn clients_reach_the_pods_once_there_is_capacity_to_spare() {
    let mut world = World::with(&[("target", "10"), ("target-burst-capacity", "10"), ("initial-scale", "0")]);
    world.service.report(world.now, &load(1.0));
    world.act(Cause::Poke);
    world.all_ready();
    world.pass(10, 40.0);
    world.all_ready();
    world.pass(10, 40.0);
    assert_eq!(world.replicas, 6);
    assert_eq!(world.path(), Path::Serve, "6 × 10 − 10 − 40 is not negative");
}

#[test]
fn a_service_without_traffic_goes_to_zero_and_costs_nothing_there() {
    let mut world = World::with(&[("window", "6s"), ("initial-scale", "0"), ("target-burst-capacity", "0")]);
    world.service.report(world.now, &load(1.0));
    world.act(Cause::Poke);
    world.all_ready();
    world.pass(10, 1.0);
    assert_eq!((world.replicas, world.path()), (1, Path::Serve));
    world.pass(10, 0.0);
    assert_eq!((world.replicas, world.path()), (1, Path::Proxy), "activators have the grace period first");
    world.pass(30, 0.0);
    assert_eq!(world.replicas, 0);
    assert_eq!(world.act(Cause::Tick), Next::Rest(None), "nothing to be looked at again");
}

#[test]
fn missing_data_is_not_missing_load() {
    let mut world = World::with(&[("window", "6s"), ("target", "10"), ("initial-scale", "0")]);
    world.service.report(world.now, &load(1.0));
    world.act(Cause::Poke);
    world.all_ready();
    world.pass(10, 70.0);
    world.all_ready();
    world.pass(10, 70.0);
    let pods = world.replicas;
    assert!(pods >= 10);
    for _ in 0..300 {
        world.now = world.now.after(Duration::from_secs(1));
        world.say(None);
        world.act(Cause::Tick);
        assert_eq!(world.replicas, pods, "no answer, no change");
    }
    let view = world.service.view();
    assert_eq!(
        (view.fresh, view.stable),
        (false, Some(70.0)),
        "a metric says so, and the load is the last known"
    );
    world.pass(20, 7.0);
    assert_eq!(world.replicas, 1, "with data it goes on");
}

#[test]
fn one_answer_in_three_does_not_make_load_look_like_a_third_of_it() {
    let annotations = [("target", "10"), ("initial-scale", "0")];
    let mut averages = [annotations.to_vec(), [&annotations[..], &[("compatibility", "knative")]].concat()]
        .map(|annotations| {
            let mut world = World::with(&annotations);
            world.service.report(world.now, &load(1.0));
            world.act(Cause::Poke);
            world.all_ready();
            for second in 0..180 {
                world.now = world.now.after(Duration::from_secs(1));
                world.say((second % 3 == 0).then_some(30.0));
                world.act(Cause::Tick);
                world.all_ready();
            }
            world.service.view().stable.unwrap_or_default()
        })
        .into_iter();
    assert_eq!(averages.next(), Some(30.0));
    assert!(averages.next() < Some(10.5), "the reference's");
}

#[test]
fn what_comes_through_an_activator_counts_once_whoever_reports_it() {
    let mut world = World::running(&[("target", "10"), ("window", "6s")], 1);
    let proxied = Stat { average_proxied_concurrent_requests: 50.0, ..load(50.0) };
    let mut pods = |activators: Vec<SocketAddr>, reported: f64| {
        world.service.set_activators(Answering::heard(activators), world.now);
        for _ in 0..40 {
            world.now = world.now.after(Duration::from_secs(1));
            world.service.report(world.now, &load(reported));
            world.service.scraped(world.now, Ok(Some(Estimate { stat: proxied.clone(), fresh: true })));
            world.act(Cause::Tick);
            world.all_ready();
        }
        world.replicas
    };
    let activator: SocketAddr = ACTIVATOR.parse().unwrap();
    assert_eq!(pods(vec![activator], 50.0), 8, "the activator says so, and the pods do not say it again");
    assert_eq!(pods(vec![], 0.0), 8, "without activators the pods' word is all there is");
    assert_eq!(
        pods(vec![activator], 10.0),
        9,
        "another one passes on what nobody reports: too many, not too few"
    );
}

#[test]
fn a_service_that_only_activators_see_is_idle_when_they_are_silent() {
    let mut world = World::with(&[("target", "10"), ("target-burst-capacity", "-1"), ("initial-scale", "0")]);
    for _ in 0..60 {
        world.now = world.now.after(Duration::from_secs(1));
        world.service.report(world.now, &load(50.0));
        world.act(Cause::Tick);
        world.all_ready();
    }
    assert_eq!(world.replicas, 8);
    for _ in 0..30 {
        world.now = world.now.after(Duration::from_secs(1));
        world.act(Cause::Tick);
    }
    let stable = world.service.view().stable.unwrap_or_default();
    assert!((20.0..=26.0).contains(&stable), "half of the window was silent: {stable}");
    let silent = world.now;
    world.service.set_activators(Answering::heard(vec![]), world.now);
    let pods = world.replicas;
    while world.now.since(silent) < Duration::from_secs(300) {
        world.now = world.now.after(Duration::from_secs(1));
        world.act(Cause::Tick);
        assert_eq!(world.replicas, pods, "without activators silence says nothing");
    }
}

#[test]
fn a_schedule_sets_a_minimum_and_takes_it_back() {
    // The world begins at 1970-01-12 13:46:40 UTC.
    let mut world = World::with(&[
        ("initial-scale", "0"),
        ("window", "6s"),
        ("ebb.dev/schedule", "0 14 * * * for 1h min 3"),
    ]);
    let Next::Rest(Some(until)) = world.act(Cause::Tick) else {
        panic!("it rests until the schedule begins")
    };
    assert_eq!((until, world.replicas), (Duration::from_secs(800), 0));
    world.now = world.now.after(until);
    world.act(Cause::Tick);
    assert_eq!(world.replicas, 3, "although nobody ever called");
    world.all_ready();
    world.pass(3590, 0.0);
    assert_eq!(world.replicas, 3);
    assert!(world.service.history().last().unwrap().to_string().ends_with("3 by the schedule"));
    world.pass(120, 0.0);
    assert_eq!(world.replicas, 0);
}

#[test]
fn the_larger_of_two_signals_wins() {
    let mut world = World::with(&[
        ("target", "10"),
        ("target-utilization-percentage", "100"),
        ("initial-scale", "0"),
        ("ebb.dev/target-rps", "100"),
    ]);
    world.service.report(world.now, &load(1.0));
    world.act(Cause::Poke);
    world.all_ready();
    let mut pods = |in_flight: f64, rate: f64| {
        for _ in 0..130 {
            world.now = world.now.after(Duration::from_secs(1));
            let stat = Stat { request_count: rate, ..load(in_flight) };
            world.service.scraped(world.now, Ok(Some(Estimate { stat, fresh: true })));
            world.act(Cause::Tick);
            world.all_ready();
        }
        (world.replicas, world.service.history().last().unwrap().decision.unwrap().signal)
    };
    assert_eq!(pods(30.0, 100.0), (3, Metric::Concurrency));
    assert_eq!(pods(30.0, 700.0), (7, Metric::Rps));
    assert_eq!(pods(90.0, 700.0), (9, Metric::Concurrency));
}

#[test]
fn reports_that_cannot_be_are_ignored() {
    let mut world = World::with(&[("initial-scale", "0")]);
    for bad in [f64::NAN, f64::INFINITY, -5.0] {
        assert!(!world.service.report(world.now, &load(bad)));
    }
    world.act(Cause::Tick);
    assert_eq!(world.replicas, 0);
}

#[test]
fn every_decision_can_be_explained() {
    let mut world = World::with(&[("target", "10"), ("initial-scale", "0"), ("max-scale", "3")]);
    world.service.report(world.now, &load(50.0));
    world.act(Cause::Poke);
    let last = world.service.history().iter().find(|one| one.scale_to.is_some()).unwrap();
    assert_eq!((last.cause, last.scale_to), (Cause::Poke, Some(3)));
    assert_eq!(
        last.to_string(),
        "panic: concurrency stable 50.00, panic 50.00, 0 ready: 8 desired by the load, 3 within the bounds"
    );
    world.pass(1_000, 1.0);
    assert!(world.service.history().iter().count() <= 12, "bounded");
}

#[test]
fn an_autoscaler_that_has_just_started_leaves_everything_as_it_is() {
    for capacity in ["211", "-1"] {
        let mut world = World::running(&[("target", "10"), ("target-burst-capacity", capacity)], 5);
        for _ in 0..29 {
            world.now = world.now.after(Duration::from_secs(2));
            world.act(Cause::Tick);
            world.act(Cause::Change);
            assert_eq!(world.replicas, 5, "target burst capacity {capacity}");
        }
    }
}

#[test]
fn a_service_that_rested_before_anybody_looked_goes_on_resting() {
    let mut world = World::with(&[("initial-scale", "3")]);
    assert_eq!((world.replicas, world.act(Cause::Tick)), (0, Next::Rest(None)));
    assert!(world.service.report(world.now, &load(1.0)));
    world.act(Cause::Poke);
    assert_eq!(world.replicas, 1, "what it begins with, it has had");
}

#[test]
fn a_restart_takes_no_pod_whatever_the_minimum_and_whoever_is_ready() {
    for minimum in
        [("min-scale", "2"), ("initial-scale", "3"), ("ebb.dev/schedule", "* * * * * for 1h min 3")]
    {
        for capacity in ["211", "0", "-1"] {
            for ready in [10, 5, 1, 0] {
                let mut world = World::running(&[("target-burst-capacity", capacity), minimum], 10);
                (world.ready, world.starting) = (ready, 10 - ready);
                world.pods_changed();
                for second in 0..50 {
                    world.now = world.now.after(Duration::from_secs(1));
                    world.act(if second % 2 == 0 { Cause::Tick } else { Cause::Change });
                    assert_eq!(world.replicas, 10, "{minimum:?}, {capacity}, {ready} ready, {second} s");
                }
            }
        }
    }
}

#[test]
fn a_service_at_rest_wakes_by_either_rule() {
    for compatibility in ["none", "knative"] {
        for capacity in ["211", "0", "-1"] {
            let mut world =
                World::with(&[("compatibility", compatibility), ("target-burst-capacity", capacity)]);
            assert!(world.service.report(world.now, &load(5.0)), "{compatibility}, {capacity}");
            world.act(Cause::Poke);
            assert_eq!(world.replicas, 1, "{compatibility}, {capacity}");
        }
    }
}

#[test]
fn a_pod_that_never_comes_back_is_given_up() {
    let annotations = [("window", "6s"), ("target-burst-capacity", "0"), ("progress-deadline", "60s")];
    let mut world = World::running(&annotations, 1);
    world.pass(4, 0.0);
    (world.ready, world.starting) = (0, 1);
    world.pods_changed();
    for _ in 0..300 {
        world.now = world.now.after(Duration::from_secs(1));
        world.act(Cause::Tick);
    }
    assert_eq!(world.replicas, 0);
}

#[test]
fn the_last_pod_stays_as_long_as_it_does_not_answer() {
    for heard in [true, false] {
        let mut world = World::running(&[("window", "6s"), ("target-burst-capacity", "0")], 1);
        if heard {
            world.say(Some(0.0));
        }
        for _ in 0..300 {
            world.now = world.now.after(Duration::from_secs(1));
            world.say(None);
            world.act(Cause::Tick);
            assert_eq!(world.replicas, 1, "heard of before: {heard}");
        }
        world.pass(60, 0.0);
        assert_eq!(world.replicas, 0);
    }
}

#[test]
fn pods_that_are_not_ready_for_a_moment_are_not_idle() {
    let mut world = World::running(&[("target", "10"), ("window", "6s"), ("target-burst-capacity", "0")], 20);
    world.pass(20, 140.0);
    let pods = world.replicas;
    (world.starting, world.ready) = (world.ready, 0);
    world.pods_changed();
    for _ in 0..60 {
        world.now = world.now.after(Duration::from_secs(1));
        world.act(Cause::Tick);
        assert_eq!(world.replicas, pods);
    }
    world.all_ready();
    assert_eq!(world.service.view().startup, None, "that was no start");
}

#[test]
fn an_activator_that_left_may_have_requests_still() {
    let annotations = [("target", "10"), ("target-burst-capacity", "-1"), ("window", "10s")];
    let mut world = World::running(&annotations, 1);
    let activators: Vec<SocketAddr> = vec![ACTIVATOR.parse().unwrap(), "10.0.1.2:30001".parse().unwrap()];
    world.service.set_activators(Answering::heard(activators.clone()), world.now);
    for _ in 0..30 {
        world.now = world.now.after(Duration::from_secs(1));
        world.service.report(world.now, &load(60.0));
        world.act(Cause::Tick);
        world.all_ready();
    }
    let pods = world.replicas;
    assert!(pods >= 9);
    world.service.set_activators(Answering::heard(activators[1..].to_vec()), world.now);
    for _ in 0..9 {
        world.now = world.now.after(Duration::from_secs(1));
        world.act(Cause::Tick);
        assert_eq!(world.replicas, pods, "not within a stable window");
    }
}

#[test]
fn many_events_do_not_take_pods_faster_than_the_rate() {
    let mut world = World::running(&[("target", "10"), ("window", "6s"), ("target-burst-capacity", "0")], 16);
    world.pass(14, 160.0);
    assert!(world.replicas >= 16);
    world.pass(8, 0.0);
    let before = world.replicas;
    world.act(Cause::Tick);
    let after = world.replicas;
    assert!(after >= before / 2, "{before} → {after}");
    for _ in 0..10 {
        world.pods_changed();
        world.act(Cause::Change);
    }
    assert_eq!(world.replicas, after);
}

#[test]
fn what_could_not_be_published_is_published_again() {
    let mut world = World::with(&[("initial-scale", "0")]);
    assert!(world.service.evaluate(world.now, Cause::Tick).publish.is_none());
    world.service.publish_failed();
    assert!(world.service.evaluate(world.now, Cause::Tick).publish.is_some());
}

#[test]
fn who_takes_over_wakes_what_it_heard_of_and_takes_no_pod_for_a_stable_window() {
    for compatibility in ["none", "knative"] {
        let annotations = [("compatibility", compatibility), ("target-burst-capacity", "0")];
        let mut world = World::with(&annotations);
        // While it follows, it receives reports, but decides nothing.
        world.service.report(world.now, &load(3.0));
        world.service.take_over(world.now);
        world.act(Cause::Change);
        world.act(Cause::Tick);
        assert_eq!(world.replicas, 1, "{compatibility}: what is held wakes it");

        let mut world = World::running(&annotations, 5);
        world.pass(10, 5.0);
        world.replicas = 5;
        (world.ready, world.starting) = (5, 0);
        world.pods_changed();
        world.service.take_over(world.now);
        for _ in 0..59 {
            world.now = world.now.after(Duration::from_secs(1));
            world.say(Some(1.0));
            world.act(Cause::Tick);
            assert_eq!(world.replicas, 5, "{compatibility}");
        }
        world.pass(180, 1.0);
        assert_eq!(world.replicas, 1, "{compatibility}: then it does");
    }
}

#[test]
fn who_takes_over_publishes_again_what_is_published() {
    let mut world = World::running(&[("target-burst-capacity", "0")], 2);
    world.pass(4, 2.0);
    let published = world.published.take().unwrap();
    world.act(Cause::Tick);
    assert_eq!(world.published, None, "once is enough");
    world.service.take_over(world.now);
    world.act(Cause::Change);
    assert!(world.published.is_some(), "another one may have published something else");
    world.pass(4, 2.0);
    assert_eq!(world.published, Some(published));
}

#[test]
fn who_begins_to_lead_before_activators_have_come_publishes_no_emptiness() {
    let mut world = World::with(&[]);
    world.service.set_activators(Answering::heard(vec![]), world.now);
    world.service.take_over(world.now);
    world.published = None;
    world.act(Cause::Change);
    assert_eq!(world.published, None, "what a predecessor left stays");
    world.service.set_activators(Answering::heard(vec![ACTIVATOR.parse().unwrap()]), world.now);
    world.act(Cause::Change);
    assert_eq!(world.path(), Path::Proxy);
    world.service.set_activators(Answering::heard(vec![]), world.now);
    world.act(Cause::Change);
    assert_eq!(world.published.unwrap().addresses, [], "later it is meant");
}

#[test]
fn activators_that_are_not_heard_stay_in_the_path_unless_they_are_gone_and_pods_are_ready() {
    let activator: SocketAddr = ACTIVATOR.parse().unwrap();
    let of = |standing| Answering { addresses: vec![activator], standing };
    for (standing, pods, path) in [
        (Standing::Heard, 1, Path::Proxy),
        (Standing::Doubtful, 1, Path::Proxy),
        (Standing::Gone, 1, Path::Serve),
        (Standing::Heard, 0, Path::Proxy),
        (Standing::Doubtful, 0, Path::Proxy),
        (Standing::Gone, 0, Path::Proxy),
    ] {
        let annotations = [("target-burst-capacity", "-1"), ("initial-scale", "0")];
        let mut world = World::running(&annotations, pods);
        world.service.set_activators(of(standing), world.now);
        world.act(Cause::Change);
        assert_eq!(world.path(), path, "{standing:?}, {pods} pods");
        let goes_to_it = world.published.as_ref().unwrap().addresses == [activator];
        assert_eq!(goes_to_it, path == Path::Proxy, "{standing:?}, {pods} pods");
    }
}

#[test]
fn silence_of_activators_that_are_not_heard_is_not_the_absence_of_load() {
    let annotations = [("target", "10"), ("target-burst-capacity", "-1"), ("window", "10s")];
    let mut world = World::running(&annotations, 1);
    for _ in 0..30 {
        world.now = world.now.after(Duration::from_secs(1));
        world.service.report(world.now, &load(60.0));
        world.act(Cause::Tick);
        world.all_ready();
    }
    let pods = world.replicas;
    assert!(pods >= 9);
    let silent = Answering { addresses: vec![ACTIVATOR.parse().unwrap()], standing: Standing::Doubtful };
    world.service.set_activators(silent, world.now);
    for _ in 0..300 {
        world.now = world.now.after(Duration::from_secs(1));
        world.act(Cause::Tick);
        assert_eq!(world.replicas, pods);
    }
    world.service.set_activators(Answering::heard(vec![ACTIVATOR.parse().unwrap()]), world.now);
    for _ in 0..300 {
        world.now = world.now.after(Duration::from_secs(1));
        world.act(Cause::Tick);
    }
    assert_eq!(world.replicas, 0, "heard again, it says that there is nothing");
}

#[test]
fn what_a_follower_heard_is_given_back_after_a_stable_window() {
    let mut world = World::with(&[("window", "6s")]);
    world.service.report(world.now, &load(3.0));
    assert_eq!(world.service.rest_unled(world.now), Some(Duration::from_secs(6)));
    world.now = world.now.after(Duration::from_secs(7));
    assert_eq!(world.service.rest_unled(world.now), None);
    world.service.take_over(world.now);
    world.act(Cause::Tick);
    assert_eq!(world.replicas, 0);
}

#[test]
fn traffic_of_pods_without_a_queue_proxy_goes_through_activators_who_alone_see_it() {
    let mut world = World::with(&[("initial-scale", "0"), ("target", "10"), ("target-burst-capacity", "0")]);
    world.direct = true;
    for _ in 0..60 {
        world.now = world.now.after(Duration::from_secs(1));
        world.service.report(world.now, &load(20.0));
        world.act(Cause::Tick);
        world.all_ready();
    }
    assert_eq!((world.replicas, world.path()), (3, Path::Proxy));
    assert!(!world.service.is_scraped(), "there is nobody to ask");
    for _ in 0..200 {
        world.now = world.now.after(Duration::from_secs(1));
        world.act(Cause::Tick);
    }
    assert_eq!(world.replicas, 0, "silence of the activators is idleness");
    assert_eq!(world.service.spec().target_burst_capacity, TargetBurstCapacity::Requests(0.0));
}

#[test]
fn a_pod_that_announces_its_drain_takes_no_more_traffic() {
    let mut world = World::running(&[("target-burst-capacity", "0")], 2);
    world.pass(4, 2.0);
    let said = Announced {
        services: vec![ServiceKey::new("ns", "web")],
        pod: "web-1".into(),
        serving: "10.0.0.1:8012".parse().unwrap(),
        stats: "10.0.0.1:9090".parse().unwrap(),
        nonce: "nonce-1".into(),
        draining: true,
    };
    assert_eq!(world.service.announced(&said, world.now), Admission::Taken);
    world.act(Cause::Change);
    let addresses = world.published.clone().unwrap().addresses;
    assert_eq!(addresses, ["10.0.0.0:8012".parse().unwrap()]);
    world.pods_changed();
    assert_eq!(world.published.clone().unwrap().addresses, addresses, "although it is told as ready still");
}
