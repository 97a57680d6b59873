//! Weights between two splits.

use std::{cmp::Reverse, collections::BTreeMap};

use ebb_annotations::{MOST_TARGETS, Share};

/// The whole way from one split to another, as the unit of progress.
pub const WHOLE: u16 = 1000;
/// The sum of a split's weights before it is mixed with another. It is finer than anybody could measure, yet
/// the sum of a mixture, [`WHOLE`] times as large, fits in 32 bits.
const RESOLUTION: u32 = 100_000;

/// Returns the split when `done` of [`WHOLE`] is done on the way from one split to another: first the
/// services of `from`, then those that only `to` names. Each share grows or falls linearly, and the weights
/// have the same sum all the way; at its end they are those of `to`.
///
/// Progress is measured by this and not by time, so a rollout that waits stays where it is, and another
/// autoscaler continues from there.
pub fn rollout(from: &[Share], to: &[Share], done: u16) -> Vec<Share> {
    if done >= WHOLE {
        return to.to_vec();
    }
    let (before, after) = (parts(from), parts(to));
    let part = |parts: &BTreeMap<&str, u32>, service: &str| parts.get(service).copied().unwrap_or(0);
    let is_new = |share: &&Share| !before.contains_key(&*share.service);
    let all = from.iter().chain(to.iter().filter(is_new));
    all.map(|share| {
        let (left, right) = (part(&before, &share.service), part(&after, &share.service));
        let weight = left * u32::from(WHOLE - done) + right * u32::from(done);
        Share { service: share.service.clone(), weight }
    })
    .collect()
}

/// Returns whether two splits give every service the same share.
pub(super) fn divides_alike(one: &[Share], other: &[Share]) -> bool {
    let given = |split| parts(split).into_iter().filter(|(_, part)| *part > 0).collect::<BTreeMap<_, _>>();
    given(one) == given(other)
}

/// Returns the services that have a larger share in `to` than in `from`.
pub(super) fn growing<'a>(from: &[Share], to: &'a [Share]) -> impl Iterator<Item = &'a str> {
    let (before, after) = (parts(from), parts(to));
    let grown: Vec<&str> = to
        .iter()
        .map(|share| &*share.service)
        .filter(|service| after.get(service) > before.get(service).or(Some(&0)))
        .collect();
    grown.into_iter()
}

/// Rounds the weights to those of a valid split: each a part of [`RESOLUTION`], of no more services than a
/// route may name. There are more only if one rollout replaces another before its end; then the services with
/// the least weights are dropped.
pub(super) fn rounded(split: &[Share]) -> Vec<Share> {
    let parts = parts(split);
    let share = |share: &Share| Share {
        service: share.service.clone(),
        weight: parts.get(&*share.service).copied().unwrap_or(0),
    };
    let mut rounded: Vec<Share> = split.iter().map(share).filter(|share| share.weight > 0).collect();
    if rounded.len() > MOST_TARGETS {
        rounded.sort_by_key(|share| Reverse(share.weight));
        rounded.truncate(MOST_TARGETS);
    }
    rounded
}

