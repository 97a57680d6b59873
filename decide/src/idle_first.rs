//! Chooses the pods to remove: idle pods first.

use ebb_core::Tick;

/// A pod that may be removed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate<T> {
    /// The pod.
    pub pod: T,
    /// Whether it takes traffic, or did.
    pub serves: bool,
    /// Its requests in flight; infinite if it did not report, because it may be too busy to.
    pub in_flight: f64,
    /// When it started.
    pub started_at: Tick,
}

/// Sorts the pods in the order in which they go: pods that never served first, then the less busy, and of
/// equals the youngest, whose caches are the coldest.
pub fn idle_first<T>(mut pods: Vec<Candidate<T>>) -> Vec<T> {
    pods.sort_by(|a, b| {
        let by_load = a.in_flight.total_cmp(&b.in_flight);
        a.serves.cmp(&b.serves).then(by_load).then(b.started_at.cmp(&a.started_at))
    });
    pods.into_iter().map(|candidate| candidate.pod).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newborn_pods_go_before_idle_ones_and_those_before_the_busy() {
        let pod = |pod, serves, in_flight, started| Candidate {
            pod,
            serves,
            in_flight,
            started_at: Tick::from_secs(started),
        };
        let order = idle_first(vec![
            pod("busy", true, 5.0, 1),
            pod("idle", true, 0.0, 2),
            pod("silent", true, f64::INFINITY, 9),
            pod("newborn", false, 0.0, 4),
            pod("idle and young", true, 0.0, 3),
            pod("nearly idle", true, 1.0, 5),
        ]);
        assert_eq!(order, ["newborn", "idle and young", "idle", "nearly idle", "busy", "silent"]);
        assert!(idle_first(Vec::<Candidate<()>>::new()).is_empty());
    }
}
