//! Examines one object: its status, and what to write.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use super::World;
use crate::{
    admission::defaults,
    api::{self, Condition, Configuration, Observed, Revision},
    configuration, domain_mapping, gc,
    image::Image,
    outcome::{Event, Kind, Outcome, Reference, Write, to_value},
    revision::{self, Images},
    route, service,
};

/// Reasons of conditions that end when something of somebody else's goes.
const BLOCKED: [&str; 2] = ["NotOwned", "RevisionNameTaken"];
/// When to look again whether it is gone.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(10);

/// What to do for one object.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What to write, in this order.
    pub writes: Vec<Write>,
    /// The object with the status that it should have, if it has another.
    pub status: Option<(Reference, Value)>,
    /// Events on it, which are true once all of that is written.
    pub events: Vec<Event>,
    /// The uid of the object.
    pub uid: String,
    /// When to examine it again even if nothing changes.
    pub again: Option<Timestamp>,
    /// The images whose digests are not known yet.
    pub images: Option<Unresolved>,
}

/// Images of a Revision whose digests are not known yet, and who may pull them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unresolved {
    /// The images, by their text in the spec.
    pub images: BTreeMap<String, Image>,
    /// The Secrets with which they are pulled.
    pub pull_secrets: Vec<String>,
    /// The `ServiceAccount`, which may have more of them; empty for the default.
    pub service_account: String,
}

impl Plan {
    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.status.is_none()
    }

    fn of<K, S>(kind: Kind, object: &K, stored: Option<&S>, outcome: Outcome<S>, now: Timestamp) -> Self
    where
        K: Resource + Serialize,
        S: AsRef<Observed> + PartialEq + Serialize,
    {
        let Outcome { status, writes, events, again } = outcome;
        // What is in the way may be of a kind that is not followed, or of a name that nobody refers to.
        let is_blocked = |one: &Condition| one.status == "False" && BLOCKED.contains(&one.reason.as_str());
        let mut plan =
            Self { writes, events, again, uid: object.uid().unwrap_or_default(), ..Self::default() };
        if status.as_ref().conditions.iter().any(is_blocked) {
            plan.sooner(now.checked_add(LOOK_AGAIN).ok());
        }
        if stored != Some(&status) {
            let mut whole = to_value(kind, object);
            // A status is text, numbers and lists.
            whole["status"] = serde_json::to_value(&status).unwrap_or_default();
            plan.status = Some((Reference::to(kind, object.meta()), whole));
        }
        plan
    }

    fn sooner(&mut self, again: Option<Timestamp>) {
        self.again = [self.again, again].into_iter().flatten().min();
    }
}

/// What is known of the images of Revisions, by the uid that the Revision had.
#[derive(Debug, Default)]
pub(super) struct Resolved(HashMap<Reference, (String, Images)>);

impl Resolved {
    pub(super) fn forget(&mut self, revision: &Reference) {
        self.0.remove(revision);
    }

    fn of(&self, revision: &Reference, uid: &str) -> Option<&Images> {
        self.0.get(revision).filter(|(of, _)| of == uid).map(|(_, images)| images)
    }
}

/// Why the Revision of a Configuration's generation could not be created, by Configuration.
#[derive(Debug, Default)]
pub(super) struct Failures(HashMap<Reference, (String, Option<i64>, String)>);

impl Failures {
    pub(super) fn forget(&mut self, configuration: &Reference) {
        self.0.remove(configuration);
    }

    fn of(&self, configuration: &Reference, object: &Configuration) -> Option<&str> {
        let (uid, generation, why) = self.0.get(configuration)?;
        let is_present =
            object.metadata.uid.as_ref() == Some(uid) && object.metadata.generation == *generation;
        is_present.then_some(why)
    }
}

