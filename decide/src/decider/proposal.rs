use ebb_annotations::{Metric, Rules, ScalingSpec};

use super::{Bound, Observation, startup::Limit};
use crate::windows::Averages;

/// Most pods that any decision asks for: Kubernetes counts replicas in 32 bits with a sign.
const MOST_PODS: f64 = i32::MAX as f64;

/// How many pods the averages over one window ask for (`spec/autoscaler.md`, section 6, steps 3 to 6).
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    /// Pods, within the rates and not below the activation scale.
    pub(super) pods: u32,
    /// The metric that asked for the most.
    pub(super) signal: Metric,
    /// What set them.
    pub(super) bound_by: Bound,
    /// Pods that the load alone asks for, per pod that is there or coming (at least one): what the panic
    /// threshold is compared with.
    pub(super) per_pod: f64,
}

impl Proposal {
    /// For the averages that `of` picks, of which no more requests in flight count than `limit` allows.
    pub(super) fn of(
        seen: &Observation,
        of: impl Fn(Averages) -> f64,
        limit: Option<Limit>,
        spec: &ScalingSpec,
    ) -> Self {
        let (load, signal) = largest(seen, &of, f64::INFINITY, spec);
        // From zero pods one may grow as from one.
        let ready = f64::from(seen.ready_pods.max(1));
        let most = (spec.max_scale_up_rate * ready).ceil();
        let least = if spec.reachable { (ready / spec.max_scale_down_rate).floor() } else { 0.0 };

        let wanted = load.ceil();
        // `max` and `min` prefer a number over not-a-number.
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
            // None of those that are coming is turned away, and no load is counted out entirely.
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

    /// At least `pods`, because of `why`.
    pub(super) fn raise(&mut self, pods: u32, why: Bound) {
        if pods > self.pods {
            (self.pods, self.bound_by) = (pods, why);
        }
    }

    /// At most `pods`, because of `why`; whether that is fewer than it was.
    pub(super) fn lower(&mut self, pods: u32, why: Bound) -> bool {
        let lowers = pods < self.pods;
        if lowers {
            (self.pods, self.bound_by) = (pods, why);
        }
        lowers
    }
}

/// Pods that the load asks for, with their fraction, and the metric that asks for the most.
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

/// What the panic threshold is compared with. The reference rounds up first, so that a single pod panics at
/// once its target, whatever the threshold; and it knows nothing of pods that are coming.
fn per_pod(load: f64, seen: &Observation, spec: &ScalingSpec) -> f64 {
    let coming = if spec.startup_aware { seen.coming_pods } else { 0 };
    let there = f64::from(seen.ready_pods.saturating_add(coming).max(1));
    match spec.rules {
        Rules::Reference => load.ceil() / there,
        Rules::Mended => load / there,
    }
}

/// The whole number `value` as pods: nothing below 0, nothing that the API could not say.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; a cast saturates")]
fn pods(value: f64) -> u32 {
    value.min(MOST_PODS) as u32
}

/// The whole number `value`, at the nearest end if it does not fit; not-a-number is 0.
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
