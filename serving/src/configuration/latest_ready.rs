//! Which Revision of a Configuration is the latest that is ready.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::{generation_of, is_ready};
use crate::api::{Configuration, Revision};

/// The annotation of a Configuration's status that has the generation at which its latest ready revision was chosen, if
/// that is not the one that the revision was made from.
const CHOSEN_AT: &str = "ebb.dev/latest-ready-generation";

/// The latest Revision that is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LatestReady {
    /// Its name; `None` if there is none.
    pub(super) name: Option<String>,
    /// The generation at which it was chosen, if it was made from an older one.
    chosen_at: Option<i64>,
}

impl LatestReady {
    /// Puts what the name does not say into the annotations of the status.
    pub(super) fn remember(&self, annotations: &mut BTreeMap<String, String>) {
        match self.chosen_at {
            Some(generation) => annotations.insert(CHOSEN_AT.to_owned(), generation.to_string()),
            None => annotations.remove(CHOSEN_AT),
        };
    }
}

/// Returns the latest Revision that is ready: the `current` one, or else the newest.
///
/// It never goes back to an older one while the one that the status names exists, ready or not. If a user went back by
/// naming an old Revision in the template, that one is as new as the template: those between do not come back when a
/// later Revision fails.
pub(super) fn find(
    configuration: &Configuration,
    children: &[&Revision],
    current: Option<&Revision>,
) -> LatestReady {
    let generation = configuration.metadata.generation.unwrap_or_default();
    if let Some(current) = current.filter(|current| is_ready(current)) {
        let chosen_at = Some(generation).filter(|_| generation_of(current) != generation);
        return LatestReady { name: Some(current.name_any()), chosen_at };
    }
    let newest = |from: i64, to: i64| {
        let ready = children.iter().filter(|one| is_ready(one));
        let ready = ready.filter(|one| (from..=to).contains(&generation_of(one)));
        ready.max_by_key(|one| (generation_of(one), one.name_any())).map(|one| one.name_any())
    };
    let status = configuration.status.as_ref();
    let name = status.and_then(|status| status.latest.latest_ready_revision_name.as_ref());
    let present = children
        .iter()
        .find(|one| Some(&one.name_any()) == name && one.metadata.deletion_timestamp.is_none());
    let Some(present) = present else {
        return LatestReady { name: newest(0, i64::MAX), chosen_at: None };
    };
    let stored = status.and_then(|status| status.observed.annotations.get(CHOSEN_AT));
    let chosen_at = stored.and_then(|text| text.parse().ok()).filter(|at| *at != generation_of(present));
    let since = chosen_at.unwrap_or_else(|| generation_of(present));
    match newest(since.saturating_add(1), generation) {
        Some(newer) => LatestReady { name: Some(newer), chosen_at: None },
        None => LatestReady { name: Some(present.name_any()), chosen_at },
    }
}
