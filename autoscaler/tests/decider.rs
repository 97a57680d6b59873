//! The worked decisions of `spec/autoscaler.md`, section 6, and what holds for all of them.

mod stock;

use std::{num::NonZeroU32, time::Duration};

use autoscaler::decider::{Bound, Decider, Decision, Mode, Observation};
use ebb_core::{Tick, scaling::ScalingSpec};
use proptest::prelude::*;
use stock::{burst_capacity, stock_spec};

const fn seen(ready_pods: u32, stable: f64, panic: f64) -> Observation {
    Observation { ready_pods, stable, panic }
}

fn spec(target: f64, total: f64) -> ScalingSpec {
    ScalingSpec { target, total, ..stock_spec() }
}

/// The decision of a decider that was made with one pod and has not panicked.
fn decide(spec: &ScalingSpec, observation: Observation) -> Decision {
    Decider::new(Tick::ZERO, 1, spec).decide(Tick::from_secs(2), spec, &observation)
}

/// Pods, excess burst capacity, mode.
fn outcome(spec: &ScalingSpec, observation: Observation) -> (u32, i64, Mode) {
    let decision = decide(spec, observation);
    (decision.desired_pods, decision.excess_burst_capacity, decision.mode)
}

#[test]
fn the_examples_of_the_spec_hold() {
    let (large, small) = (spec(70.0, 100.0), spec(7.0, 10.0));
    assert_eq!(outcome(&large, seen(1, 70.0, 70.0)), (1, -181, Mode::Stable));
    assert_eq!(outcome(&large, seen(1, 70.1, 70.1)), (2, -182, Mode::Panic));
    assert_eq!(outcome(&large, seen(0, 1.0, 1.0)), (1, -212, Mode::Stable));
    assert_eq!(outcome(&small, seen(3, 30.0, 35.0)), (5, -216, Mode::Stable));
    assert_eq!(outcome(&small, seen(3, 30.0, 35.1)), (6, -217, Mode::Panic));
    assert_eq!(outcome(&large, seen(20, 70.0, 70.0)), (10, 1719, Mode::Stable));
}

#[test]
fn the_rate_limits_a_decrease_unless_nobody_reaches_the_service() {
    let reachable = spec(70.0, 100.0);
    assert_eq!(decide(&reachable, seen(20, 70.0, 70.0)).bound_by, Bound::ScaleDownRate);
    let unreachable = ScalingSpec { reachable: false, ..reachable };
    let decision = decide(&unreachable, seen(20, 70.0, 70.0));
    assert_eq!((decision.desired_pods, decision.bound_by), (1, Bound::Load));
}

#[test]
fn the_rate_limits_an_increase_to_one_pod_at_least() {
    let slow = ScalingSpec { max_scale_up_rate: 1.1, ..spec(1.0, 1.0) };
    let decision = decide(&slow, seen(2, 3.0, 3.1));
    assert_eq!((decision.desired_pods, decision.mode), (3, Mode::Panic));
    assert_eq!(decide(&slow, seen(2, 30.0, 3.0)).bound_by, Bound::ScaleUpRate);
}

#[test]
fn any_load_wakes_as_many_pods_as_the_activation_scale_says() {
    let three = ScalingSpec { activation_scale: NonZeroU32::new(3), ..stock_spec() };
    let woken = decide(&three, seen(0, 1.0, 1.0));
    assert_eq!((woken.desired_pods, woken.bound_by), (3, Bound::ActivationScale));
    assert_eq!(decide(&three, seen(0, 0.0, 0.0)).desired_pods, 0);
}

#[test]
fn a_fleet_without_load_halves_at_each_decision() {
    let mut decider = Decider::new(Tick::ZERO, 1, &stock_spec());
    let mut ready = 20;
    let steps: Vec<u32> = (1..=5)
        .map(|tick| {
            let now = Tick::from_secs(2 * tick);
            ready = decider.decide(now, &stock_spec(), &seen(ready, 0.0, 0.0)).desired_pods;
            ready
        })
        .collect();
    assert_eq!(steps, [10, 5, 2, 1, 0]);
}

