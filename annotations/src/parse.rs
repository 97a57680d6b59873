use std::num::NonZeroU32;

use super::{
    Metric, ScalingSpec, ServingSpec, Signal, admission,
    annotations::Annotations,
    binding,
    binding::Binding,
    defaults::ClusterDefaults,
    effective::{Effective, Reachability},
    exposure::{self, Exposure},
    extensions::{self, Extensions},
    fault::{Fault, Warning},
    hint, keys,
    reading::Texts,
    serving, strict,
};

/// The parsed annotations of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// How the service is scaled and served.
    pub spec: ScalingSpec,
    /// What the Service is bound to.
    pub binding: Binding,
    /// How the gateway exposes it.
    pub exposure: Exposure,
    /// Annotations that have no effect.
    pub warnings: Vec<Warning>,
}

/// Parses the annotations of a service. No other code parses them.
///
/// # Errors
///
/// Returns all faults at once, ordered by key.
pub fn parse(
    annotations: &Texts,
    defaults: &ClusterDefaults,
    reachability: Reachability,
) -> Result<Parsed, Vec<Fault>> {
    let read = Annotations::read(annotations);
    let mut faults = admission::faults(&read, defaults);
    for fault in strict::faults(annotations, &read, defaults) {
        // One fault per setting is enough to fix it.
        if faults.iter().all(|known| known.key != fault.key) {
            faults.push(fault);
        }
    }
    let serving = serving::read(annotations, &mut faults);
    let beyond = extensions::read(annotations, &read, defaults, serving.container_concurrency, &mut faults);
    let binding = binding::read(annotations, &mut faults);
    let exposure = exposure::read(annotations, &mut faults);
    if !faults.is_empty() {
        faults.sort_by(|a, b| a.key.cmp(&b.key));
        return Err(faults);
    }
    let effective = Effective::resolve(&read, defaults, serving.container_concurrency, reachability);
    let spec = scaling_spec(&effective, defaults, serving, beyond);
    let warnings = warnings(annotations, spec.metric);
    Ok(Parsed { spec, binding, exposure, warnings })
}

/// Builds the spec from values without faults. The conversions cannot fail then; they saturate, so that none
/// could panic.
fn scaling_spec(
    effective: &Effective,
    defaults: &ClusterDefaults,
    serving: ServingSpec,
    beyond: Extensions,
) -> ScalingSpec {
    let metric = Metric::named(&effective.metric).unwrap_or(Metric::Concurrency);
    ScalingSpec {
        metric,
        target: effective.target,
        total: effective.total,
        second: beyond.second,
        pod_concurrency: pod_concurrency(metric, effective.total, beyond.second, &serving)
            .unwrap_or(defaults.total),
        target_burst_capacity: effective.target_burst_capacity,
        min_scale: pods(effective.min_scale),
        schedule: beyond.schedule,
        max_scale: NonZeroU32::new(pods(effective.max_scale)),
        initial_scale: pods(effective.initial_scale),
        activation_scale: NonZeroU32::new(pods(effective.activation_scale)),
        stable_window: effective.stable_window.to_std(),
        panic_window: effective.panic_window.unwrap_or(effective.stable_window).to_std(),
        panic_threshold: effective.panic_threshold,
        aggregation: effective.aggregation,
        scale_down_delay: effective.scale_down_delay.to_std(),
        pod_retention_period: effective.pod_retention_period.to_std(),
        scale_to_zero_grace_period: defaults.scale_to_zero_grace_period,
        scale_to_zero: defaults.scale_to_zero,
        max_scale_up_rate: defaults.max_scale_up_rate,
        max_scale_down_rate: defaults.max_scale_down_rate,
        activator_capacity: defaults.activator_capacity,
        progress_deadline: effective.progress_deadline.to_std(),
        reachable: effective.reachability == Reachability::Reachable,
        serving,
        rules: beyond.rules,
        startup_aware: beyond.startup_aware,
        max_starting_pods: beyond.max_starting_pods,
        idle_first: beyond.idle_first,
    }
}

/// Returns the requests in flight that one pod can take, if an annotation tells: a total, or else the limit.
fn pod_concurrency(metric: Metric, total: f64, second: Option<Signal>, serving: &ServingSpec) -> Option<f64> {
    match (metric, second) {
        (Metric::Concurrency, _) => Some(total),
        (Metric::Rps, Some(concurrency)) => Some(concurrency.total),
        (Metric::Rps, None) => serving.container_concurrency.map(|limit| f64::from(limit.get())),
    }
}

fn pods(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}

fn warnings(annotations: &Texts, metric: Metric) -> Vec<Warning> {
    annotations
        .keys()
        .filter(|key| keys::is_unknown(key))
        .map(|key| Warning { key: key.clone(), hint: hint::hint(key, metric) })
        .collect()
}

#[cfg(test)]
mod tests;
