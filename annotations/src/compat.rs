//! The reference's own answers, fault by fault and value by value, from the same code: for the conformance
//! tests, and for whoever moves a cluster to Ebb and wants to know what is different.

use std::num::NonZeroU32;

use super::{
    ClusterDefaults, Effective, Fault, Reachability, admission, annotations::Annotations, reading::Texts,
};

/// What the reference's admission would refuse.
pub fn faults(annotations: &Texts, defaults: &ClusterDefaults) -> Vec<Fault> {
    admission::faults(&Annotations::read(annotations), defaults)
}

/// What the reference would act by, even where its admission refuses. `container_concurrency` is the most
/// requests that a pod executes at once (`None`: unlimited), a field of the reference's revisions.
pub fn effective(
    annotations: &Texts,
    defaults: &ClusterDefaults,
    container_concurrency: Option<NonZeroU32>,
    reachability: Reachability,
) -> Effective {
    Effective::resolve(&Annotations::read(annotations), defaults, container_concurrency, reachability)
}

/// The cluster's settings as the reference accepts them.
///
/// # Errors
///
/// What the reference would refuse.
pub fn defaults(map: &Texts) -> Result<ClusterDefaults, Vec<Fault>> {
    let (defaults, faults) = ClusterDefaults::read(map);
    if faults.is_empty() { Ok(defaults) } else { Err(faults) }
}

#[cfg(test)]
mod tests;
