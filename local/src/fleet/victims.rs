//! Who goes when pods must go: idle first.

use ebb_core::Tick;

/// What is known of a pod that might go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) ready: bool,
    pub(super) in_flight: f64,
    pub(super) created_at: Tick,
}

/// The indices of the `count` that go: those that do not serve yet before those that do, the less busy
/// before the busy, and of equals the youngest, whose caches are the coldest.
pub(super) fn choose(candidates: &[Candidate], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| {
        let (a, b) = (&candidates[a], &candidates[b]);
        a.ready.cmp(&b.ready).then(a.in_flight.total_cmp(&b.in_flight)).then(b.created_at.cmp(&a.created_at))
    });
    order.truncate(count);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(ready: bool, in_flight: f64, created: u64) -> Candidate {
        Candidate { ready, in_flight, created_at: Tick::from_secs(created) }
    }

    #[test]
    fn idle_pods_go_before_busy_ones_and_newborn_before_all() {
        let pods =
            [pod(true, 5.0, 1), pod(true, 0.0, 2), pod(false, 0.0, 4), pod(true, 0.0, 3), pod(true, 1.0, 5)];
        assert_eq!(choose(&pods, 4), [2, 3, 1, 4]);
        assert_eq!(choose(&pods, 9).len(), 5);
        assert_eq!(choose(&pods, 0), [0; 0]);
    }
}