/// Returns each service's part of [`RESOLUTION`], at least 1 unless its weight is 0. The parts add up to all
/// of it.
fn parts(split: &[Share]) -> BTreeMap<&str, u32> {
    let sum: u64 = split.iter().map(|share| u64::from(share.weight)).sum::<u64>().max(1);
    let exact = |share: &Share| u64::from(share.weight) * u64::from(RESOLUTION);
    let whole = |share: &Share| u32::try_from(exact(share) / sum).unwrap_or(RESOLUTION);
    let mut parts: Vec<(&Share, u32)> =
        split.iter().map(|share| (share, whole(share).max(u32::from(share.weight > 0)))).collect();
    let given: u32 = parts.iter().map(|(_, part)| part).sum();
    // What rounding left over goes to the parts that lost most; what it gave too much comes from the largest.
    parts.sort_by_key(|(share, _)| Reverse(exact(share) % sum));
    let missing = usize::try_from(RESOLUTION.saturating_sub(given)).unwrap_or(0);
    for (_, part) in parts.iter_mut().filter(|(share, _)| share.weight > 0).take(missing) {
        *part += 1;
    }
    if let Some((_, largest)) = parts.iter_mut().max_by_key(|(_, part)| *part) {
        *largest -= given.saturating_sub(RESOLUTION);
    }
    parts.into_iter().map(|(share, part)| (&*share.service, part)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn split(text: &str) -> Vec<Share> {
        ebb_annotations::read_split(text).unwrap()
    }

    fn shares(weights: &[Share]) -> Vec<(&str, f64)> {
        let sum: f64 = weights.iter().map(|share| f64::from(share.weight)).sum();
        weights.iter().map(|share| (&*share.service, f64::from(share.weight) / sum)).collect()
    }

    #[test]
    fn the_way_from_one_split_to_another() {
        for (from, to, done, wanted) in [
            ("v1", "v2", 0, &[("v1", 1.0), ("v2", 0.0)][..]),
            ("v1", "v2", 10, &[("v1", 0.99), ("v2", 0.01)]),
            ("v1", "v2", 500, &[("v1", 0.5), ("v2", 0.5)]),
            ("v1", "v2", 1000, &[("v2", 1.0)]),
            ("v1=90, v2=10", "v1=50, v2=50", 250, &[("v1", 0.8), ("v2", 0.2)]),
            ("v1=3, v2=1", "v3=1, v2=1", 500, &[("v1", 0.375), ("v2", 0.375), ("v3", 0.25)]),
            ("v1=1, v2=0", "v1=0, v2=1", 900, &[("v1", 0.1), ("v2", 0.9)]),
        ] {
            assert_eq!(shares(&rollout(&split(from), &split(to), done)), wanted, "{from} to {to} at {done}");
        }
    }

    #[test]
    fn whoever_gets_anything_goes_on_getting_some() {
        let tiny = split("v1=1000000, v2=1000000, v3=1");
        assert_eq!(rollout(&tiny, &split("v4"), 1)[2].weight, 999);
        assert_eq!(rollout(&split("v4"), &tiny, 1)[3].weight, 1);
    }

    #[test]
    fn no_more_services_are_on_the_way_than_a_route_may_name() {
        let share = |n: usize| Share { service: format!("v{n}"), weight: u32::from(n != 7) };
        let all: Vec<Share> = (0..2 * MOST_TARGETS).map(share).collect();
        let rounded = rounded(&all);
        assert_eq!(rounded.len(), MOST_TARGETS);
        assert!(rounded.iter().all(|share| share.service != "v7" && share.weight > 0));
    }

    #[test]
    fn who_grows_is_told_from_who_does_not() {
        let grown = |from, to| growing(&split(from), &split(to)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(grown("v1", "v2"), ["v2"]);
        assert_eq!(grown("v1=9, v2=1", "v1=90, v2=10"), [""; 0]);
        assert_eq!(grown("v1=1, v2=1", "v1=1, v2=1, v3=0"), [""; 0]);
        assert_eq!(grown("v1=1, v2=1", "v3=1, v2=2"), ["v3", "v2"]);
    }

    fn any_split() -> impl Strategy<Value = Vec<Share>> {
        let weight = prop_oneof![0..5_u32, 0..1_000_000_u32];
        vec((0..8_u8, weight), 1..8).prop_filter_map("nobody gets anything", |all| {
            let all: BTreeMap<u8, u32> = all.into_iter().collect();
            let share = |(name, weight)| Share { service: format!("v{name}"), weight };
            all.values().any(|weight| *weight > 0).then(|| all.into_iter().map(share).collect())
        })
    }

    proptest! {
        #[test]
        fn each_goes_its_way_and_all_together_stay_the_same(from in any_split(), to in any_split()) {
            let sum = |split: &[Share]| split.iter().map(|share| u64::from(share.weight)).sum::<u64>();
            let begin = rollout(&from, &to, 0);
            prop_assert!(divides_alike(&begin, &from), "it begins with what there is");
            prop_assert_eq!(rollout(&from, &to, WHOLE), to.clone(), "and ends with what is wanted");
            let mut last = begin.clone();
            for done in 1..WHOLE {
                let now = rollout(&from, &to, done);
                prop_assert_eq!(sum(&now), sum(&begin));
                for ((first, before), now) in begin.iter().zip(&last).zip(&now) {
                    prop_assert_eq!(&before.service, &now.service);
                    let grows = growing(&from, &to).any(|service| service == now.service);
                    if grows {
                        prop_assert!(now.weight > before.weight);
                    } else {
                        prop_assert!(now.weight <= before.weight && now.weight <= first.weight);
                    }
                }
                last = now;
            }
        }

        #[test]
        fn what_is_rounded_divides_alike(split in any_split(), to in any_split(), done in 0..WHOLE) {
            let mixed = rollout(&split, &to, done);
            let rounded = rounded(&mixed);
            let parts: BTreeMap<&str, f64> = shares(&rounded).into_iter().collect();
            for (service, exact) in shares(&mixed) {
                let part = parts.get(service).copied().unwrap_or(0.0);
                prop_assert!((exact - part).abs() < 1e-4, "{} and {}", exact, part);
            }
            prop_assert!(ebb_annotations::read_split(&ebb_annotations::split_text(&rounded)).is_some());
        }
    }
}
