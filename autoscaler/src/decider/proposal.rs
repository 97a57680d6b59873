use ebb_core::scaling::ScalingSpec;

use super::Bound;

/// Most pods that any decision asks for: Kubernetes counts replicas in 32 bits with a sign.
const MOST_PODS: f64 = i32::MAX as f64;

/// How many pods one average asks for (`spec/autoscaler.md`, section 6, steps 3 to 6).
#[derive(Clone, Copy, Debug)]
pub(super) struct Proposal {
    /// Pods, within the rates and not below the activation scale.
    pub(super) pods: u32,
    /// What set them.
    pub(super) bound_by: Bound,
    /// Pods that the load alone asks for, per ready pod (at least one): what the panic threshold is
    /// compared with.
    pub(super) per_ready_pod: f64,
}

impl Proposal {
    /// For an average of `load`; not-a-number counts as no load.
    pub(super) fn of(load: f64, ready_pods: u32, spec: &ScalingSpec) -> Self {
        // From zero pods one may grow as from one.
        let ready = f64::from(ready_pods.max(1));
        let most = (spec.max_scale_up_rate * ready).ceil();
        let least = if spec.reachable { (ready / spec.max_scale_down_rate).floor() } else { 0.0 };

        let wanted = (load / spec.target).ceil();
        // `max` and `min` prefer a number over not-a-number.
        let within = wanted.max(least).min(most);
        let bound_by = if within < wanted {
            Bound::ScaleUpRate
        } else if within == wanted {
            Bound::Load
        } else {
            Bound::ScaleDownRate
        };
        let mut proposal = Self { pods: pods(within), bound_by, per_ready_pod: wanted / ready };
        if let Some(least) = spec.activation_scale.filter(|least| wanted > 0.0 && least.get() > proposal.pods)
        {
            proposal.pods = least.get();
            proposal.bound_by = Bound::ActivationScale;
        }
        proposal
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
