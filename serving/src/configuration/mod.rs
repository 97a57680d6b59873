//! From a Configuration to its Revisions.
//!
//! Each generation of a Configuration has one Revision. Nothing here changes the Configuration's spec: a second
//! generation for one change of a user would be a second Revision.

mod child;
mod current;
mod latest_ready;

#[cfg(test)]
mod tests;

pub(crate) use current::{Current, current, revision_name};

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    api::{Configuration, ConfigurationStatus, LatestRevisions, Observed, Revision},
    conditions::{Conditions, READY, Truth},
    keys,
    outcome::{Event, Kind, Object, Outcome, Reference, Write},
    owned,
    seen::Seen,
};

const REVISION_FAILED: &str = "RevisionFailed";

/// Returns what follows from a Configuration.
///
/// `failure` is what the API server said when the Revision of the present generation was created last and was not;
/// `None` if that was not tried, or if it said that the name exists: then what exists tells the rest as soon as it is
/// seen. The creation is returned again in any case. Its event `Created` is true only once the write succeeded; the
/// others are of changes against the status that is stored.
pub fn examine(
    configuration: &Configuration,
    seen: &Seen,
    failure: Option<&str>,
    now: Timestamp,
) -> Outcome<ConfigurationStatus> {
    let before = configuration.status.clone().unwrap_or_default();
    if configuration.metadata.deletion_timestamp.is_some() {
        return Outcome { status: before, writes: Vec::new(), events: Vec::new(), again: None };
    }
    let children: Vec<&Revision> = children(configuration, seen).collect();
    let mut writes: Vec<Write> = children.iter().filter_map(|child| adoption(configuration, child)).collect();
    let mut events = Vec::new();

    let current = current(configuration, seen);
    let existing = match &current {
        Current::Exists(revision) => Some(*revision),
        _ => None,
    };
    if let Current::Missing(name) = &current
        && let Some(revision) = child::revision(configuration, name, now)
    {
        writes.push(Write::Create(Object::Revision(Box::new(revision))));
        events.push(normal("Created", format!("Created Revision \"{name}\"")));
    }

    let mut conditions = Conditions::new(&[], &before.observed.conditions, now);
    let (truth, message) = verdict(&current, failure);
    let reason = if truth == Truth::False { REVISION_FAILED } else { "" };
    conditions.set(READY, truth, reason, &message);
    let conditions = conditions.finish();

    let ready = latest_ready::find(configuration, &children, existing);
    let mut annotations = before.observed.annotations.clone();
    ready.remember(&mut annotations);
    let created =
        existing.map(ResourceExt::name_any).or_else(|| before.latest.latest_created_revision_name.clone());
    let status = ConfigurationStatus {
        observed: Observed {
            observed_generation: configuration.metadata.generation,
            conditions,
            annotations,
        },
        latest: LatestRevisions {
            latest_created_revision_name: created,
            latest_ready_revision_name: ready.name,
        },
    };
    events.extend(changes(&before, &status, &current, failure));
    Outcome { status, writes, events, again: None }
}

/// Returns whether `revision` belongs to `configuration`, or did and lost its owner reference.
fn is_child(configuration: &Configuration, revision: &Revision) -> bool {
    owned::is_controlled_by(&revision.metadata, configuration)
        || owned::is_orphan_of(&revision.metadata, configuration, keys::CONFIGURATION)
}

/// Returns the revisions of a Configuration, sorted by name.
pub(crate) fn children<'a>(
    configuration: &'a Configuration,
    seen: &'a Seen,
) -> impl Iterator<Item = &'a Revision> {
    let namespace = configuration.metadata.namespace.as_deref().unwrap_or_default();
    let all = seen.revisions.of_namespace(namespace).map(AsRef::as_ref);
    all.filter(move |revision| is_child(configuration, revision))
}

