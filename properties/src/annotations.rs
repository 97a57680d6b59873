//! Annotations: refused with a reason, or turned into a spec that all who act by it can rely on.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use ebb_annotations::{
    Binding, ClusterDefaults, Exposure, Fault, Metric, Parsed, Reachability, Rules, ScalingSpec, Schedule,
    ServingSpec, Signal, TargetBurstCapacity, Warning, compat, keys, parse, parse_route, usable_hosts,
};
use ebb_core::Tick;

/// Annotations by key.
pub type Texts = BTreeMap<String, String>;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const LEAST_TARGET: f64 = 0.01;

/// Checks everything that holds of `annotations`, whatever they are, under several settings of a cluster.
///
/// # Panics
///
/// If something does not hold.
pub fn hold(annotations: &Texts) {
    holds_of_route(annotations);
    let stock = ClusterDefaults::default();
    let capped = ClusterDefaults {
        utilization: 1.0,
        min_scale: 1,
        max_scale: NonZeroU32::new(10),
        max_scale_limit: NonZeroU32::new(20),
        allow_zero_initial_scale: true,
        scale_to_zero: false,
        ..ClusterDefaults::default()
    };
    for defaults in [stock, capped] {
        let parsed = parse(annotations, &defaults, Reachability::Reachable);
        assert_eq!(
            parsed,
            parse(annotations, &defaults, Reachability::Reachable),
            "parsing is deterministic"
        );
        let unreachable = parse(annotations, &defaults, Reachability::Unreachable);
        assert_eq!(
            parsed.as_ref().err(),
            unreachable.as_ref().err(),
            "what is accepted depends on no state of the moment"
        );
        match parsed {
            Ok(parsed) => holds_of_accepted(annotations, &defaults, &parsed),
            Err(faults) => holds_of_refused(annotations, &faults),
        }
        if let Ok(Parsed { spec, .. }) = unreachable {
            holds_of_spec(&spec);
            assert_eq!((spec.lower_bound(true), spec.pod_retention_period), (0, Duration::ZERO), "{spec:?}");
        }
    }
}

/// Checks what holds of `annotations` of a route.
///
/// # Panics
///
/// If something does not hold.
fn holds_of_route(annotations: &Texts) {
    match parse_route("hello", annotations) {
        Ok(route) => {
            let names: BTreeSet<_> = route.spec.split.iter().map(|share| &share.service).collect();
            assert_eq!(names.len(), route.spec.split.len(), "each service once: {route:?}");
            holds_of_exposure(&route.exposure);
            assert!(
                route.spec.split.iter().any(|share| share.weight > 0),
                "somebody gets requests: {route:?}"
            );
        }
        Err(faults) => holds_of_refused(annotations, &faults),
    }
}

/// A refusal says what is wrong with which annotation, each on one line.
fn holds_of_refused(annotations: &Texts, faults: &[Fault]) {
    assert!(!faults.is_empty(), "a refusal has a reason");
    assert!(faults.is_sorted_by_key(|fault| &fault.key), "faults are in order of their keys: {faults:?}");
    for fault in faults {
        let known = keys::KNOWN.iter().find(|key| key.spellings().any(|name| name == fault.key));
        let known = known.unwrap_or_else(|| panic!("{fault:?} is of a known key"));
        // Of a schedule, a split or names of hosts, the value is the entry that is wrong.
        let is_part = [keys::SCHEDULE, keys::SPLIT, keys::HOSTS].contains(known);
        let shows = |text: &String| *text == fault.value || is_part && text.contains(&fault.value);
        let mut texts = known.spellings().filter_map(|name| annotations.get(name));
        let is_missing = known == &keys::SPLIT && !annotations.contains_key(keys::SPLIT.name);
        assert!(is_missing || texts.any(shows), "{fault:?} shows an annotation that is there");
        assert!(!fault.problem.is_empty() && !fault.want.is_empty(), "{fault:?} says what would be right");
        assert!(!fault.to_string().contains('\n'), "{fault:?} is one line");
    }
}

fn holds_of_accepted(annotations: &Texts, defaults: &ClusterDefaults, parsed: &Parsed) {
    let Parsed { spec, binding, exposure, warnings } = parsed;
    assert_eq!(compat::faults(annotations, defaults), [], "what Ebb accepts, the reference accepts");
    holds_of_spec(spec);
    holds_of_binding(binding);
    holds_of_exposure(exposure);
    holds_of_warnings(annotations, warnings);
    let has = |key: &keys::Key| annotations.contains_key(key.name);
    if spec.rules == Rules::Reference {
        let is_asked_for = has(&keys::TARGET_CONCURRENCY) || has(&keys::TARGET_RPS);
        assert!(spec.second.is_none() || is_asked_for, "the reference has one signal: {spec:?}");
        assert!(!spec.startup_aware || has(&keys::STARTUP_AWARE), "nor sees it pods that start: {spec:?}");
    }
}

/// What the gateway relies on.
fn holds_of_exposure(exposure: &Exposure) {
    let names: BTreeSet<_> = exposure.hosts.iter().collect();
    assert_eq!(names.len(), exposure.hosts.len(), "each name once: {exposure:?}");
    assert!(exposure.tls_secret.is_none() || !names.is_empty(), "a certificate is for a name: {exposure:?}");
    assert!(
        !exposure.https_redirect || exposure.tls_secret.is_some(),
        "https needs a certificate: {exposure:?}"
    );
    let text = exposure.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    assert_eq!(usable_hosts(&text), text, "what is valid stays as it is");
}

