//! A small API server for tests. It keeps objects as JSON, counts versions and generations, and refuses stale writes.
//! What was seen of it may be older than what it keeps, object by object.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    configuration,
    outcome::{Event, Kind, Object, Outcome, Reference, Write},
    seen::Seen,
};

/// The namespace of everything.
pub(crate) const NAMESPACE: &str = "apps";
/// The name of the only ksvc, Configuration and Route.
pub(crate) const NAME: &str = "hello";

#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) seen: Seen,
    stored: BTreeMap<(Kind, String), Value>,
    /// The version of each object as it was seen.
    delivered: BTreeMap<(Kind, String), String>,
    /// Counts changes; each takes a second.
    pub(crate) version: i64,
    /// How many Revisions were created.
    pub(crate) revisions: usize,
}

/// Changes `target` as a JSON merge patch says.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

impl Cluster {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + self.version).unwrap()
    }

    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.stored.get(&(kind, name.to_owned()))
    }

    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        self.stored.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Stores a new object; `false` if there is one of that name.
    pub(crate) fn create(&mut self, kind: Kind, mut object: Value) -> bool {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if self.get(kind, &name).is_some() {
            return false;
        }
        self.revisions += usize::from(kind == Kind::Revision);
        let created = self.now().to_string();
        let uid = format!("uid-{}", self.version);
        let metadata = json!({
            "namespace": NAMESPACE, "uid": uid, "generation": 1, "creationTimestamp": created
        });
        merge(&mut object["metadata"], &metadata);
        object.as_object_mut().unwrap().remove("status");
        self.store(kind, &name, object);
        true
    }

    /// Stores another version of an object, without its status; `false` if it is not made from the present one.
    pub(crate) fn replace(&mut self, kind: Kind, mut object: Value) -> bool {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let Some(old) = self.get(kind, &name).cloned() else { return false };
        if old["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return false;
        }
        object["status"] = old["status"].clone();
        if object["status"].is_null() {
            object.as_object_mut().unwrap().remove("status");
        }
        let generation = old["metadata"]["generation"].as_i64().unwrap();
        object["metadata"]["generation"] = json!(generation + i64::from(old["spec"] != object["spec"]));
        if object != old {
            self.store(kind, &name, object);
        }
        true
    }

    /// Changes an object, as a user does.
    pub(crate) fn change(&mut self, kind: Kind, name: &str, patch: &Value) -> bool {
        let Some(mut object) = self.get(kind, name).cloned() else { return false };
        merge(&mut object, patch);
        self.replace(kind, object)
    }

    /// Stores the status of an object; `false` if it is not made from the present version.
    pub(crate) fn put_status(&mut self, kind: Kind, name: &str, version: &Value, status: Value) -> bool {
        let Some(mut object) = self.get(kind, name).cloned() else { return false };
        if object["metadata"]["resourceVersion"] != *version {
            return false;
        }
        if object["status"] != status {
            object["status"] = status;
            self.store(kind, name, object);
        }
        true
    }

    pub(crate) fn delete(&mut self, kind: Kind, name: &str) -> bool {
        self.version += 1;
        self.stored.remove(&(kind, name.to_owned())).is_some()
    }

    fn store(&mut self, kind: Kind, name: &str, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        for key in ["labels", "annotations"] {
            if object["metadata"][key].as_object().is_none_or(serde_json::Map::is_empty) {
                object["metadata"].as_object_mut().unwrap().remove(key);
            }
        }
        self.stored.insert((kind, name.to_owned()), object);
    }

    /// Lets one object that differs be seen as it is now; `false` if there is none.
    pub(crate) fn deliver(&mut self, which: usize) -> bool {
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let changed = self.stored.iter().filter(|(key, one)| self.delivered.get(*key) != Some(&version(one)));
        let mut late: Vec<(Kind, String)> = changed.map(|(key, _)| key.clone()).collect();
        late.extend(self.delivered.keys().filter(|key| !self.stored.contains_key(*key)).cloned());
        if late.is_empty() {
            return false;
        }
        let key = late[which % late.len()].clone();
        if let Some(object) = self.stored.get(&key).cloned() {
            self.delivered.insert(key.clone(), version(&object));
            self.put_seen(&key, object);
        } else {
            self.delivered.remove(&key);
            self.take_seen(&key);
        }
        true
    }

    pub(crate) fn deliver_all(&mut self) {
        while self.deliver(0) {}
    }

    fn put_seen(&mut self, (kind, name): &(Kind, String), object: Value) {
        let seen = &mut self.seen;
        match kind {
            Kind::Service => {
                drop(seen.services.put(NAMESPACE, name, serde_json::from_value(object).unwrap()));
            }
            Kind::Configuration => {
                drop(seen.configurations.put(NAMESPACE, name, serde_json::from_value(object).unwrap()));
            }
            Kind::Revision => {
                drop(seen.revisions.put(NAMESPACE, name, serde_json::from_value(object).unwrap()));
            }
            Kind::Route => {
                drop(seen.routes.put(NAMESPACE, name, serde_json::from_value(object).unwrap()));
            }
            other => panic!("no tests have a {other:?}"),
        }
    }

    fn take_seen(&mut self, (kind, name): &(Kind, String)) {
        match kind {
            Kind::Service => drop(self.seen.services.take(NAMESPACE, name)),
            Kind::Configuration => drop(self.seen.configurations.take(NAMESPACE, name)),
            Kind::Revision => drop(self.seen.revisions.take(NAMESPACE, name)),
            Kind::Route => drop(self.seen.routes.take(NAMESPACE, name)),
            other => panic!("no tests have a {other:?}"),
        }
    }

    /// Carries out one write; `false` if it is refused.
    pub(crate) fn write(&mut self, write: &Write) -> bool {
        let json = |object: &Object| match object {
            Object::Configuration(one) => (Kind::Configuration, serde_json::to_value(one).unwrap()),
            Object::Revision(one) => (Kind::Revision, serde_json::to_value(one).unwrap()),
            Object::Route(one) => (Kind::Route, serde_json::to_value(one).unwrap()),
            other => panic!("nobody here writes {other:?}"),
        };
        match write {
            Write::Create(object) => {
                let (kind, object) = json(object);
                self.create(kind, object)
            }
            Write::Replace(object) => {
                let (kind, object) = json(object);
                self.replace(kind, object)
            }
            Write::Merge(Reference { kind, name, .. }, patch) => self.change(*kind, name, patch),
            Write::Delete(Reference { kind, name, .. }, uid) => {
                self.get(*kind, name).is_some_and(|one| one["metadata"]["uid"] == json!(uid))
                    && self.delete(*kind, name)
            }
            Write::Apply(object) => panic!("nobody here applies {object:?}"),
        }
    }

    fn carry_out<S: Serialize>(&mut self, kind: Kind, version: &Value, outcome: &Outcome<S>) -> Vec<Event> {
        let all_done = outcome.writes.iter().all(|write| self.write(write));
        let status = serde_json::to_value(&outcome.status).unwrap();
        self.put_status(kind, NAME, version, status);
        if all_done { outcome.events.clone() } else { Vec::new() }
    }

    /// Examines the ksvc as it was seen.
    pub(crate) fn examine_service(&mut self) -> Vec<Event> {
        let Some(service) = self.seen.services.get(NAMESPACE, NAME).cloned() else { return Vec::new() };
        let outcome = super::examine(&service, &self.seen, self.now());
        self.carry_out(Kind::Service, &json!(service.metadata.resource_version), &outcome)
    }

    /// Examines the Configuration as it was seen.
    pub(crate) fn examine_configuration(&mut self) -> Vec<Event> {
        let Some(one) = self.seen.configurations.get(NAMESPACE, NAME).cloned() else { return Vec::new() };
        let outcome = configuration::examine(&one, &self.seen, None, self.now());
        self.carry_out(Kind::Configuration, &json!(one.metadata.resource_version), &outcome)
    }

    /// Lets a Revision say `True`, `False` or `Unknown` of itself.
    pub(crate) fn judge(&mut self, revision: &str, truth: &str) {
        let Some(object) = self.get(Kind::Revision, revision).cloned() else { return };
        let ready = json!({"type": "Ready", "status": truth, "reason": "Because", "message": "it is so"});
        let status = json!({"observedGeneration": 1, "conditions": [ready]});
        self.put_status(Kind::Revision, revision, &object["metadata"]["resourceVersion"], status);
    }

    /// Lets the Route send requests where its spec says, if all Revisions of it are ready.
    pub(crate) fn route(&mut self) {
        let Some(route) = self.get(Kind::Route, NAME).cloned() else { return };
        let configuration = self.get(Kind::Configuration, NAME).cloned().unwrap_or_default();
        let latest = &configuration["status"]["latestReadyRevisionName"];
        let is_ready = |name: &Value| {
            let revision = self.get(Kind::Revision, name.as_str().unwrap_or_default());
            revision.is_some_and(|one| one["status"]["conditions"][0]["status"] == "True")
        };
        let mut traffic = route["spec"]["traffic"].as_array().cloned().unwrap_or_default();
        let mut all_ready = true;
        for target in &mut traffic {
            if target["revisionName"].is_null() {
                target["revisionName"] = latest.clone();
            }
            all_ready &= is_ready(&target["revisionName"]);
            target.as_object_mut().unwrap().remove("configurationName");
        }
        let mut status = route["status"].clone();
        if all_ready {
            status["traffic"] = json!(traffic);
        }
        let truth = if all_ready { "True" } else { "Unknown" };
        status["conditions"] = json!([{"type": "Ready", "status": truth}]);
        status["observedGeneration"] = route["metadata"]["generation"].clone();
        self.put_status(Kind::Route, NAME, &route["metadata"]["resourceVersion"], status);
    }

    /// Lets everything be ready, seen and examined until nothing changes, and returns the events.
    pub(crate) fn settle(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..30 {
            let before = self.version;
            for revision in self.names(Kind::Revision) {
                self.judge(&revision, "True");
            }
            self.route();
            self.deliver_all();
            events.extend(self.examine_service());
            events.extend(self.examine_configuration());
            if self.version == before {
                return events;
            }
        }
        panic!("it does not settle: {:#?}", self.stored);
    }
}
