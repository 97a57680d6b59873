//! Divides the pods, and the limit of each, among activators (`spec/activator.md`, section 4.4).
//!
//! No activator knows what the others have at a pod. If each filled every pod to its declared limit, they
//! would overfill all of them. So each uses only its part of the *ready* pods, in the order of their
//! addresses, which all see alike:
//!
//! - At least as many pods as activators: each activator has a run of adjacent pods for itself, and the first
//!   activators get one each of the pods that remain.
//! - Fewer: each activator uses one pod, and those on the same pod split its limit. (The reference gives the
//!   whole limit to each of them, and the surplus waits in the pod.)
//!
//! **No activator starves.** Parts cover only ready pods, not all pods of the table, and a part of at least
//! one pod is never empty: an activator that sees a ready pod may send it at least one request. If a pod has
//! more activators than its limit, each may have one request there, and the queue-proxy queues the surplus.
//! An activator that does not know its place uses all pods.
//!
//! Fixed parts have a cost: an activator may hold requests while another's pods have room. Held requests
//! count as load, so the autoscaler adds pods, and each activator gets its part of them.
//!
//! Activators that see different ready pods, or learn of a change at different times, overlap meanwhile. The
//! queue-proxies keep the limit until then; agreeing first would cost a round trip before each change.

use std::num::NonZeroU32;

/// An activator's place among those that share a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    activators: NonZeroU32,
    index: u32,
}

/// The pods of one activator, by their places in the order of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The start of a run of adjacent pods.
    pub(super) begin: u32,
    /// The end of the run, exclusive.
    pub(super) end: u32,
    /// One of the pods that remained.
    pub(super) extra: Option<u32>,
    /// How many activators use these pods. More than one only if the part is a single pod.
    users: NonZeroU32,
    /// This activator's rank among the users.
    rank: u32,
}

impl Share {
    /// The only activator, which has all pods.
    pub const ALONE: Self = Self { activators: NonZeroU32::MIN, index: 0 };

    /// The activator `index` of `activators`, counted from 0. An index out of range counts as alone:
    /// overloading a pod is better than leaving a client unserved.
    pub const fn new(activators: u32, index: u32) -> Self {
        match NonZeroU32::new(activators) {
            Some(activators) if index < activators.get() => Self { activators, index },
            _ => Self::ALONE,
        }
    }

    /// Returns this activator's part of `pods` pods; empty only if there are none.
    pub(super) const fn part_of(self, pods: u32) -> Part {
        let Self { activators, index } = self;
        if pods > 0 && pods < activators.get() {
            let pod = index % pods;
            // The activators whose index is `pod` modulo `pods`, including this one's predecessors.
            let users = NonZeroU32::MIN.saturating_add((activators.get() - 1 - pod) / pods);
            return Part { begin: pod, end: pod + 1, extra: None, users, rank: index / pods };
        }
        let size = pods / activators.get();
        let remnants = pods % activators.get();
        let extra = if index < remnants { Some(pods - remnants + index) } else { None };
        Part { begin: index * size, end: index * size + size, extra, users: NonZeroU32::MIN, rank: 0 }
    }
}

impl Part {
    /// Returns whether the pod at `place` is in this part.
    pub(super) fn contains(&self, place: u32) -> bool {
        (self.begin..self.end).contains(&place) || self.extra == Some(place)
    }

    /// Returns the number of pods.
    pub(super) fn pods(&self) -> u32 {
        self.end - self.begin + u32::from(self.extra.is_some())
    }

    /// Returns the most requests that this activator may have at each pod that may execute `limit`.
    pub(super) fn of_limit(&self, limit: NonZeroU32) -> u32 {
        portion(limit.get(), self.users, self.rank)
    }
}

/// Returns the portion of `whole` for the user of the given rank: equal to within one, and at least one.
pub(super) fn portion(whole: u32, users: NonZeroU32, rank: u32) -> u32 {
    (whole / users + u32::from(rank < whole % users)).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pods_of(share: Share, pods: u32) -> Vec<u32> {
        (0..pods).filter(|&place| share.part_of(pods).contains(place)).collect()
    }

    #[test]
    fn pods_are_dealt_out_in_runs_and_those_that_remain_one_by_one() {
        let cases: [(u32, &[&[u32]]); 4] = [
            (10, &[&[0, 1, 2, 9], &[3, 4, 5], &[6, 7, 8]]),
            (5, &[&[0, 1, 4], &[2, 3]]),
            (3, &[&[0], &[1], &[2], &[0], &[1]]),
            (0, &[&[], &[]]),
        ];
        for (pods, parts) in cases {
            let activators = u32::try_from(parts.len()).unwrap();
            for (index, part) in (0..).zip(parts) {
                let share = Share::new(activators, index);
                assert_eq!(pods_of(share, pods), **part, "{index} of {activators}, {pods} pods");
                assert_eq!(share.part_of(pods).pods() as usize, part.len());
            }
        }
    }

    #[test]
    fn a_pod_with_several_users_is_split_and_each_gets_at_least_one() {
        let cases: [(u32, u32, u32, &[u32]); 4] = [
            // Pods, activators, limit; then what each activator gets at its pod.
            (1, 3, 10, &[4, 3, 3]),
            (2, 3, 10, &[5, 10, 5]),
            (2, 5, 4, &[2, 2, 1, 2, 1]),
            (1, 4, 2, &[1, 1, 1, 1]),
        ];
        for (pods, activators, limit, gets) in cases {
            let limit = NonZeroU32::new(limit).unwrap();
            let got: Vec<u32> = (0..activators)
                .map(|index| Share::new(activators, index).part_of(pods).of_limit(limit))
                .collect();
            assert_eq!(got, gets, "{activators} activators, {pods} pods");
        }
    }

    #[test]
    fn who_has_no_place_uses_all_pods() {
        for (activators, index) in [(0, 0), (0, 7), (1, 0), (1, 1), (3, 3), (3, u32::MAX)] {
            assert_eq!(Share::new(activators, index), Share::ALONE, "{index} of {activators}");
        }
        assert_eq!(pods_of(Share::ALONE, 4), [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn together_all_use_every_pod_and_none_beyond_its_limit_but_for_one_each(
            pods in 1_u32..60,
            activators in 1_u32..60,
            limit in 1_u32..40,
        ) {
            let limit = NonZeroU32::new(limit).unwrap();
            let parts: Vec<Part> =
                (0..activators).map(|index| Share::new(activators, index).part_of(pods)).collect();
            for part in &parts {
                prop_assert!(part.pods() > 0, "a part of some pods is some pods");
            }
            for place in 0..pods {
                let users: Vec<&Part> = parts.iter().filter(|part| part.contains(place)).collect();
                let count = u32::try_from(users.len()).unwrap();
                prop_assert!(count > 0, "nobody uses pod {place}");
                prop_assert!(count == 1 || pods < activators);
                let taken: u32 = users.iter().map(|part| part.of_limit(limit)).sum();
                // All that the pod can take, and no more unless it has more users than that.
                prop_assert_eq!(taken, limit.get().max(count));
                // Giving each the whole limit, as the reference does, would be more.
                prop_assert!(taken <= limit.get() * count);
            }
        }

        #[test]
        fn no_numbers_overflow(pods: u32, activators: u32, index: u32, limit in 1..=u32::MAX) {
            let part = Share::new(activators, index).part_of(pods);
            prop_assert!(part.begin <= part.end && part.end <= pods);
            prop_assert!(part.extra.is_none_or(|place| part.end <= place && place < pods));
            prop_assert!((1..=limit).contains(&part.of_limit(NonZeroU32::new(limit).unwrap())));
        }
    }
}
