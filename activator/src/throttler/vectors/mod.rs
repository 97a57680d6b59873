//! Compares the reference's throttler in `throttler.json` with Ebb's, if Ebb's is configured to place
//! requests as the reference does.
//!
//! Ebb addresses only pods. Vectors for a cluster IP are compared only for the rule by which Ebb splits a pod
//! among activators: an equal portion, and at least one.

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

/// Returns a nonnegative number.
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

    /// Returns the pods that it uses while idle.
    fn assigned(&self) -> Vec<&Member> {
        self.roomy(&self.part(), LATER).iter().map(|candidate| &self.pods[candidate.at]).collect()
    }

    /// Returns the most requests at each of them; `None` is unlimited.
    fn limit(&self) -> Option<u32> {
        self.limits.at_each_of(&self.part())
    }

    /// Returns the most requests in all; without a limit 1 or 0, like the reference's infinite breaker.
    fn capacity(&self) -> u64 {
        let pods = self.assigned().len() as u64;
        self.limit().map_or(pods.min(1), |limit| pods * u64::from(limit))
    }
}

/// Returns the reference's capacity for a cluster IP; `None` if it exceeds Ebb's range.
fn capacity_of_cluster_ip(container_concurrency: u32, backends: u32, activators: u32) -> Option<u64> {
    let whole = container_concurrency.checked_mul(backends)?;
    let users = NonZeroU32::new(activators).unwrap_or(NonZeroU32::MIN);
    // The last user gets the quotient, as all of the reference's users do.
    Some(if whole == 0 { 0 } else { u64::from(portion(whole, users, users.get() - 1)) })
}
