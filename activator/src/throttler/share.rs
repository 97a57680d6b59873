//! Which of the pods are this activator's, and how much of each (`spec/activator.md`, section 4.4).
//!
//! No activator knows what the others have at a pod. If each filled every pod to its declared limit, they
//! would overfill them all; so each keeps to its part of the *ready* pods, in the order of their addresses,
//! which all see alike:
//!
//! - As many pods as activators or more: each activator has a run of neighbours for itself, and the pods that
//!   remain at the end go one each to the first activators.
//! - Fewer: each activator uses one pod, some the same one, and these split its limit. (The reference gives the
//!   whole limit to each of them, and the surplus waits in the pod.)
//!
//! **Nobody starves.** A part is taken of the pods that are ready, not of all that the table names, and of one
//! pod or more it is never empty: an activator that sees a ready pod may use one, with at least one request.
//! Where a pod has more activators than its limit, each has one request there, and its queue-proxy lets the
//! surplus wait. An activator that is not told its place uses all pods.
//!
//! What fixed parts cost: an activator may hold requests while there is room at another's pods. What is held
//! counts as load, so that the autoscaler adds pods, and of those each gets its part.
//!
//! Activators that see different pods ready, or hear of a change at different times, overlap for so long. The
//! queue-proxies keep to the limit meanwhile; to agree first would cost a round trip before each change.

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
    /// The first of a run of neighbours.
    pub(super) begin: u32,
    /// The first behind the run.
    pub(super) end: u32,
    /// One that remained at the end.
    pub(super) extra: Option<u32>,
    /// How many activators use these pods. More than one only of a single pod.
    users: NonZeroU32,
    /// Which of its users this activator is.
    rank: u32,
}

impl Share {
    /// The only activator: all pods are its own.
    pub const ALONE: Self = Self { activators: NonZeroU32::MIN, index: 0 };

    /// The activator `index` of `activators`, counted from 0. One that is none of them counts as alone: too much
    /// for a pod is better than nothing for a client.
    pub const fn new(activators: u32, index: u32) -> Self {
        match NonZeroU32::new(activators) {
            Some(activators) if index < activators.get() => Self { activators, index },
            _ => Self::ALONE,
        }
    }

    /// This activator's part of `pods` pods; empty only if there are none.
    pub(super) const fn part_of(self, pods: u32) -> Part {
        let Self { activators, index } = self;
        if pods > 0 && pods < activators.get() {
            let pod = index % pods;
            // Those with `pod` as the rest of their index, this one's predecessors among them.
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
    /// Whether the pod at `place` belongs to it.
    pub(super) fn contains(&self, place: u32) -> bool {
        (self.begin..self.end).contains(&place) || self.extra == Some(place)
    }

    /// How many pods it has.
    pub(super) fn pods(&self) -> u32 {
        self.end - self.begin + u32::from(self.extra.is_some())
    }

    /// Requests that this activator may have at each of the pods at once, of `limit` that a pod may execute.
    pub(super) fn of_limit(&self, limit: NonZeroU32) -> u32 {
        portion(limit.get(), self.users, self.rank)
    }
}

/// What the user of the given rank gets of `whole`: as much as the others to within one, and one at least.
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
                // Neither less than the pod can take, nor more, unless it has more users than that.
                prop_assert_eq!(taken, limit.get().max(count));
                // Each with the whole limit, as by the reference, would be more.
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
