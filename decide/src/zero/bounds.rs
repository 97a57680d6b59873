use std::num::NonZeroU32;

use ebb_annotations::ScalingSpec;

/// Returns `desired` pods within the bounds of `spec` (`spec/annotations.md`, section 7). The lower bound is at least
/// the minimum of the schedule (`scheduled`), unless the service is unreachable.
///
/// If the bounds contradict each other, the lower one is tested first, as in the reference: too few pods become
/// `lower`, too many become the maximum. Annotations cannot contradict each other, but an initial scale above the
/// maximum does until the service is `initialized`.
pub fn bounded(spec: &ScalingSpec, initialized: bool, scheduled: u32, desired: u32) -> u32 {
    let scheduled = if spec.reachable { scheduled } else { 0 };
    apply_bounds(spec.lower_bound(initialized).max(scheduled), spec.max_scale, desired)
}

/// Returns `min` if `pods` are fewer, `max` if they are more, and otherwise `pods`. `None` is no maximum.
pub fn apply_bounds(min: u32, max: Option<NonZeroU32>, pods: u32) -> u32 {
    if pods < min { min } else { max.map_or(pods, |max| pods.min(max.get())) }
}
