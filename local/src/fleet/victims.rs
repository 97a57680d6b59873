//! Chooses the pods to remove.

use std::sync::Arc;

use ebb_decide::idle_first::{Candidate, idle_first};

use crate::pod::LocalPod;

/// Sorts `pods` in the order in which they go: the named ones in their order, then the idle, then the busy.
pub(super) fn choose<'a>(
    pods: &'a [Arc<LocalPod>],
    named: &[String],
) -> impl Iterator<Item = &'a Arc<LocalPod>> {
    let place = |pod: &Arc<LocalPod>| named.iter().position(|name| **name == *pod.name);
    let mut first: Vec<(usize, &Arc<LocalPod>)> =
        pods.iter().filter_map(|pod| Some((place(pod)?, pod))).collect();
    first.sort_by_key(|(place, _)| *place);
    let others = pods.iter().filter(|pod| place(pod).is_none()).map(|pod| Candidate {
        pod,
        serves: pod.is_ready(),
        in_flight: pod.in_flight(),
        started_at: pod.created_at(),
    });
    let others = idle_first(others.collect());
    first.into_iter().map(|(_, pod)| pod).chain(others)
}
