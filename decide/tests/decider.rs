//! The worked decisions of `spec/autoscaler.md`, section 6, and what holds for all of them.

mod stock;

use std::{num::NonZeroU32, time::Duration};

use ebb_annotations::{Metric, Rules, ScalingSpec, ServingSpec};
use ebb_core::Tick;
use ebb_decide::{
    decider::{Bound, Decider, Decision, Mode, Observation},
    windows::Averages,
};
use proptest::prelude::*;
use stock::{burst_capacity, reference_spec, stock_spec};

const fn seen(ready_pods: u32, stable: f64, panic: f64) -> Observation {
    let none = Averages { stable: 0.0, panic: 0.0 };
    let concurrency = Averages { stable, panic };
    Observation {
        ready_pods,
        coming_pods: 0,
        replicas: ready_pods,
        concurrency,
        rps: none,
        request_seconds: None,
        fresh: true,
        regular: true,
    }
}

fn spec(target: f64, total: f64) -> ScalingSpec {
    ScalingSpec { target, total, pod_concurrency: total, ..stock_spec() }
}

/// The same, by the rules of the reference.
fn reference(target: f64, total: f64) -> ScalingSpec {
    ScalingSpec { target, total, ..reference_spec() }
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
    let (large, small) = (reference(70.0, 100.0), reference(7.0, 10.0));
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
    let slow = ScalingSpec { max_scale_up_rate: 1.1, ..reference(1.0, 1.0) };
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
    let spec = ScalingSpec { target_burst_capacity: burst_capacity(0.0), ..reference(10.0, 10.0) };
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
fn mended_the_panic_threshold_is_what_it_says() {
    let stock = spec(70.0, 100.0);
    assert_eq!(decide(&stock, seen(1, 70.1, 139.0)).mode, Mode::Stable);
    assert_eq!(decide(&stock, seen(1, 70.1, 140.0)).mode, Mode::Panic);
    assert_eq!(decide(&stock, seen(10, 70.1, 1399.0)).mode, Mode::Stable);
    assert_eq!(decide(&stock, seen(10, 70.1, 1400.0)).mode, Mode::Panic);
}

#[test]
fn pods_that_are_coming_are_a_reason_not_to_panic() {
    let coming =
        |coming_pods| Observation { coming_pods, request_seconds: Some(1.0), ..seen(1, 70.0, 300.0) };
    assert_eq!(decide(&spec(70.0, 100.0), coming(0)).mode, Mode::Panic);
    assert_eq!(decide(&spec(70.0, 100.0), coming(2)).mode, Mode::Stable);
    let unaware = ScalingSpec { startup_aware: false, ..spec(70.0, 100.0) };
    assert_eq!(decide(&unaware, coming(2)).mode, Mode::Panic);
}

#[test]
fn what_waits_for_pods_that_are_starting_is_not_counted_as_if_they_never_came() {
    let spec = spec(7.0, 10.0);
    let mut decider = Decider::new(Tick::ZERO, 1, &spec);
    // 500 requests a second of 0.1 s each, and 12 000 of them wait.
    let waiting = |coming_pods, request_seconds| Observation {
        coming_pods,
        request_seconds,
        rps: Averages { stable: 500.0, panic: 500.0 },
        ..seen(1, 6_000.0, 12_000.0)
    };
    let mut pods = |second, coming, seconds| {
        let decision = decider.decide(Tick::from_secs(second), &spec, &waiting(coming, seconds));
        (decision.desired_pods, decision.bound_by)
    };
    assert_eq!(pods(0, 4, Some(0.1)), (15, Bound::Startup), "2 × 500 × 0.1 ÷ 7");
    assert_eq!(pods(2, 40, Some(0.1)), (41, Bound::Startup), "what was asked for stays");
    assert_eq!(pods(58, 0, Some(0.1)), (41, Bound::PanicPeak));
    assert_ne!(pods(62, 0, Some(0.1)).1, Bound::Startup, "a stable window after the last start");

    let mut unknown = Decider::new(Tick::ZERO, 1, &spec);
    let decision = unknown.decide(Tick::ZERO, &spec, &Observation { ready_pods: 0, ..waiting(1, None) });
    assert_eq!((decision.desired_pods, decision.bound_by), (429, Bound::Startup), "6 × 500 ÷ 7");
}

#[test]
fn requests_that_are_being_executed_count_however_few_arrive() {
    let spec = ScalingSpec {
        serving: ServingSpec { container_concurrency: NonZeroU32::new(1), ..ServingSpec::default() },
        panic_threshold: f64::INFINITY,
        ..spec(1.0, 1.0)
    };
    let mut decider = Decider::new(Tick::ZERO, 0, &spec);
    let jobs = |coming_pods, averages: (f64, f64)| Observation {
        coming_pods,
        request_seconds: Some(600.0),
        ..seen(20, averages.0, averages.1)
    };
    decider.decide(Tick::ZERO, &spec, &jobs(1, (20.0, 20.0)));
    let decision = decider.decide(Tick::from_secs(30), &spec, &jobs(0, (20.0, 20.0)));
    assert_eq!(decision.desired_pods, 20, "nobody comes, and twenty are at work");
    let decision = decider.decide(Tick::from_secs(31), &spec, &jobs(0, (20.0, 0.0)));
    assert_eq!(decision.desired_pods, 10, "as fast as the rate allows");
    let mut last = Decider::new(Tick::ZERO, 0, &spec);
    let one = Observation { ready_pods: 1, ..jobs(1, (0.1, 0.0)) };
    last.decide(Tick::ZERO, &spec, &one);
    let one = Observation { coming_pods: 0, ..one };
    assert_eq!(
        last.decide(Tick::from_secs(2), &spec, &one).desired_pods,
        1,
        "no load is counted out entirely"
    );
}

#[test]
fn no_more_pods_start_at_a_time_than_are_allowed() {
    let three = ScalingSpec { max_starting_pods: NonZeroU32::new(3), ..spec(10.0, 10.0) };
    let bound = |coming_pods| {
        let rps = Averages { stable: 200.0, panic: 200.0 };
        let replicas = 2 + coming_pods;
        let decision = decide(&three, Observation { coming_pods, replicas, rps, ..seen(2, 200.0, 200.0) });
        (decision.desired_pods, decision.bound_by)
    };
    assert_eq!(bound(0), (5, Bound::MaxStartingPods));
    assert_eq!(bound(2), (5, Bound::MaxStartingPods));
    assert_eq!(bound(7).0, 9, "those that start already are not stopped");
    let blip = Observation { replicas: 25, ..seen(8, 280.0, 280.0) };
    assert!(decide(&three, blip).desired_pods >= 25, "nor those that are not ready for a moment");
}

#[test]
fn no_pod_goes_without_fresh_data() {
    let spec = spec(10.0, 10.0);
    let mut decider = Decider::new(Tick::ZERO, 0, &spec);
    let stale = |load| Observation { fresh: false, ..seen(4, load, load) };
    assert_eq!(decider.decide(Tick::from_secs(2), &spec, &seen(4, 40.0, 40.0)).desired_pods, 4);
    let kept = decider.decide(Tick::from_secs(4), &spec, &stale(10.0));
    assert_eq!((kept.desired_pods, kept.bound_by), (4, Bound::NoFreshData));
    assert_eq!(decider.decide(Tick::from_secs(6), &spec, &stale(60.0)).desired_pods, 6, "more may come");
    assert_eq!(decider.decide(Tick::from_secs(8), &spec, &seen(6, 30.0, 30.0)).desired_pods, 3);
}

#[test]
fn pods_go_at_ticks_only() {
    let spec = spec(10.0, 10.0);
    let mut decider = Decider::new(Tick::ZERO, 0, &spec);
    let between = |load| Observation { regular: false, ..seen(4, load, load) };
    assert_eq!(decider.decide(Tick::from_secs(2), &spec, &seen(4, 40.0, 40.0)).desired_pods, 4);
    let kept = decider.decide(Tick::from_millis(2_100), &spec, &between(10.0));
    assert_eq!((kept.desired_pods, kept.bound_by), (4, Bound::NextTick));
    assert_eq!(decider.decide(Tick::from_millis(2_200), &spec, &between(60.0)).desired_pods, 6);
    assert_eq!(decider.decide(Tick::from_secs(4), &spec, &seen(6, 10.0, 10.0)).desired_pods, 3);
}

#[test]
fn the_last_pod_stays_without_fresh_data_although_nothing_was_wanted() {
    let spec = spec(10.0, 10.0);
    let mut decider = Decider::new(Tick::ZERO, 0, &spec);
    assert_eq!(decider.decide(Tick::from_secs(2), &spec, &seen(1, 0.0, 0.0)).desired_pods, 0);
    let stale = Observation { fresh: false, ..seen(1, 0.0, 0.0) };
    assert_eq!(decider.decide(Tick::from_secs(4), &spec, &stale).desired_pods, 1);
}

#[test]
fn burst_capacity_is_a_number_of_requests_in_flight_whatever_scales() {
    let by_rate = ScalingSpec { metric: Metric::Rps, target: 140.0, total: 200.0, ..stock_spec() };
    let observation = Observation { rps: Averages { stable: 600.0, panic: 600.0 }, ..seen(5, 30.0, 30.0) };
    assert_eq!(decide(&by_rate, observation).excess_burst_capacity, 5 * 100 - 211 - 30);
    let as_before = ScalingSpec { rules: Rules::Reference, ..by_rate };
    assert_eq!(decide(&as_before, observation).excess_burst_capacity, 5 * 200 - 211 - 600);
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
    (0.01..500.0, 1.01..1000.0, 1.01..20.0, 1.1..10.0, any::<bool>(), any::<bool>()).prop_map(
        |(target, up, down, panic_threshold, reachable, mended)| ScalingSpec {
            target,
            max_scale_up_rate: up,
            max_scale_down_rate: down,
            panic_threshold,
            reachable,
            ..if mended { stock_spec() } else { reference_spec() }
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
        (coming, request_seconds) in (0_u32..50, prop::option::of(0.001..100.0)),
        (stable, panic, more) in (0.0..1e6, 0.0..1e6, 0.0..1e6),
        rate in (0.0..1e5, 0.0..1e5),
    ) {
        let rps = |more| Averages { stable: rate.0 + more, panic: rate.1 + more };
        let seen = |stable, panic, more_rate| Observation {
            coming_pods: coming,
            request_seconds,
            rps: rps(more_rate),
            ..seen(ready, stable, panic)
        };
        let calm = decide(&spec, seen(stable, panic, 0.0));
        let more_stable = decide(&spec, seen(stable + more, panic, 0.0));
        let more_panic = decide(&spec, seen(stable, panic + more, 0.0));
        let more_arrivals = decide(&spec, seen(stable, panic, more));
        prop_assert!(more_stable.desired_pods >= calm.desired_pods);
        prop_assert!(more_panic.desired_pods >= calm.desired_pods);
        prop_assert!(more_arrivals.desired_pods >= calm.desired_pods);
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
