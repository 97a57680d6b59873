//! Weighted turns that are exact at every moment, not only on average.
//!
//! Each target has a credit, in units of one request divided by the sum of the weights. Every request adds
//! the target's weight to its credit, and the target that takes the request pays the sum. Of the targets with
//! a positive credit, the next one is that whose credit would reach a whole request first. This is
//! earliest-deadline-first scheduling of periodic tasks on one processor, and has its guarantee: no target is
//! ever a whole request ahead of or behind its share.

/// The turns of a route's targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wheel {
    weights: Vec<u32>,
    /// The sum of the weights; 0 only if no target gets requests.
    sum: i64,
    credits: Vec<i64>,
}

impl Wheel {
    /// Creates a wheel with `weights` and no debts.
    pub(super) fn new(weights: Vec<u32>) -> Self {
        let sum = weights.iter().copied().map(i64::from).sum();
        Self { credits: vec![0; weights.len()], weights, sum }
    }

    /// Creates a wheel with `weights` that carries over `debts`, in requests, so that a target with a small
    /// weight gets its turn even if weights change often.
    pub(super) fn continuing(weights: Vec<u32>, debts: &[f64]) -> Self {
        let mut wheel = Self::new(weights);
        let sum = wheel.sum as f64;
        // The debts of targets without a weight are dropped; the other targets share the difference by
        // weight, so that all debts sum to zero.
        let kept = debts.iter().zip(&wheel.weights).filter(|(_, weight)| **weight > 0);
        let surplus: f64 = kept.map(|(debt, _)| debt).sum();
        for ((credit, debt), weight) in wheel.credits.iter_mut().zip(debts).zip(&wheel.weights) {
            if *weight > 0 {
                let owed = debt * sum - surplus * f64::from(*weight);
                #[expect(clippy::cast_possible_truncation, reason = "a debt is some requests")]
                let owed = owed.round() as i64;
                *credit = owed;
            }
        }
        let rounded: i64 = wheel.credits.iter().sum();
        let most = wheel.weights.iter().zip(&mut wheel.credits).max_by_key(|(weight, _)| **weight);
        if let Some((_, credit)) = most {
            *credit -= rounded;
        }
        wheel
    }

    /// Returns the debt to each target, in requests.
    pub(super) fn debts(&self) -> impl Iterator<Item = f64> {
        self.credits.iter().map(|credit| *credit as f64 / self.sum.max(1) as f64)
    }

    /// Returns the target of the next request; `None` if no target gets requests.
    pub(super) fn turn(&mut self) -> Option<usize> {
        let sum = self.sum;
        let mut next: Option<(i64, usize)> = None;
        for (index, (credit, weight)) in self.credits.iter_mut().zip(&self.weights).enumerate() {
            let weight = i64::from(*weight);
            *credit += weight;
            if weight == 0 || *credit <= 0 {
                continue;
            }
            // The number of requests, rounded up, within which it must have its turn.
            let deadline = (sum - *credit + weight - 1) / weight;
            if next.is_none_or(|(earliest, _)| deadline < earliest) {
                next = Some((deadline, index));
            }
        }
        let (_, index) = next?;
        if let Some(credit) = self.credits.get_mut(index) {
            *credit -= sum;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turns(wheel: &mut Wheel, requests: usize) -> Vec<u64> {
        let mut counts = vec![0; wheel.weights.len()];
        for _ in 0..requests {
            counts[wheel.turn().unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn ninety_to_ten_is_exact_over_each_ten_requests() {
        let mut wheel = Wheel::new(vec![90, 10]);
        for _ in 0..1000 {
            assert_eq!(turns(&mut wheel, 10), [9, 1]);
        }
    }

    #[test]
    fn who_has_no_weight_gets_nothing_and_without_any_nobody_does() {
        assert_eq!(turns(&mut Wheel::new(vec![0, 1, 0]), 100), [0, 100, 0]);
        assert_eq!(Wheel::new(vec![0, 0]).turn(), None);
        assert_eq!(Wheel::new(vec![]).turn(), None);
    }

    #[test]
    fn a_small_weight_gets_its_turn_although_weights_change_often() {
        let mut wheel = Wheel::new(vec![99, 1]);
        let mut canary = 0;
        for round in 0..1000 {
            canary += turns(&mut wheel, 10)[1];
            let weights = vec![990 - round % 2, 10 + round % 2];
            wheel = Wheel::continuing(weights, &wheel.debts().collect::<Vec<_>>());
        }
        assert!((99..=111).contains(&canary), "{canary} of 10000 at 1 to 1.1 %");
    }

    #[test]
    fn who_lost_its_weight_is_owed_nothing() {
        let mut wheel = Wheel::continuing(vec![1, 0], &[-1.0, 1.0]);
        assert_eq!(turns(&mut wheel, 10), [10, 0]);
    }

    proptest! {
        #[test]
        fn nobody_is_ever_a_request_off(
            weights in proptest::collection::vec(prop_oneof![0_u32..5, 0_u32..100, 0_u32..=1_000_000], 1..33),
            requests in 1_usize..3000,
        ) {
            let sum: u64 = weights.iter().copied().map(u64::from).sum();
            prop_assume!(sum > 0);
            let mut wheel = Wheel::new(weights.clone());
            let mut counts = vec![0_u64; weights.len()];
            for n in 1..=requests as u64 {
                counts[wheel.turn().unwrap()] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    // |count - n × weight / sum| < 1, without a fraction.
                    let off = (count * sum).abs_diff(n * u64::from(*weight));
                    prop_assert!(off < sum, "{counts:?} of {n} by {weights:?}");
                }
            }
        }

        #[test]
        fn somebody_always_has_a_turn_whatever_was_owed(
            weights in proptest::collection::vec(1_u32..1000, 1..10),
            debts in proptest::collection::vec(-2.0_f64..2.0, 10),
        ) {
            let mut wheel = Wheel::continuing(weights, &debts);
            for _ in 0..100 {
                prop_assert!(wheel.turn().is_some());
            }
        }
    }
}
