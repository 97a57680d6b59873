//! The reference's own faults and values, computed by the same code. For the conformance tests, and for users
//! who migrate a cluster to Ebb and want to see the differences.

use std::num::NonZeroU32;

use super::{
    ClusterDefaults, Effective, Fault, Reachability, admission, annotations::Annotations, reading::Texts,
};

/// Returns the faults that the reference's admission would report.
pub fn faults(annotations: &Texts, defaults: &ClusterDefaults) -> Vec<Fault> {
    admission::faults(&Annotations::read(annotations), defaults)
}

/// Returns the values that the reference would use, even if its admission refuses them.
/// `container_concurrency` is the most requests that a pod executes at once (`None`: unlimited), a field of
/// the reference's revisions.
pub fn effective(
    annotations: &Texts,
    defaults: &ClusterDefaults,
    container_concurrency: Option<NonZeroU32>,
    reachability: Reachability,
) -> Effective {
    Effective::resolve(&Annotations::read(annotations), defaults, container_concurrency, reachability)
}

/// Reads the cluster's settings by the reference's rules.
///
/// # Errors
///
/// Returns the faults that the reference would report.
pub fn defaults(map: &Texts) -> Result<ClusterDefaults, Vec<Fault>> {
    let (defaults, faults) = ClusterDefaults::read(map);
    if faults.is_empty() { Ok(defaults) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