impl World {
    /// Examines an object at `now`. Returns `None` if it does not exist, or is of a kind that follows from others.
    pub fn plan(&self, of: &Reference, now: Timestamp) -> Option<Plan> {
        let Self { seen, config, .. } = self;
        let (namespace, name) = (&of.namespace, &of.name);
        match of.kind {
            Kind::Service => {
                let object = seen.services.get(namespace, name)?;
                let mut filled = api::Service::clone(object);
                defaults::stored_service(&mut filled, config);
                let outcome = service::examine(&filled, seen, now);
                Some(Plan::of(of.kind, &**object, object.status.as_ref(), outcome, now))
            }
            Kind::Configuration => {
                let object = seen.configurations.get(namespace, name)?;
                Some(self.configuration(of, object, now))
            }
            Kind::Revision => {
                let object = seen.revisions.get(namespace, name)?;
                Some(self.revision(of, object, now))
            }
            Kind::Route => {
                let object = seen.routes.get(namespace, name)?;
                let outcome = route::examine(object, seen, config, now);
                Some(Plan::of(of.kind, &**object, object.status.as_ref(), outcome, now))
            }
            Kind::DomainMapping => {
                let object = seen.mappings.get(namespace, name)?;
                let outcome = domain_mapping::examine(object, seen, config, now);
                Some(Plan::of(of.kind, &**object, object.status.as_ref(), outcome, now))
            }
            Kind::Claim => {
                let object = seen.claims.get(namespace, name)?;
                let uid = object.uid().unwrap_or_default();
                let writes = domain_mapping::release(object, seen, config).into_iter().collect();
                Some(Plan { writes, uid, ..Plan::default() })
            }
            Kind::Deployment | Kind::Front | Kind::Pod => None,
        }
    }

    fn configuration(&self, of: &Reference, object: &Configuration, now: Timestamp) -> Plan {
        let failure = self.failures.of(of, object);
        let outcome = configuration::examine(object, &self.seen, failure, now);
        let mut plan = Plan::of(of.kind, object, object.status.as_ref(), outcome, now);
        plan.writes.extend(route::without_gone(of.kind, object, &self.seen, now));
        let (deletions, again) = gc::examine(object, &self.seen, &self.config.gc, now);
        plan.writes.extend(deletions);
        plan.sooner(again);
        plan
    }

    fn revision(&self, of: &Reference, object: &Revision, now: Timestamp) -> Plan {
        let uid = object.uid().unwrap_or_default();
        let none = Images::default();
        let images = self.images.of(of, &uid).unwrap_or(&none);
        let outcome = revision::examine(object, images, &self.seen, &self.config, now);
        let mut plan = Plan::of(of.kind, object, object.status.as_ref(), outcome, now);
        plan.writes.extend(route::without_gone(of.kind, object, &self.seen, now));
        let mut unresolved = revision::images_of(object, &self.config);
        unresolved.retain(|image, _| !images.knows(image));
        if !unresolved.is_empty() && object.metadata.deletion_timestamp.is_none() {
            plan.images = Some(Unresolved {
                images: unresolved,
                pull_secrets: object.spec.image_pull_secrets.iter().map(|one| one.name.clone()).collect(),
                service_account: object.spec.service_account_name.clone().unwrap_or_default(),
            });
        }
        plan
    }

    /// Takes over what was found out about an image of a Revision: the image by its digest, or why there is none.
    pub fn resolved(&mut self, of: &Reference, uid: &str, image: &str, digest: Result<String, String>) {
        let is_there = self.seen.revisions.get(&of.namespace, &of.name).and_then(|one| one.uid());
        if is_there.as_deref() != Some(uid) {
            return;
        }
        let (known, images) = self.images.0.entry(of.clone()).or_default();
        if known != uid {
            uid.clone_into(known);
            *images = Images::default();
        }
        match digest {
            Ok(digest) => images.resolve(image, digest),
            Err(why) => images.fail(image, why),
        }
        self.touched.add(of.clone());
    }

    /// Takes over that what followed from a Configuration was written: no creation is refused any more.
    pub fn written(&mut self, of: &Reference) {
        self.failures.forget(of);
    }

    /// Takes over why the API server refused to create the Revision of a Configuration.
    pub fn revision_refused(&mut self, configuration: &Reference, why: String) {
        let Some(object) = self.seen.configurations.get(&configuration.namespace, &configuration.name) else {
            return;
        };
        let is_of = (object.uid().unwrap_or_default(), object.metadata.generation, why);
        self.failures.0.insert(configuration.clone(), is_of);
        self.touched.add(configuration.clone());
    }
}
