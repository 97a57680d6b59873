//! Chooses the pod for the next request among an activator's pods.
//!
//! Ebb draws two random pods and takes the less busy one. That is nearly as even as comparing all pods, and
//! activators do not all rush to the same best pod. The reference chooses by the declared limit
//! (`spec/activator.md`, section 4.3); users who migrate from it and want the same order can have that
//! instead.

use std::num::NonZeroU32;

use rand::{Rng, RngExt};

/// How to choose a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Ebb's own: the less busy of two random pods with room, which may be the same pod.
    LessBusyOfTwo,
    /// The reference's without a limit: the less busy of two different pods.
    RandomChoiceOfTwo,
    /// The reference's for low limits: the first pod with room.
    FirstAvailable,
    /// The reference's for all other limits: each pod in turn, skipping pods without room.
    RoundRobin,
}

impl Policy {
    /// Returns the reference's policy for a declared limit.
    pub(super) const fn of_reference(limit: Option<NonZeroU32>) -> Self {
        match limit {
            None => Self::RandomChoiceOfTwo,
            Some(limit) if limit.get() <= 3 => Self::FirstAvailable,
            Some(_) => Self::RoundRobin,
        }
    }
}

/// A pod with room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its place among the activator's pods, including those without room.
    pub(super) place: u32,
    /// Its index in the throttler.
    pub(super) at: usize,
    /// Requests that this activator has there.
    pub(super) in_flight: u32,
}

/// State that a choice leaves for the next.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Where the next round begins.
    cursor: u32,
}

impl Placement {
    /// Chooses one of `roomy`, sorted by place, for an activator that has `pods` pods.
    pub(super) fn choose(
        &mut self,
        policy: Policy,
        roomy: &[Candidate],
        pods: u32,
        rng: &mut impl Rng,
    ) -> Option<Candidate> {
        match policy {
            Policy::LessBusyOfTwo => {
                let one = random_below(roomy.len(), rng)?;
                let other = random_below(roomy.len(), rng)?;
                less_busy(roomy, one, other)
            }
            Policy::RandomChoiceOfTwo => {
                let one = random_below(roomy.len(), rng)?;
                let other = random_below(roomy.len() - 1, rng).map_or(one, |i| i + usize::from(i >= one));
                less_busy(roomy, one, other)
            }
            Policy::FirstAvailable => roomy.first().copied(),
            Policy::RoundRobin => self.next_of_round(roomy, pods),
        }
    }

    fn next_of_round(&mut self, roomy: &[Candidate], pods: u32) -> Option<Candidate> {
        if self.cursor >= pods {
            self.cursor = 0;
        }
        let next = roomy.partition_point(|candidate| candidate.place < self.cursor);
        let chosen = roomy.get(next).or(roomy.first()).copied()?;
        self.cursor = chosen.place + 1;
        Some(chosen)
    }
}

/// On a tie takes the one drawn first; each is drawn first with the same probability.
fn less_busy(roomy: &[Candidate], one: usize, other: usize) -> Option<Candidate> {
    let (one, other) = (roomy.get(one)?, roomy.get(other)?);
    Some(if other.in_flight < one.in_flight { *other } else { *one })
}

fn random_below(bound: usize, rng: &mut impl Rng) -> Option<usize> {
    (bound > 0).then(|| rng.random_range(0..bound))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    /// Returns pods with the given requests; `None` has no room.
    fn roomy(pods: &[Option<u32>]) -> Vec<Candidate> {
        (0..)
            .zip(pods)
            .enumerate()
            .filter_map(|(at, (place, in_flight))| Some(Candidate { place, at, in_flight: (*in_flight)? }))
            .collect()
    }

    fn chosen(policy: Policy, pods: &[Option<u32>], times: usize) -> Vec<u32> {
        let (mut placement, mut rng) = (Placement::default(), StdRng::seed_from_u64(7));
        let (roomy, pods) = (roomy(pods), u32::try_from(pods.len()).unwrap());
        (0..times).map_while(|_| placement.choose(policy, &roomy, pods, &mut rng)).map(|c| c.place).collect()
    }

    #[test]
    fn no_policy_chooses_where_there_is_no_room() {
        for policy in
            [Policy::LessBusyOfTwo, Policy::RandomChoiceOfTwo, Policy::FirstAvailable, Policy::RoundRobin]
        {
            assert_eq!(chosen(policy, &[], 1), [0; 0], "{policy:?}");
            assert_eq!(chosen(policy, &[None, None], 1), [0; 0], "{policy:?}");
            assert_eq!(chosen(policy, &[None, Some(9), None], 3), [1, 1, 1], "{policy:?}");
        }
    }

    #[test]
    fn two_different_pods_are_looked_at_and_a_tie_is_chance() {
        assert_eq!(chosen(Policy::RandomChoiceOfTwo, &[Some(1), Some(0)], 50), [1; 50]);
        let busiest = chosen(Policy::RandomChoiceOfTwo, &[Some(1), Some(2), Some(1)], 50);
        assert!(!busiest.contains(&1) && busiest.contains(&0) && busiest.contains(&2), "{busiest:?}");
        let own = chosen(Policy::LessBusyOfTwo, &[Some(1), Some(0)], 50);
        assert!(own.contains(&0), "the same one may be drawn twice");
    }

    #[test]
    fn a_round_passes_over_full_pods_and_begins_again() {
        let pods = [Some(0), None, Some(5), Some(0)];
        assert_eq!(chosen(Policy::RoundRobin, &pods, 5), [0, 2, 3, 0, 2]);
        assert_eq!(chosen(Policy::FirstAvailable, &pods, 3), [0, 0, 0]);
    }
}
