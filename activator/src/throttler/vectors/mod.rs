//! What `throttler.json` says of the reference's throttler, compared with Ebb's where it is asked to place
//! requests as the reference does.
//!
//! Ebb addresses pods only. What the vectors say of a cluster IP in front of them is compared as far as it is
//! the rule by which Ebb splits a pod among activators: an equal part, and at least one.

mod breaker;
mod choices;
mod shares;
mod state;

use ebb_vectors::{Vectors, integer, list};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{share::portion, *};

const NOW: Tick = Tick::from_secs(100);
/// By then the slow start, which the reference does not have, is over for pods that were ready at [`NOW`].
const LATER: Tick = Tick::from_secs(1_000);

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn vectors() -> Vectors {
    Vectors::load("throttler.json")
}

/// A number that is not negative.
fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))).unwrap()
}

fn numbers(row: &Value) -> Vec<u32> {
    list(row).iter().map(number).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    list(value).iter().map(|text| text.as_str().unwrap()).collect()
}

fn throttler(container_concurrency: u32) -> Throttler<()> {
    Throttler::new(Limits {
        per_pod: NonZeroU32::new(container_concurrency),
        queue_depth: usize::MAX,
        share: Share::ALONE,
        reference_placement: true,
    })
}

fn with_ready_pods(container_concurrency: u32, pods: u32) -> Throttler<()> {
    let mut throttler = throttler(container_concurrency);
    for id in 0..u64::from(pods) {
        throttler.add_pod(PodId(id), &format!("{id:05}"));
        throttler.pod_ready(PodId(id), NOW);
    }
    throttler
}

impl Throttler<()> {
    fn part(&self) -> Part {
        self.limits.part_of(self.ready_pods())
    }

    /// The pods that it uses while it is idle.
    fn assigned(&self) -> Vec<&Member> {
        self.roomy(&self.part(), LATER).iter().map(|candidate| &self.pods[candidate.at]).collect()
    }

    /// Requests that it may have at each of them; `None` is unlimited.
    fn limit(&self) -> Option<u32> {
        self.limits.at_each_of(&self.part())
    }

    /// Requests that it may have in all; without a limit 1 or 0, as the reference's infinite breaker has it.
    fn capacity(&self) -> u64 {
        let pods = self.assigned().len() as u64;
        self.limit().map_or(pods.min(1), |limit| pods * u64::from(limit))
    }
}

/// What the reference lets pass where it does not address pods; `None` if it is beyond Ebb's numbers.
fn capacity_of_cluster_ip(container_concurrency: u32, backends: u32, activators: u32) -> Option<u64> {
    let whole = container_concurrency.checked_mul(backends)?;
    let users = NonZeroU32::new(activators).unwrap_or(NonZeroU32::MIN);
    // The last user has no more than the quotient, as have all of the reference's.
    Some(if whole == 0 { 0 } else { u64::from(portion(whole, users, users.get() - 1)) })
}
