//! The settings in effect: annotations over the cluster's defaults, before any check.

use std::num::NonZeroU32;

use super::{
    Aggregation, TargetBurstCapacity,
    admission::MIN_TARGET,
    annotations::{Annotations, text_of, value_of},
    defaults::ClusterDefaults,
    duration::GoDuration,
    keys::{HPA_CLASS, KPA_CLASS},
};

/// The share of an `rps` target to aim at; the reference has no setting for it.
pub(super) const RPS_UTILIZATION: f64 = 0.7;
/// The shortest panic window.
const MIN_PANIC_WINDOW: GoDuration = GoDuration::from_secs(1);

/// Whether clients can reach a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// They can, or it is not known.
    #[default]
    Reachable,
    /// They cannot: lower bounds, retention and delays are off.
    Unreachable,
}

/// The values in effect, as wide as the reference holds them. The reference goes on with values that its
/// admission refuses, so bounds may be negative and floats not finite. Ebb turns accepted annotations into a
/// [`ScalingSpec`](super::ScalingSpec).
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The class; the reference's default if no annotation sets it.
    pub class: String,
    /// The metric's name, which may be unknown to Ebb.
    pub metric: String,
    /// The target per pod, in units of the metric.
    pub target: f64,
    /// What one pod can take, in units of the metric.
    pub total: f64,
    /// The spare requests wanted.
    pub target_burst_capacity: TargetBurstCapacity,
    /// The least pods.
    pub min_scale: i64,
    /// The most pods; 0 is unlimited.
    pub max_scale: i64,
    /// The pods at creation.
    pub initial_scale: i64,
    /// The least pods if any are wanted; 0 is off.
    pub activation_scale: i64,
    /// The stable window.
    pub stable_window: GoDuration,
    /// The panic window; `None` if it would overflow.
    pub panic_window: Option<GoDuration>,
    /// The ratio of wanted to ready pods that starts a panic.
    pub panic_threshold: f64,
    /// How the windows weigh their seconds.
    pub aggregation: Aggregation,
    /// How long a decrease waits.
    pub scale_down_delay: GoDuration,
    /// How long the last pod stays.
    pub pod_retention_period: GoDuration,
    /// The time within which a scale target must make progress.
    pub progress_deadline: GoDuration,
    /// Whether clients can reach the service.
    pub reachability: Reachability,
}

impl Effective {
    /// Resolves `annotations` over `defaults` for a service whose pods execute at most
    /// `container_concurrency` requests at once (`None`: unlimited).
    pub(super) fn resolve(
        annotations: &Annotations<'_>,
        defaults: &ClusterDefaults,
        container_concurrency: Option<NonZeroU32>,
        reachability: Reachability,
    ) -> Self {
        let class = annotations.class_or(KPA_CLASS);
        let metric = text_of(annotations.metric.as_ref()).unwrap_or(default_metric(class));
        let (target, total) = targets(annotations, defaults, metric, container_concurrency);
        let stable_window = value_of(annotations.window.as_ref()).unwrap_or(defaults.stable_window.into());
        let panic_percentage =
            value_of(annotations.panic_window.as_ref()).unwrap_or(defaults.panic_window_percentage);
        Self {
            class: class.to_owned(),
            metric: metric.to_owned(),
            target,
            total,
            target_burst_capacity: value_of(annotations.target_burst_capacity.as_ref())
                .map_or(defaults.target_burst_capacity, TargetBurstCapacity::from_setting),
            min_scale: min_scale(annotations, defaults, reachability),
            max_scale: value_of(annotations.max_scale.as_ref())
                .map_or_else(|| defaults.max_scale.map_or(0, |max| i64::from(max.get())), i64::from),
            initial_scale: initial_scale(annotations, defaults),
            activation_scale: value_of(annotations.activation_scale.as_ref()).map_or(0, i64::from),
            stable_window,
            panic_window: panic_window(stable_window, panic_percentage),
            panic_threshold: value_of(annotations.panic_threshold.as_ref())
                .unwrap_or(defaults.panic_threshold_percentage)
                / 100.0,
            aggregation: aggregation(text_of(annotations.aggregation.as_ref())),
            scale_down_delay: value_of(annotations.scale_down_delay.as_ref())
                .unwrap_or(defaults.scale_down_delay.into()),
            pod_retention_period: pod_retention_period(annotations, defaults, reachability),
            progress_deadline: value_of(annotations.progress_deadline.as_ref())
                .unwrap_or(defaults.progress_deadline.into()),
            reachability,
        }
    }