/// What whoever acts by a spec relies on.
fn holds_of_spec(spec: &ScalingSpec) {
    let main = Signal { metric: spec.metric, target: spec.target, total: spec.total };
    for signal in [Some(main), spec.second].into_iter().flatten() {
        assert!(is_amount(signal.target), "{signal:?} has a target");
        assert!(is_amount(signal.total), "{signal:?} has a total");
        assert!(signal.target <= signal.total, "{signal:?} aims at no more than a pod can take");
    }
    assert_ne!(
        Some(spec.metric),
        spec.second.map(|second| second.metric),
        "the second signal is another one"
    );
    assert!(is_amount(spec.pod_concurrency), "{spec:?}");
    let limit = spec.serving.container_concurrency.map_or(f64::INFINITY, |limit| f64::from(limit.get()));
    assert!(spec.pod_concurrency <= limit, "no pod takes more than its limit: {spec:?}");
    if spec.metric == Metric::Concurrency {
        assert_eq!(spec.pod_concurrency, spec.total, "{spec:?}");
    }
    if let TargetBurstCapacity::Requests(requests) = spec.target_burst_capacity {
        assert!(requests.is_finite() && requests >= 0.0, "{spec:?}");
    }
    holds_of_bounds(spec);
    holds_of_times(spec);
    holds_of_serving(&spec.serving);
}

/// Finite, and large enough to divide by.
fn is_amount(number: f64) -> bool {
    number.is_finite() && number >= LEAST_TARGET
}

fn holds_of_bounds(spec: &ScalingSpec) {
    let max = spec.max_scale.map_or(u32::MAX, NonZeroU32::get);
    for initialized in [false, true] {
        assert!(spec.lower_bound(initialized) <= max, "bounds do not contradict each other: {spec:?}");
        if spec.reachable {
            assert!(spec.active_threshold(initialized) <= max, "a service can become active: {spec:?}");
        }
    }
    assert!(spec.activation_scale.is_none_or(|pods| (2..=max).contains(&pods.get())), "{spec:?}");
    if let Some(schedule) = &spec.schedule {
        assert_eq!(Schedule::parse(schedule.as_str()).as_ref(), Ok(&**schedule), "a schedule is its text");
        holds_of_schedule(schedule, max);
    }
}

/// At any moment a schedule wants no more than `max` pods, and it keeps its word until it said it would.
fn holds_of_schedule(schedule: &Schedule, max: u32) {
    // Ordinary days, one on which many clocks change, the first and the last of all.
    for secs in [0, 1_700_000_000, 1_743_296_400, 249_999_999_999, 250_000_000_000, u64::MAX] {
        let mut now = Tick::from_epoch(Duration::new(secs, 999_999_999));
        for _ in 0..4 {
            let said = schedule.at(now);
            assert!(said.pods <= max, "{schedule} at {now:?}");
            let Some(until) = said.until else {
                assert_eq!(said.pods, 0, "{schedule} at {now:?}");
                break;
            };
            assert!(until > now, "{schedule} at {now:?}");
            let last = until.before(Duration::from_nanos(1));
            assert_eq!(schedule.at(last).pods, said.pods, "{schedule} at {now:?}");
            now = until;
        }
    }
}

fn holds_of_times(spec: &ScalingSpec) {
    assert!((6 * SECOND..=HOUR).contains(&spec.stable_window), "{spec:?}");
    assert!((SECOND..=spec.stable_window).contains(&spec.panic_window), "{spec:?}");
    for whole in [spec.stable_window, spec.panic_window, spec.scale_down_delay, spec.progress_deadline] {
        assert_eq!(whole.subsec_nanos(), 0, "windows are sums over seconds: {spec:?}");
    }
    assert!((1.1..=10.0).contains(&spec.panic_threshold), "{spec:?}");
    assert!(spec.scale_down_delay <= HOUR && spec.pod_retention_period <= HOUR, "{spec:?}");
    assert!(spec.progress_deadline >= SECOND, "{spec:?}");
}

fn holds_of_serving(serving: &ServingSpec) {
    assert!(serving.container_concurrency.is_none_or(|limit| limit.get() <= 1000), "{serving:?}");
    assert!(serving.queue_depth.get() <= 100_000, "{serving:?}");
    for deadline in [serving.activation_deadline, serving.request_timeout] {
        assert!((SECOND..=HOUR).contains(&deadline), "{serving:?}");
    }
    for timeout in [serving.response_start_timeout, serving.idle_timeout].into_iter().flatten() {
        assert!(!timeout.is_zero() && timeout <= serving.request_timeout, "{serving:?}");
    }
    for limit in [serving.max_connection_age, serving.tunnel_idle_timeout].into_iter().flatten() {
        assert!(limit >= SECOND, "{serving:?}");
    }
    assert!(serving.readiness_path.as_ref().is_none_or(|path| path.starts_with('/')), "{serving:?}");
}

fn holds_of_binding(binding: &Binding) {
    if let Some(target) = &binding.scale_target {
        assert_eq!(target.to_string().parse().as_ref(), Ok(target), "a scale target is its text");
    }
    assert!(binding.selector.as_ref().is_none_or(|selector| !selector.is_empty()), "{binding:?}");
}

fn holds_of_warnings(annotations: &Texts, warnings: &[Warning]) {
    for warning in warnings {
        let is_known = keys::KNOWN.iter().flat_map(keys::Key::spellings).any(|name| name == warning.key);
        assert!(!is_known && annotations.contains_key(&warning.key), "{warning:?}");
    }
}