#[test]
fn a_panic_never_shrinks_and_ends_one_window_after_its_last_cause() {
    let spec = ScalingSpec { target_burst_capacity: burst_capacity(0.0), ..spec(10.0, 10.0) };
    let mut decider = Decider::new(Tick::ZERO, 1, &spec);
    let rows = [
        (0, 2, 15.0, 15.0, 2, Bound::Load),
        (2, 2, 22.0, 60.0, 6, Bound::Load),
        (4, 2, 30.0, 90.0, 9, Bound::Load),
        (10, 9, 60.0, 90.0, 9, Bound::Load),
        (40, 9, 60.0, 40.0, 9, Bound::PanicPeak),
        (70, 9, 30.0, 10.0, 4, Bound::ScaleDownRate),
        (82, 4, 25.0, 8.0, 3, Bound::Load),
    ];
    for (second, ready, stable, panic, pods, bound_by) in rows {
        let decision = decider.decide(Tick::from_secs(second), &spec, &seen(ready, stable, panic));
        assert_eq!((decision.desired_pods, decision.bound_by), (pods, bound_by), "at {second} s");
    }
}

#[test]
fn after_a_restart_no_pod_goes_before_a_window_was_seen() {
    let spec = spec(10.0, 10.0);
    let mut decider = Decider::new(Tick::ZERO, 5, &spec);
    let mut pods = |second| decider.decide(Tick::from_secs(second), &spec, &seen(5, 1.0, 1.0)).desired_pods;
    assert_eq!([pods(2), pods(60), pods(61)], [5, 5, 2]);
}