    /// Returns the ready pods that make the service active for the first time.
    pub fn first_active_threshold(&self) -> i64 {
        self.min_scale.max(self.initial_scale)
    }

    /// Returns the ready pods that make the service active later.
    pub fn active_threshold(&self) -> i64 {
        self.min_scale.max(1)
    }
}

fn default_metric(class: &str) -> &'static str {
    match class {
        KPA_CLASS => "concurrency",
        HPA_CLASS => "cpu",
        _ => "",
    }
}

/// Returns the target and the total (`spec/annotations.md`, section 6).
fn targets(
    annotations: &Annotations<'_>,
    defaults: &ClusterDefaults,
    metric: &str,
    container_concurrency: Option<NonZeroU32>,
) -> (f64, f64) {
    let capacity = container_concurrency.map(|capacity| f64::from(capacity.get()));
    let mut total = match metric {
        "rps" => defaults.rps_total,
        _ => capacity.unwrap_or(defaults.total),
    };
    if let Some(wanted) = value_of(annotations.target.as_ref()) {
        total = match capacity {
            Some(capacity) if metric == "concurrency" => smaller(wanted, capacity),
            _ => wanted,
        };
    }
    (target(annotations, defaults, metric, total), total)
}

/// Returns the target per pod if each can take `total`: the share of it that the annotation sets, or the
/// metric's default.
pub(super) fn target(
    annotations: &Annotations<'_>,
    defaults: &ClusterDefaults,
    metric: &str,
    total: f64,
) -> f64 {
    let usual = if metric == "rps" { RPS_UTILIZATION } else { defaults.utilization };
    let annotated = value_of(annotations.target_utilization.as_ref());
    larger(MIN_TARGET, total * annotated.map_or(usual, |percentage| percentage / 100.0))
}

/// Returns the smaller one; NaN if either is.
fn smaller(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// Returns the larger one; NaN if either is.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn min_scale(annotations: &Annotations<'_>, defaults: &ClusterDefaults, reachability: Reachability) -> i64 {
    match reachability {
        Reachability::Unreachable => 0,
        Reachability::Reachable => {
            value_of(annotations.min_scale.as_ref()).map_or_else(|| i64::from(defaults.min_scale), i64::from)
        }
    }
}

fn initial_scale(annotations: &Annotations<'_>, defaults: &ClusterDefaults) -> i64 {
    value_of(annotations.initial_scale.as_ref())
        .filter(|initial| i32::try_from(*initial).is_ok())
        .filter(|initial| *initial != 0 || defaults.allow_zero_initial_scale)
        .unwrap_or_else(|| i64::from(defaults.initial_scale))
}

fn pod_retention_period(
    annotations: &Annotations<'_>,
    defaults: &ClusterDefaults,
    reachability: Reachability,
) -> GoDuration {
    match reachability {
        Reachability::Unreachable => GoDuration::ZERO,
        Reachability::Reachable => {
            value_of(annotations.pod_retention.as_ref()).unwrap_or(defaults.pod_retention_period.into())
        }
    }
}

/// The reference averages linearly if the algorithm is unknown.
fn aggregation(algorithm: Option<&str>) -> Aggregation {
    match algorithm {
        Some("weighted-exponential" | "weightedExponential") => Aggregation::WeightedExponential,
        _ => Aggregation::Linear,
    }
}

/// Returns `percentage` of `stable`, rounded to whole seconds (halves up), at least one; `None` on overflow.
fn panic_window(stable: GoDuration, percentage: f64) -> Option<GoDuration> {
    const SECOND: i64 = 1_000_000_000;
    let nanos = stable.as_nanos() as f64 * percentage / 100.0;
    if nanos.abs() >= i64::MAX as f64 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range as just seen; a fraction is to be cut off")]
    let nanos = nanos as i64; // NaN becomes 0, and so the shortest window
    let rest = nanos % SECOND;
    let rounded = if rest < SECOND / 2 { nanos - rest } else { nanos.saturating_add(SECOND - rest) };
    Some(GoDuration::from_nanos(rounded).max(MIN_PANIC_WINDOW))
}
