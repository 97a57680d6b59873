//! Which Revisions of a Configuration are deleted.
//!
//! A Revision is old when it was created longer ago than `retain-since-create-time` and last had requests longer ago
//! than `retain-since-last-active-time`; one of the two may be disabled, and with both nothing is old.
//!
//! - Of the Revisions that could serve again (`reserve`), the old ones are deleted, except the newest
//!   `min-non-active-revisions`. Nobody keeps more than `max-non-active-revisions`, whatever their age.
//! - A Revision that failed, or that never had a Route (`pending`), is nothing to go back to. It is deleted when it is
//!   old, and does not count among those that are kept. The reference keeps such Revisions for ever.
//!
//! The latest created and the latest ready Revision stay, and each that a Route or a ksvc names, and each with the
//! annotation `serving.knative.dev/no-gc: "true"`.

mod candidate;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;

use self::candidate::Candidate;
use crate::{
    api::{Configuration, TrafficTarget},
    config::Gc,
    configuration::children,
    outcome::{Kind, Reference, Write},
    seen::Seen,
};

/// Returns the deletions of Revisions of `configuration`, and when the next one may be due if nothing else changes.
///
/// Nothing is deleted before the Configuration's status is of its present spec: until then the template may name a
/// Revision that looks abandoned.
pub fn examine(
    configuration: &Configuration,
    seen: &Seen,
    gc: &Gc,
    now: Timestamp,
) -> (Vec<Write>, Option<Timestamp>) {
    let status = configuration.status.clone().unwrap_or_default();
    let is_present = status.observed.observed_generation == configuration.metadata.generation;
    if !is_present || configuration.metadata.deletion_timestamp.is_some() {
        return (Vec::new(), None);
    }
    let mut named = named(configuration.metadata.namespace.as_deref().unwrap_or_default(), seen);
    named.extend(status.latest.latest_created_revision_name);
    named.extend(status.latest.latest_ready_revision_name);
    let free = children(configuration, seen).filter(|one| !named.contains(&one.name_any()));
    let mut candidates: Vec<Candidate<'_>> = free.filter_map(|one| Candidate::of(one, gc, now)).collect();
    candidates.sort_by(|a, b| a.order().cmp(&b.order()));

    let useful = candidates.iter().filter(|one| one.is_useful).count();
    // How many of the useful ones may go.
    let mut may_go = useful.saturating_sub(gc.min_non_active);
    let old = |one: &Candidate<'_>| one.old_at.is_some_and(|at| at <= now);
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for candidate in candidates {
        let is_free = !candidate.is_useful || may_go > 0;
        if old(&candidate) && is_free {
            may_go -= usize::from(candidate.is_useful);
            gone.push(candidate);
        } else {
            kept.push(candidate);
        }
    }
    // Those that nobody can go back to are the first to make room.
    kept.sort_by_key(|one| one.is_useful);
    let surplus = gc.max_non_active.map_or(0, |max| kept.len().saturating_sub(max));
    gone.extend(kept.drain(..surplus));

    let may_go = kept.iter().filter(|one| one.is_useful).count() > gc.min_non_active;
    let next = kept.iter().filter(|one| !one.is_useful || may_go).filter_map(|one| one.old_at);
    let next = next.filter(|at| *at > now).min();
    (gone.iter().map(deletion).collect(), next)
}

/// Returns the Revisions of a namespace that Routes and ksvcs name.
fn named(namespace: &str, seen: &Seen) -> BTreeSet<String> {
    let names = |targets: &[TrafficTarget]| -> Vec<String> {
        targets.iter().filter_map(|target| target.revision_name.clone()).collect()
    };
    let mut all = BTreeSet::new();
    for route in seen.routes.of_namespace(namespace) {
        all.extend(names(&route.spec.traffic));
        all.extend(route.status.iter().flat_map(|status| names(&status.traffic)));
    }
    for service in seen.services.of_namespace(namespace) {
        all.extend(names(&service.spec.traffic));
    }
    all
}

fn deletion(candidate: &Candidate<'_>) -> Write {
    let revision = candidate.revision;
    let reference = Reference {
        kind: Kind::Revision,
        namespace: revision.namespace().unwrap_or_default(),
        name: revision.name_any(),
    };
    Write::Delete(reference, revision.uid().unwrap_or_default())
}
