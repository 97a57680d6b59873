//! The time-lines of `spec/autoscaler.md`, section 8, pass by pass.

mod stock;

use std::{num::NonZeroU32, time::Duration};

use ebb_annotations::{ScalingSpec, TargetBurstCapacity};
use ebb_core::Tick;
use ebb_decide::zero::{
    ActivatorAnswer, Activity, Facts, InactiveCause, MIN_ACTIVATORS, Outcome, Path, Probe, Published,
    ScaleState, bounded, num_activators, step,
};
use proptest::prelude::*;
use stock::{burst_capacity, stock_spec};

/// A service, and its shell: what was published and written last.
struct Service {
    spec: ScalingSpec,
    state: ScaleState,
    published: Published,
    replicas: u32,
    activator_answers: bool,
}

impl Service {
    /// Active since time zero with one pod, its traffic on `path`.
    fn active(spec: ScalingSpec, path: Path) -> Self {
        let proxied_since = (path == Path::Proxy).then_some(Tick::ZERO);
        Self {
            spec,
            state: ScaleState {
                activity: Activity::Active { since: Tick::ZERO },
                initialized: true,
                wanted_pods: Some(1),
            },
            published: Published { path, proxied_since },
            replicas: 1,
            activator_answers: true,
        }
    }

    /// One pass at `second`, carried out.
    fn pass(&mut self, second: u64, desired_pods: Option<u32>) -> Outcome {
        let now = Tick::from_secs(second);
        let mut facts = Facts {
            desired_pods,
            excess_burst_capacity: 0,
            ready_pods: self.replicas,
            scheduled_pods: 0,
            published: Some(self.published),
            service_known: true,
            activator_answer: ActivatorAnswer::NotAsked,
        };
        let mut outcome = step(&self.spec, &self.state, &facts, now);
        if outcome.probe == Some(Probe::Now) {
            facts.activator_answer =
                if self.activator_answers { ActivatorAnswer::Yes } else { ActivatorAnswer::No };
            outcome = step(&self.spec, &self.state, &facts, now);
        }
        self.state = outcome.state;
        self.replicas = outcome.apply.unwrap_or(self.replicas);
        if outcome.path != self.published.path {
            let proxied_since = (outcome.path == Path::Proxy).then_some(now);
            self.published = Published { path: outcome.path, proxied_since };
        }
        outcome
    }
}

#[test]
fn the_last_pod_stays_until_a_stable_window_was_active() {
    let mut service = Service::active(stock_spec(), Path::Serve);
    let early = service.pass(10, Some(0));
    assert_eq!(
        (early.wanted_pods, early.apply, early.wake_after),
        (Some(1), Some(1), Some(Duration::from_secs(50)))
    );
}

#[test]
fn a_service_that_was_proxied_all_along_loses_its_pod_at_the_next_look() {
    let mut service = Service::active(stock_spec(), Path::Proxy);
    let idle = service.pass(60, Some(0));
    assert_eq!(
        (idle.wanted_pods, idle.apply, idle.wake_after),
        (Some(0), None, Some(Duration::from_secs(3)))
    );
    assert_eq!(service.pass(63, Some(0)).apply, Some(0));
}

#[test]
fn traffic_moves_to_the_activators_before_the_last_pod_goes() {
    let spec = ScalingSpec { target_burst_capacity: burst_capacity(0.0), ..stock_spec() };
    let mut service = Service::active(spec, Path::Serve);
    assert_eq!(service.pass(60, Some(0)).path, Path::Proxy);
    service.activator_answers = false;
    let unmoved = service.pass(61, Some(0));
    assert_eq!((unmoved.apply, unmoved.probe), (None, Some(Probe::UntilAnswered)));
    service.activator_answers = true;
    let moved = service.pass(64, Some(0));
    assert_eq!((moved.apply, moved.wake_after), (None, Some(Duration::from_secs(26))));
    assert_eq!(service.pass(90, Some(0)).apply, Some(0));
}

#[test]
fn a_retention_period_counts_from_the_moment_of_rest() {
    let spec = ScalingSpec { pod_retention_period: Duration::from_secs(300), ..stock_spec() };
    let mut service = Service::active(spec, Path::Proxy);
    service.pass(60, Some(0));
    let kept = service.pass(100, Some(0));
    assert_eq!((kept.apply, kept.wake_after), (None, Some(Duration::from_secs(260))));
    assert_eq!(service.pass(360, Some(0)).apply, Some(0));
}