#[test]
fn a_decrease_waits_for_the_delay_and_an_increase_does_not() {
    let spec = ScalingSpec { scale_down_delay: Duration::from_secs(10), ..spec(10.0, 10.0) };
    let mut decider = Decider::new(Tick::ZERO, 0, &spec);
    let loads = [40.0, 40.0, 20.0, 10.0, 10.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let pods: Vec<u32> = (0_u64..)
        .zip(loads)
        // Enough ready pods that no panic begins, and few enough that the rate does not limit.
        .map(|(tick, load)| {
            let spec =
                ScalingSpec { panic_threshold: f64::INFINITY, max_scale_down_rate: 1000.0, ..spec.clone() };
            decider.decide(Tick::from_secs(2 * tick), &spec, &seen(4, load, load)).desired_pods
        })
        .collect();
    assert_eq!(pods, [4, 4, 4, 4, 4, 4, 2, 1, 1, 0]);
}

#[test]
fn a_delay_can_be_taken_back() {
    let delayed = ScalingSpec { scale_down_delay: Duration::from_secs(60), ..spec(10.0, 10.0) };
    let mut decider = Decider::new(Tick::ZERO, 1, &delayed);
    assert_eq!(decider.decide(Tick::from_secs(2), &delayed, &seen(4, 40.0, 40.0)).desired_pods, 4);
    let waiting = decider.decide(Tick::from_secs(4), &delayed, &seen(4, 20.0, 20.0));
    assert_eq!((waiting.desired_pods, waiting.bound_by), (4, Bound::ScaleDownDelay));
    decider.set_scale_down_delay(Duration::ZERO);
    assert_eq!(decider.decide(Tick::from_secs(6), &delayed, &seen(4, 20.0, 20.0)).desired_pods, 2);
}

#[test]
fn an_average_that_is_no_number_counts_as_no_load() {
    let decision = decide(&stock_spec(), seen(4, f64::NAN, f64::NAN));
    assert_eq!((decision.desired_pods, decision.mode), (2, Mode::Stable));
    assert_eq!(decision.excess_burst_capacity, 0);
}

fn any_spec() -> impl Strategy<Value = ScalingSpec> {
    (0.01..500.0, 1.01..1000.0, 1.01..20.0, 1.1..10.0, any::<bool>()).prop_map(
        |(target, up, down, panic_threshold, reachable)| ScalingSpec {
            target,
            max_scale_up_rate: up,
            max_scale_down_rate: down,
            panic_threshold,
            reachable,
            ..stock_spec()
        },
    )
}

proptest! {
    #[test]
    fn a_stable_decision_stays_within_the_rates(
        spec in any_spec(),
        ready in 0_u32..500,
        stable in 0.0..1e6,
    ) {
        let spec = ScalingSpec { panic_threshold: f64::INFINITY, ..spec };
        let decision = decide(&spec, seen(ready, stable, stable));
        let from = f64::from(ready.max(1));
        prop_assert_eq!(decision.mode, Mode::Stable);
        prop_assert!(f64::from(decision.desired_pods) <= (from * spec.max_scale_up_rate).ceil());
        if spec.reachable {
            prop_assert!(f64::from(decision.desired_pods) >= (from / spec.max_scale_down_rate).floor());
        }
    }

    #[test]
    fn more_load_never_means_fewer_pods(
        spec in any_spec(),
        ready in 0_u32..500,
        stable in 0.0..1e6,
        panic in 0.0..1e6,
        more in 0.0..1e6,
    ) {
        let calm = decide(&spec, seen(ready, stable, panic));
        let more_stable = decide(&spec, seen(ready, stable + more, panic));
        let more_panic = decide(&spec, seen(ready, stable, panic + more));
        prop_assert!(more_stable.desired_pods >= calm.desired_pods);
        prop_assert!(more_panic.desired_pods >= calm.desired_pods);
        prop_assert!(more_panic.excess_burst_capacity <= calm.excess_burst_capacity);
    }

    #[test]
    fn a_constant_load_settles_and_stays(load in 0.1..5000.0, ready in 0_u32..100) {
        let spec = stock_spec();
        let mut decider = Decider::new(Tick::ZERO, ready, &spec);
        let mut pods = ready;
        let mut counts = Vec::new();
        for tick in 1..=60 {
            pods = decider.decide(Tick::from_secs(2 * tick), &spec, &seen(pods, load, load)).desired_pods;
            counts.push(pods);
        }
        // Whatever panic the start caused ends after the window of 60 s, 30 decisions.
        let settled = decider.decide(Tick::from_secs(122), &spec, &seen(pods, load, load)).desired_pods;
        prop_assert!(counts[45..].iter().all(|count| *count == settled), "{counts:?}");
        prop_assert!(f64::from(settled) * spec.target >= load);
        prop_assert!((f64::from(settled) - 1.0) * spec.target < load);
    }

    #[test]
    fn deciders_with_the_same_history_agree(
        spec in any_spec(),
        history in prop::collection::vec((0_u64..10, 0_u32..50, 0.0..1e4, 0.0..1e4), 1..40),
    ) {
        let mut first = Decider::new(Tick::ZERO, 3, &spec);
        let mut second = Decider::new(Tick::ZERO, 3, &spec);
        let mut now = Tick::ZERO;
        for (secs, ready, stable, panic) in history {
            now = now.after(Duration::from_secs(secs));
            let observation = seen(ready, stable, panic);
            prop_assert_eq!(first.decide(now, &spec, &observation), second.decide(now, &spec, &observation));
        }
    }

    #[test]
    fn no_number_makes_a_decision_panic(
        target in any::<f64>(),
        rates in any::<(f64, f64, f64)>(),
        ready in any::<u32>(),
        averages in any::<(f64, f64)>(),
        second in any::<u64>(),
    ) {
        let spec = ScalingSpec {
            target,
            max_scale_up_rate: rates.0,
            max_scale_down_rate: rates.1,
            total: rates.2,
            ..stock_spec()
        };
        let mut decider = Decider::new(Tick::ZERO, ready, &spec);
        decider.decide(Tick::from_secs(second), &spec, &seen(ready, averages.0, averages.1));
    }
}
