use std::num::NonZeroU32;

use ebb_annotations::ScalingSpec;

/// `desired` pods within the bounds of `spec` (`spec/annotations.md`, section 7), of which the lower is not
/// less than what its schedule says (`scheduled`), unless nobody can reach the service.
///
/// Of bounds that contradict each other the lower is tested first, as in the reference: too few pods
/// become `lower`, too many the maximum. Annotations may not say so, but an initial scale above the
/// maximum does until the service is `initialized`.
pub fn bounded(spec: &ScalingSpec, initialized: bool, scheduled: u32, desired: u32) -> u32 {
    let scheduled = if spec.reachable { scheduled } else { 0 };
    apply_bounds(spec.lower_bound(initialized).max(scheduled), spec.max_scale, desired)
}

/// `pods`, but `min` if they are fewer, else `max` if they are more; `None` is no maximum.
pub fn apply_bounds(min: u32, max: Option<NonZeroU32>, pods: u32) -> u32 {
    if pods < min { min } else { max.map_or(pods, |max| pods.min(max.get())) }
}
