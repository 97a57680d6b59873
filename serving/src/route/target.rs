//! Which Revisions the targets of a Route mean.

use crate::{
    api::{Configuration, Revision, Route, TrafficTarget},
    conditions::{READY, Truth},
    keys, owned,
    seen::Seen,
};

/// The share that all targets have together.
const WHOLE: i64 = 100;

/// A target, and the Revision that it means now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its tag; empty if it has none.
    pub(super) tag: String,
    /// The Revision.
    pub(super) revision: String,
    /// The Configuration of which the latest ready Revision is meant; `None` if the Revision is named.
    pub(super) configuration: Option<String>,
    /// What the status says of it: whether the latest ready Revision is meant.
    pub(super) is_latest: bool,
    /// Its share in percent.
    pub(super) percent: u32,
}

impl Target {
    /// Returns what the target says, before it means a Revision.
    pub(super) fn source(&self) -> String {
        match &self.configuration {
            Some(configuration) => format!("configuration/{configuration}"),
            None => format!("revision/{}", self.revision),
        }
    }
}

/// Why the requests of a Route cannot be divided as it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// `False` if somebody must act, `Unknown` if it may pass.
    pub(super) truth: Truth,
    /// In one word.
    pub(super) reason: &'static str,
    /// In words.
    pub(super) message: String,
}

impl Fault {
    /// Returns a fault that does not pass by itself.
    pub(super) fn lasting(reason: &'static str, message: String) -> Self {
        Self { truth: Truth::False, reason, message }
    }

    fn passing(message: String) -> Self {
        Self { truth: Truth::Unknown, reason: "RevisionMissing", message }
    }
}

/// Returns the targets of a Route with their Revisions. Targets with the same tag that mean the same are one.
///
/// # Errors
///
/// Returns the first fault that lasts, or else the first one, over all targets.
pub(super) fn resolve(route: &Route, seen: &Seen) -> Result<Vec<Target>, Fault> {
    let mut targets: Vec<Target> = Vec::with_capacity(route.spec.traffic.len());
    let mut fault = shares(&route.spec.traffic).err();
    for spec in &route.spec.traffic {
        match target(spec, route, seen) {
            Ok(target) => add(&mut targets, target),
            Err(new) => {
                let passes = |old: &Fault| old.truth == Truth::Unknown && new.truth == Truth::False;
                if fault.as_ref().is_none_or(passes) {
                    fault = Some(new);
                }
            }
        }
    }
    fault.map_or(Ok(targets), Err)
}

/// The webhook refuses what fails here; it may have been away.
fn shares(traffic: &[TrafficTarget]) -> Result<(), Fault> {
    let of = |target: &TrafficTarget| target.percent.unwrap_or_default();
    if let Some(outside) = traffic.iter().map(of).find(|percent| !(0..=WHOLE).contains(percent)) {
        let message = format!("A target's percent is {outside}, want 0 to {WHOLE}.");
        return Err(Fault::lasting("TrafficInvalid", message));
    }
    let sum = traffic.iter().map(of).fold(0_i64, i64::saturating_add);
    if sum == WHOLE {
        return Ok(());
    }
    Err(Fault::lasting("TrafficInvalid", format!("Traffic targets sum to {sum}, want {WHOLE}.")))
}

fn add(targets: &mut Vec<Target>, target: Target) {
    let same = |old: &&mut Target| {
        (&old.tag, &old.revision, old.is_latest, &old.configuration)
            == (&target.tag, &target.revision, target.is_latest, &target.configuration)
    };
    if let Some(old) = targets.iter_mut().find(same) {
        old.percent = old.percent.saturating_add(target.percent);
    } else {
        targets.push(target);
    }
}

fn target(spec: &TrafficTarget, route: &Route, seen: &Seen) -> Result<Target, Fault> {
    let named = spec.revision_name.as_deref().filter(|name| !name.is_empty());
    let (revision, configuration) = if let Some(name) = named {
        (named_revision(name, route, seen)?, None)
    } else {
        let name = spec.configuration_name.clone().unwrap_or_default();
        (latest_revision(&name, route, seen)?, Some(name))
    };
    Ok(Target {
        tag: spec.tag.clone().unwrap_or_default(),
        revision,
        is_latest: spec.latest_revision.unwrap_or(configuration.is_some()),
        configuration,
        percent: spec.percent.and_then(|percent| u32::try_from(percent).ok()).unwrap_or_default(),
    })
}

fn latest_revision(name: &str, route: &Route, seen: &Seen) -> Result<String, Fault> {
    let configuration = configuration(name, route, seen)?;
    let status = configuration.status.as_ref();
    let Some(latest) = status.and_then(|status| status.latest.latest_ready_revision_name.clone()) else {
        return Err(if has_failed(configuration) {
            let message = format!("Configuration {name:?} does not have any ready Revision.");
            Fault::lasting("RevisionMissing", message)
        } else {
            Fault::passing(format!("Configuration {name:?} is waiting for a Revision to become ready."))
        });
    };
    ready(revision(&latest, route, seen)?, &latest)?;
    Ok(latest)
}

fn named_revision(name: &str, route: &Route, seen: &Seen) -> Result<String, Fault> {
    let revision = revision(name, route, seen)?;
    let labels = revision.metadata.labels.as_ref();
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).map(String::as_str);
    if let Some(of) = label(keys::CONFIGURATION) {
        configuration(of, route, seen)?;
    }
    if let Some(own) = route.metadata.labels.as_ref().and_then(|labels| labels.get(keys::SERVICE)) {
        let message = match label(keys::SERVICE) {
            Some(of) if of == own => None,
            Some(of) => Some(format!("Revision {name:?} belongs to Service {of:?}, not Service {own:?}.")),
            None => Some(format!("Revision {name:?} does not belong to Service {own:?}.")),
        };
        if let Some(message) = message {
            return Err(Fault::lasting("RevisionNotOwned", message));
        }
    }
    ready(revision, name)?;
    Ok(name.to_owned())
}

fn configuration<'a>(name: &str, route: &Route, seen: &'a Seen) -> Result<&'a Configuration, Fault> {
    let found = seen.configurations.get(super::namespace(route), name);
    found.map(AsRef::as_ref).ok_or_else(|| {
        let message = format!("Configuration {name:?} referenced in traffic not found.");
        Fault::lasting("ConfigurationMissing", message)
    })
}

fn revision<'a>(name: &str, route: &Route, seen: &'a Seen) -> Result<&'a Revision, Fault> {
    let found = seen.revisions.get(super::namespace(route), name);
    found.map(AsRef::as_ref).ok_or_else(|| {
        let message = format!("Revision {name:?} referenced in traffic not found.");
        Fault::lasting("RevisionMissing", message)
    })
}

fn ready(revision: &Revision, name: &str) -> Result<(), Fault> {
    let conditions = revision.status.iter().flat_map(|status| &status.observed.conditions);
    let ready = conditions.into_iter().find(|one| one.type_ == READY);
    match ready.map_or(Truth::Unknown, |ready| Truth::of(&ready.status)) {
        Truth::True => Ok(()),
        Truth::Unknown => Err(Fault::passing(format!("Revision {name:?} is not yet ready."))),
        Truth::False => {
            Err(Fault::lasting("RevisionMissing", format!("Revision {name:?} failed to become ready.")))
        }
    }
}

/// A status of an older template does not count: the present one has not failed yet.
fn has_failed(configuration: &Configuration) -> bool {
    let status = configuration.status.as_ref();
    let ready = status.and_then(|status| owned::ready(&configuration.metadata, &status.observed));
    ready.is_some_and(|ready| Truth::of(&ready.status) == Truth::False)
}
