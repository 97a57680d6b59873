//! What `throttler.json` says of the reference's throttler, compared with Ebb's where it is asked to place
//! requests as the reference does.

mod choices;

use ebb_vectors::Vectors;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::*;

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

fn throttler(container_concurrency: u32) -> Throttler<()> {
    Throttler::new(Limits {
        per_pod: NonZeroU32::new(container_concurrency),
        queue_depth: usize::MAX,
        reference_placement: true,
    })
}