/// Returns the generation of the Configuration that `revision` was made from; 0 if it does not say.
pub(crate) fn generation_of(revision: &Revision) -> i64 {
    revision
        .labels()
        .get(keys::CONFIGURATION_GENERATION)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

/// Returns whether a Revision is ready for its present spec, and stays.
fn is_ready(revision: &Revision) -> bool {
    revision.metadata.deletion_timestamp.is_none() && truth(revision).0 == Truth::True
}

/// Returns what a Revision's `Ready` says of its present spec, and its message.
fn truth(revision: &Revision) -> (Truth, &str) {
    let status = revision.status.as_ref();
    let ready = status.and_then(|status| owned::ready(&revision.metadata, &status.observed));
    ready.map_or((Truth::Unknown, ""), |ready| (Truth::of(&ready.status), &ready.message))
}

/// Gives an orphan its owner reference back. The version makes sure that nobody else did in the meantime.
fn adoption(configuration: &Configuration, revision: &Revision) -> Option<Write> {
    let is_orphan = !owned::is_controlled_by(&revision.metadata, configuration);
    (is_orphan && revision.metadata.deletion_timestamp.is_none()).then(|| {
        let reference = Reference {
            kind: Kind::Revision,
            namespace: revision.namespace().unwrap_or_default(),
            name: revision.name_any(),
        };
        let owners = owned::adopted(&revision.metadata, configuration);
        let version = revision.resource_version();
        Write::Merge(reference, json!({"metadata": {"resourceVersion": version, "ownerReferences": owners}}))
    })
}

/// Returns what `Ready` is, and its message.
fn verdict(current: &Current<'_>, failure: Option<&str>) -> (Truth, String) {
    let not_created = |words: &str| format!("Revision creation failed with message: {words}.");
    match current {
        Current::Exists(revision) => match truth(revision) {
            (Truth::False, message) => {
                let name = revision.name_any();
                (Truth::False, format!("Revision \"{name}\" failed with message: {message}."))
            }
            (truth, _) => (truth, String::new()),
        },
        Current::Missing(_) => match failure {
            Some(words) => (Truth::False, not_created(words)),
            None => (Truth::Unknown, String::new()),
        },
        Current::Leaving => (Truth::Unknown, String::new()),
        Current::Taken(name) => {
            (Truth::False, not_created(&format!("revisions.serving.knative.dev \"{name}\" already exists")))
        }
        Current::Impossible => (Truth::False, not_created("missing field(s): spec.template.spec")),
    }
}

/// Returns the events of what differs from the status that is stored.
fn changes(
    before: &ConfigurationStatus,
    after: &ConfigurationStatus,
    current: &Current<'_>,
    failure: Option<&str>,
) -> Vec<Event> {
    let ready = |status: &ConfigurationStatus| {
        status.observed.conditions.iter().find(|one| one.type_ == READY).cloned().unwrap_or_default()
    };
    let (old, new) = (ready(before), ready(after));
    let is_other = (&old.status, &old.reason, &old.message) != (&new.status, &new.reason, &new.message);
    let latest = after.latest.latest_ready_revision_name.as_ref();
    let mut events = Vec::new();
    if old.status != new.status && Truth::of(&new.status) == Truth::True {
        events.push(normal("ConfigurationReady", "Configuration becomes ready".to_owned()));
    }
    if let Some(name) = latest
        && before.latest.latest_ready_revision_name.as_ref() != latest
    {
        events.push(normal("LatestReadyUpdate", format!("LatestReadyRevisionName updated to \"{name}\"")));
    }
    if is_other && Truth::of(&new.status) == Truth::False {
        events.push(match (current, failure) {
            (Current::Exists(revision), _) => {
                let name = revision.name_any();
                if latest == Some(&name) {
                    warning("LatestReadyFailed", format!("Latest ready revision \"{name}\" has failed"))
                } else {
                    warning("LatestCreatedFailed", format!("Latest created revision \"{name}\" has failed"))
                }
            }
            (Current::Missing(_), Some(words)) => {
                warning("CreationFailed", format!("Failed to create Revision: {words}"))
            }
            _ => warning("CreationFailed", new.message),
        });
    }
    events
}

fn normal(reason: &'static str, text: String) -> Event {
    Event { is_warning: false, reason, text }
}

fn warning(reason: &'static str, text: String) -> Event {
    Event { is_warning: true, reason, text }
}