#[test]
fn always_proxied_services_are_not_probed() {
    let spec = ScalingSpec { target_burst_capacity: TargetBurstCapacity::Unlimited, ..stock_spec() };
    let mut service = Service::active(spec, Path::Proxy);
    service.activator_answers = false;
    service.pass(60, Some(0));
    assert_eq!(service.pass(63, Some(0)).apply, Some(0));
}

#[test]
fn where_zero_is_not_allowed_one_pod_stays() {
    let spec = ScalingSpec { scale_to_zero: false, ..stock_spec() };
    assert_eq!(Service::active(spec, Path::Proxy).pass(600, Some(0)).apply, Some(1));
}

#[test]
fn without_a_decision_nothing_that_runs_is_touched() {
    let mut service = Service::active(stock_spec(), Path::Serve);
    let unknown = service.pass(600, None);
    assert_eq!((unknown.wanted_pods, unknown.apply, unknown.state.wanted_pods), (None, None, Some(1)));
    assert!(matches!(unknown.state.activity, Activity::Active { .. }));
}

#[test]
fn an_activation_that_never_succeeds_is_given_up_after_the_deadline() {
    let mut service = Service::active(stock_spec(), Path::Proxy);
    service.state = ScaleState::new(Tick::ZERO);
    service.replicas = 0;
    let waiting = service.pass(10, None);
    assert_eq!((waiting.apply, waiting.wake_after), (None, Some(Duration::from_secs(630))));
    assert_eq!(service.pass(630, None).apply, None);
    let given_up = service.pass(631, None);
    assert_eq!(given_up.apply, Some(0));
    let cause = InactiveCause::TimedOut;
    assert_eq!(given_up.state.activity, Activity::Inactive { since: Tick::from_secs(631), cause });
}

#[test]
fn nothing_is_scaled_before_traffic_has_somewhere_to_go() {
    let facts = Facts {
        desired_pods: Some(5),
        excess_burst_capacity: 100,
        ready_pods: 5,
        scheduled_pods: 0,
        published: None,
        service_known: false,
        activator_answer: ActivatorAnswer::NotAsked,
    };
    let outcome = step(&stock_spec(), &ScaleState::new(Tick::ZERO), &facts, Tick::ZERO);
    assert_eq!((outcome.apply, outcome.path, outcome.activators), (None, Path::Proxy, MIN_ACTIVATORS));
}

#[test]
fn activators_are_as_many_as_pods_and_burst_need() {
    let activators = |ready, total, burst: f64| {
        let spec = ScalingSpec { total, target_burst_capacity: burst_capacity(burst), ..stock_spec() };
        num_activators(&spec, ready)
    };
    let examples = [
        activators(0, 100.0, 211.0),
        activators(1, 100.0, 211.0),
        activators(10, 100.0, 211.0),
        activators(10, 100.0, -1.0),
        activators(10, 100.0, 0.0),
        activators(50, 10.0, 211.0),
    ];
    assert_eq!(examples, [3, 4, 13, 10, 2, 8]);
}

proptest! {
    #[test]
    fn what_is_written_lies_within_the_bounds(
        min in 0_u32..10,
        max in 0_u32..20,
        initial_scale in 0_u32..10,
        desired in prop::option::of(0_u32..30),
        second in 0_u64..2000,
        initialized in any::<bool>(),
    ) {
        let max_scale = NonZeroU32::new(if max == 0 { 0 } else { min.max(initial_scale).max(max) });
        let spec = ScalingSpec { min_scale: min, max_scale, initial_scale, ..stock_spec() };
        let mut service = Service::active(spec, Path::Proxy);
        service.state.initialized = initialized;
        if let Some(pods) = service.pass(second, desired).apply {
            let spec = &service.spec;
            prop_assert!(pods >= spec.min_scale);
            prop_assert!(max_scale.is_none_or(|max| pods <= max.get()));
            prop_assert_eq!(bounded(spec, initialized, 0, pods), pods);
        }
    }

    #[test]
    fn no_pass_is_both_final_and_without_a_next_one(second in 0_u64..2000, proxied in any::<bool>()) {
        // On the way to zero every pass writes, waits for a time, a probe, or for its own change of path.
        let path = if proxied { Path::Proxy } else { Path::Serve };
        let mut service = Service::active(stock_spec(), path);
        let before = service.published;
        let outcome = service.pass(second, Some(0));
        let goes_on = outcome.apply == Some(0) || outcome.wake_after.is_some() || outcome.probe.is_some();
        prop_assert!(goes_on || service.published != before, "{outcome:?}");
    }
}
