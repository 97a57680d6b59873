//! The spec of a service that has no annotations, under the cluster's defaults.

use std::collections::BTreeMap;

use ebb_annotations::{ClusterDefaults, Reachability, Rules, ScalingSpec, TargetBurstCapacity, parse};

/// Target 70 of 100 requests in flight, burst capacity 211, windows of 60 s and 6 s.
#[allow(dead_code, reason = "each test program uses its part of this module")]
pub(crate) fn stock_spec() -> ScalingSpec {
    parse(&BTreeMap::default(), &ClusterDefaults::default(), Reachability::Reachable)
        .expect("no annotation, no fault")
        .spec
}

/// The same, decided on exactly as the reference does.
#[allow(dead_code, reason = "each test program uses its part of this module")]
pub(crate) fn reference_spec() -> ScalingSpec {
    ScalingSpec { rules: Rules::Reference, startup_aware: false, ..stock_spec() }
}

/// The annotation's or the vectors' number, where -1 means unlimited.
#[allow(dead_code, reason = "each test program uses its part of this module")]
pub(crate) fn burst_capacity(number: f64) -> TargetBurstCapacity {
    if number == -1.0 { TargetBurstCapacity::Unlimited } else { TargetBurstCapacity::Requests(number) }
}
