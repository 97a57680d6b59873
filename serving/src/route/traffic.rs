//! Where requests go now, as the status says it.

use std::{cmp::Reverse, collections::BTreeMap};

use ebb_annotations::Share;

use super::target::Target;
use crate::{api::TrafficTarget, keys, seen::Seen};

/// What the parts of a division have together.
const WHOLE: u64 = 100;

/// Returns the status of the targets. While a new Revision gets its share in steps, `present` is what holds now, and a
/// target of the latest Revision has an entry for each Revision that has a part of its share.
pub(super) fn status(
    targets: &[Target],
    present: Option<&[Share]>,
    urls: &BTreeMap<&str, &str>,
    namespace: &str,
    seen: &Seen,
) -> Vec<TrafficTarget> {
    let entry = |target: &Target, revision: &str, percent: u32| TrafficTarget {
        tag: Some(target.tag.clone()).filter(|tag| !tag.is_empty()),
        revision_name: Some(revision.to_owned()),
        configuration_name: None,
        latest_revision: Some(target.is_latest),
        percent: Some(i64::from(percent)),
        url: urls.get(target.tag.as_str()).filter(|_| !target.tag.is_empty()).map(|url| (*url).to_owned()),
    };
    let Some(present) = present else {
        return targets.iter().map(|target| entry(target, &target.revision, target.percent)).collect();
    };
    let parts = parts(targets, percents(present), namespace, seen);
    let of = targets.iter().zip(parts);
    of.flat_map(|(target, parts)| parts.into_iter().map(|(revision, part)| entry(target, &revision, part)))
        .collect()
}

/// Whether a target may have a part of a Revision's requests.
type Suits<'a> = &'a dyn Fn(&str, &Target) -> bool;

/// Divides the percents that Revisions have now among the targets: first to those that name a Revision, then to those
/// of its Configuration, then to whoever lacks something.
fn parts(
    targets: &[Target],
    mut left: Vec<(String, u32)>,
    namespace: &str,
    seen: &Seen,
) -> Vec<Vec<(String, u32)>> {
    let mut parts: Vec<Vec<(String, u32)>> = targets.iter().map(|_| Vec::new()).collect();
    let mut missing: Vec<u32> = targets.iter().map(|target| target.percent).collect();
    let is_of = |revision: &str, target: &Target| {
        let Some(configuration) = &target.configuration else { return revision == target.revision };
        let labels = seen.revisions.get(namespace, revision).and_then(|one| one.metadata.labels.as_ref());
        revision == target.revision
            || labels.and_then(|labels| labels.get(keys::CONFIGURATION)) == Some(configuration)
    };
    let named = |revision: &str, target: &Target| target.configuration.is_none() && is_of(revision, target);
    let suitable: [Suits<'_>; 3] = [&named, &is_of, &|_, _| true];
    for suits in suitable {
        for ((target, parts), missing) in targets.iter().zip(&mut parts).zip(&mut missing) {
            for (revision, left) in left.iter_mut().filter(|(revision, _)| suits(revision, target)) {
                let part = (*left).min(*missing);
                (*left, *missing) = (*left - part, *missing - part);
                match parts.iter_mut().find(|(of, _)| of == revision) {
                    Some((_, sum)) => *sum += part,
                    None if part > 0 => parts.push((revision.clone(), part)),
                    None => {}
                }
            }
        }
    }
    for (target, parts) in targets.iter().zip(&mut parts) {
        if parts.is_empty() {
            parts.push((target.revision.clone(), 0));
        }
    }
    parts
}

/// Returns weights as whole percents, which are 100 together; what rounding leaves goes to those that lost most.
fn percents(shares: &[Share]) -> Vec<(String, u32)> {
    let sum: u64 = shares.iter().map(|share| u64::from(share.weight)).sum();
    if sum == 0 {
        return Vec::new();
    }
    let exact = |share: &Share| u64::from(share.weight) * WHOLE;
    let mut percents: Vec<u64> = shares.iter().map(|share| exact(share) / sum).collect();
    let given: u64 = percents.iter().sum();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|index| Reverse(shares.get(*index).map_or(0, |share| exact(share) % sum)));
    let more = usize::try_from(WHOLE.saturating_sub(given)).unwrap_or_default();
    for index in order.into_iter().take(more) {
        if let Some(percent) = percents.get_mut(index) {
            *percent += 1;
        }
    }
    let percent = |percent: u64| u32::try_from(percent).unwrap_or_default();
    shares.iter().zip(percents).map(|(share, part)| (share.service.clone(), percent(part))).collect()
}
