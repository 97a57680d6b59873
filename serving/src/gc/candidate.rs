//! A Revision that no Route needs.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{api::Revision, conditions::Truth, config::Gc, configuration::generation_of, keys, owned};

/// A Revision that no Route needs.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) revision: &'a Revision,
    /// Whether a user could go back to it: it had a Route once, and did not fail.
    pub(super) is_useful: bool,
    /// When it is old; `None` is never.
    pub(super) old_at: Option<Timestamp>,
    last_active: Timestamp,
}

impl<'a> Candidate<'a> {
    /// Looks at a Revision that is not named anywhere; `None` if it stays anyway. What does not say when it was created
    /// was created `now`.
    pub(super) fn of(revision: &'a Revision, gc: &Gc, now: Timestamp) -> Option<Self> {
        let state = revision.labels().get(keys::ROUTING_STATE).map(String::as_str);
        let was_routed = match state {
            Some("reserve") => true,
            Some("pending") => false,
            _ => return None,
        };
        let is_kept = revision.annotations().get(keys::NO_GC).is_some_and(|value| value == "true");
        if is_kept || revision.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let created = revision.creation_timestamp().map_or(now, |time| time.0);
        let modified = revision.annotations().get(keys::ROUTING_STATE_MODIFIED);
        let last_active = modified.and_then(|text| text.parse().ok()).unwrap_or(created);
        let ready =
            revision.status.as_ref().and_then(|status| owned::ready(&revision.metadata, &status.observed));
        let has_failed = ready.is_some_and(|ready| Truth::of(&ready.status) == Truth::False);
        Some(Self {
            revision,
            is_useful: was_routed && !has_failed,
            old_at: old_at(created, last_active, gc),
            last_active,
        })
    }

    /// Returns what sorts the one that goes first to the front.
    pub(super) fn order(&self) -> (Timestamp, i64, Option<&str>) {
        (self.last_active, generation_of(self.revision), self.revision.metadata.name.as_deref())
    }
}

/// Returns when a Revision is old; `None` is never.
fn old_at(created: Timestamp, last_active: Timestamp, gc: &Gc) -> Option<Timestamp> {
    let ends = [(created, gc.retain_since_create), (last_active, gc.retain_since_last_active)];
    let mut old_at = None;
    for (since, age) in ends {
        let Some(age) = age else { continue };
        // A time that cannot be written does not come.
        old_at = old_at.max(Some(since.checked_add(age).ok()?));
    }
    old_at
}
