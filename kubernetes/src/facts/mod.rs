//! The facts that are kept of the cluster's objects: only what decisions depend on.

mod pod;
mod seen;
mod slice;
mod target;

pub(crate) use pod::{DELETION_COST, PodFacts, PodObject, SIDECAR, SidecarFacts, tick};
use seen::Seen;
pub(crate) use slice::{MANAGER_LABEL, Manager, OURS, SERVICE_LABEL, SliceFacts, digest};
pub(crate) use target::{Target, TargetFacts, TargetKey};
