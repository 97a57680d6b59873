use ebb_annotations::{Metric, Rules, ScalingSpec};

use super::{Bound, Observation, startup::Limit};
use crate::windows::Averages;

/// Maximum number of pods in any decision: Kubernetes uses signed 32-bit numbers for replicas.
const MOST_PODS: f64 = i32::MAX as f64;

/// How many pods the averages over one window require (`spec/autoscaler.md`, section 6, steps 3 to 6).
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    /// Number of pods, within the rate limits and not below the activation scale.
    pub(super) pods: u32,
    /// The metric that requires the most pods.
    pub(super) signal: Metric,
    /// The rule that set the number.
    pub(super) bound_by: Bound,
    /// Number of pods that the load alone requires, divided by the existing or starting pods (at least one). It is
    /// compared with the panic threshold.
    pub(super) per_pod: f64,
}

impl Proposal {
    /// Returns the proposal for the averages that `of` selects. At most `limit` requests in flight count.
    pub(super) fn of(
        seen: &Observation,
        of: impl Fn(Averages) -> f64,
        limit: Option<Limit>,
        spec: &ScalingSpec,
    ) -> Self {
        let (load, signal) = largest(seen, &of, f64::INFINITY, spec);
        // Growth from zero pods is limited as from one.
        let ready = f64::from(seen.ready_pods.max(1));
        let most = (spec.max_scale_up_rate * ready).ceil();
        let least = if spec.reachable { (ready / spec.max_scale_down_rate).floor() } else { 0.0 };

        let wanted = load.ceil();
        // `max` and `min` prefer a number to not-a-number.
        let within = wanted.max(least).min(most);
        let bound_by = if within < wanted {
            Bound::ScaleUpRate
        } else if within == wanted {
            Bound::Load
        } else {
            Bound::ScaleDownRate
        };
        let mut proposal = Self { pods: pods(within), signal, bound_by, per_pod: per_pod(load, seen, spec) };
        if let Some(limit) = limit {
            let (load, signal) = largest(seen, &of, limit.of(of(seen.rps)), spec);
            // No starting pod is removed, and the load never counts as zero.
            let there =
                if seen.coming_pods > 0 { seen.ready_pods.saturating_add(seen.coming_pods) } else { 0 };
            if proposal.lower(pods(load.ceil().max(least).max(1.0)).max(there), Bound::Startup) {
                proposal.signal = signal;
            }
        }
        if let Some(least) = spec.activation_scale.filter(|_| wanted > 0.0) {
            proposal.raise(least.get(), Bound::ActivationScale);
        }
        proposal
    }

    /// Raises the number to at least `pods`, because of `why`.
    pub(super) fn raise(&mut self, pods: u32, why: Bound) {
        if pods > self.pods {
            (self.pods, self.bound_by) = (pods, why);
        }
    }

    /// Lowers the number to at most `pods`, because of `why`. Returns whether that changed it.
    pub(super) fn lower(&mut self, pods: u32, why: Bound) -> bool {
        let lowers = pods < self.pods;
        if lowers {
            (self.pods, self.bound_by) = (pods, why);
        }
        lowers
    }
}

/// Returns the number of pods that the load requires, as a fraction, and the metric that requires the most.
fn largest(
    seen: &Observation,
    of: &impl Fn(Averages) -> f64,
    most_in_flight: f64,
    spec: &ScalingSpec,
) -> (f64, Metric) {
    let asked = |metric: Metric, target: f64| {
        let load = of(seen.of(metric));
        let counted =
            if metric == Metric::Concurrency && load > most_in_flight { most_in_flight } else { load };
        (counted / target, metric)
    };
    let main = asked(spec.metric, spec.target);
    match &spec.second {
        Some(second) => {
            let second = asked(second.metric, second.target);
            if second.0 > main.0 || main.0.is_nan() { second } else { main }
        }
        None => main,
    }
}

/// Returns the number to compare with the panic threshold. The reference rounds up first, so that a single pod panics
/// at its target whatever the threshold, and it ignores starting pods.
fn per_pod(load: f64, seen: &Observation, spec: &ScalingSpec) -> f64 {
    let coming = if spec.startup_aware { seen.coming_pods } else { 0 };
    let there = f64::from(seen.ready_pods.saturating_add(coming).max(1));
    match spec.rules {
        Rules::Reference => load.ceil() / there,
        Rules::Mended => load / there,
    }
}

/// Converts the whole number `value` to pods, limited to the range of the API.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; a cast saturates")]
fn pods(value: f64) -> u32 {
    value.min(MOST_PODS) as u32
}

/// Converts the whole number `value`, saturating; not-a-number becomes 0.
#[expect(clippy::cast_possible_truncation, reason = "a cast saturates, and turns not-a-number into 0")]
pub(super) fn saturating(value: f64) -> i64 {
    value as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_do_not_fit_end_at_the_nearest_that_does() {
        assert_eq!(pods(f64::INFINITY), i32::MAX.cast_unsigned());
        assert_eq!(pods(-1.0), 0);
        assert_eq!(saturating(f64::NEG_INFINITY), i64::MIN);
        assert_eq!(saturating(1e300), i64::MAX);
        assert_eq!(saturating(f64::NAN), 0);
    }
}
