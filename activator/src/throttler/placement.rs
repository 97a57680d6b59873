//! Which of an activator's pods takes the next request.
//!
//! Ebb looks at two random pods and takes the less busy one: nearly as even as looking at all, without the herd
//! that follows whoever looks best at the moment. The reference chooses by the declared limit
//! (`spec/activator.md`, section 4.3); who moves from there and wants the same pods filled in the same order
//! may have that instead.

use std::num::NonZeroU32;

use rand::{Rng, RngExt};

/// How a pod is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Ebb's own: the less busy of two random pods that have room, which may be one and the same.
    LessBusyOfTwo,
    /// The reference's where nothing limits a pod: the less busy of two different ones.
    RandomChoiceOfTwo,
    /// The reference's for low limits: the first pod that has room.
    FirstAvailable,
    /// The reference's for all others: each pod in turn, passing over those that have no room.
    RoundRobin,
}

impl Policy {
    /// The reference's choice for a declared limit.
    pub(super) const fn of_reference(limit: Option<NonZeroU32>) -> Self {
        match limit {
            None => Self::RandomChoiceOfTwo,
            Some(limit) if limit.get() <= 3 => Self::FirstAvailable,
            Some(_) => Self::RoundRobin,
        }
    }
}

/// A pod that has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its place among the activator's pods, those without room counted.
    pub(super) place: u32,
    /// Where the throttler keeps it.
    pub(super) at: usize,
    /// Requests of this activator that it has.
    pub(super) in_flight: u32,
}

/// What a choice leaves behind for the next.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// Where the round goes on.
    cursor: u32,
}

impl Placement {
    /// Chooses among `roomy`, which is sorted by place, of an activator that has `pods` pods.
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

/// On a tie the one that was drawn first, which each is with the same chance.
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

    /// Pods with so many requests each; `None` has no room.
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
