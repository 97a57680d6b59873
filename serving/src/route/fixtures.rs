//! A small cluster: what is stored, what the engine does with it, and what is seen.

use std::{collections::BTreeMap, time::Duration};

use ebb_annotations::{keys as ebb, parse_route};
use ebb_core::Tick;
use ebb_decide::route::rollout::{Pace, Progress, Rollout, Standing};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    api::{Condition, Configuration, Revision, Route, RouteStatus, TrafficTarget},
    config::Config,
    keys,
    outcome::{Kind, Object, Outcome, Reference, Write},
    seen::{Front, Seen, Table},
};

pub(crate) const NAMESPACE: &str = "shop";

/// A cluster in which time passes only by [`Cluster::engine`].
pub(crate) struct Cluster {
    pub(crate) seen: Seen,
    pub(crate) config: Config,
    pub(crate) services: BTreeMap<(String, String), Service>,
    /// What the engine refuses, by name.
    pub(crate) refused: BTreeMap<String, String>,
    rollouts: BTreeMap<String, Rollout>,
    seconds: u64,
    uids: u64,
}

pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let mut config = Config::default();
        config.domains.domains.insert("example.com".to_owned(), BTreeMap::new());
        Self {
            seen: Seen::default(),
            config,
            services: BTreeMap::new(),
            refused: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            seconds: 1,
            uids: 0,
        }
    }

    /// Sets a Configuration with its latest ready Revision, which exists and is ready.
    pub(crate) fn ready(&mut self, configuration: &str, revision: &str) {
        self.configuration(configuration, revision, Some(revision), "True");
        self.revision(configuration, revision, "True");
    }

    pub(crate) fn configuration(&mut self, name: &str, created: &str, ready: Option<&str>, status: &str) {
        let mut value = json!({
            "metadata": { "name": name, "namespace": NAMESPACE, "generation": 1 },
            "spec": {},
            "status": {
                "observedGeneration": 1,
                "latestCreatedRevisionName": created,
                "latestReadyRevisionName": ready,
                "conditions": [{ "type": "Ready", "status": status }],
            },
        });
        keep_metadata(&mut value, self.seen.configurations.get(NAMESPACE, name).map(AsRef::as_ref));
        self.seen.configurations.put(NAMESPACE, name, read::<Configuration>(value));
    }

    pub(crate) fn revision(&mut self, configuration: &str, name: &str, status: &str) {
        let mut value = json!({
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": {
                    "serving.knative.dev/configuration": configuration,
                    "serving.knative.dev/service": configuration,
                    "serving.knative.dev/routingState": "pending",
                },
            },
            "spec": { "containers": [] },
            "status": { "conditions": [{ "type": "Ready", "status": status }] },
        });
        keep_metadata(&mut value, self.seen.revisions.get(NAMESPACE, name).map(AsRef::as_ref));
        self.seen.revisions.put(NAMESPACE, name, read::<Revision>(value));
    }

    /// Sets the traffic of the Route `hello`, which is a new generation.
    pub(crate) fn route(&mut self, traffic: &Value) {
        let mut route = match self.seen.routes.get(NAMESPACE, "hello") {
            Some(route) => Route::clone(route),
            None => read(json!({
                "metadata": { "name": "hello", "namespace": NAMESPACE, "uid": "route-uid", "generation": 0 },
                "spec": {},
            })),
        };
        route.metadata.generation = route.metadata.generation.map(|generation| generation + 1);
        route.spec.traffic = read(traffic.clone());
        self.seen.routes.put(NAMESPACE, "hello", route);
    }

    /// Changes the Route `hello`, but not its generation.
    pub(crate) fn edit(&mut self, change: impl FnOnce(&mut Route)) {
        let mut route = self.hello();
        change(&mut route);
        self.seen.routes.put(NAMESPACE, "hello", route);
    }

    pub(crate) fn hello(&self) -> Route {
        Route::clone(self.seen.routes.get(NAMESPACE, "hello").unwrap())
    }

    pub(crate) fn status(&self) -> RouteStatus {
        self.hello().status.unwrap_or_default()
    }

    /// Examines the Route `hello` and carries out what follows.
    pub(crate) fn examine(&mut self) -> Outcome<RouteStatus> {
        let route = self.hello();
        let outcome = super::examine(&route, &self.seen, &self.config, now());
        self.edit(|route| route.status = Some(outcome.status.clone()));
        for write in &outcome.writes {
            self.write(write);
        }
        outcome
    }

    /// Lets everybody act until nothing changes.
    pub(crate) fn settle(&mut self) -> Outcome<RouteStatus> {
        for _ in 0..200 {
            let before = self.status();
            let outcome = self.examine();
            let acted = self.engine();
            if outcome.writes.is_empty() && before == outcome.status && !acted {
                return outcome;
            }
        }
        panic!("there is no end: {:?}", self.status());
    }

    pub(crate) fn write(&mut self, write: &Write) {
        match write {
            Write::Create(Object::Front(front)) => {
                let mut front = Service::clone(front);
                self.uids += 1;
                front.metadata.uid = Some(format!("uid-{}", self.uids));
                let key = (front.namespace().unwrap(), front.name_any());
                assert!(self.services.insert(key, front).is_none(), "it exists: {write:?}");
            }
            Write::Create(Object::Claim(claim)) => {
                let mut claim = claim.clone();
                self.uids += 1;
                claim.metadata.uid = Some(format!("uid-{}", self.uids));
                assert!(self.seen.claims.put("", &claim.name_any(), *claim.clone()).is_none());
            }
            Write::Merge(reference, patch) => match reference.kind {
                Kind::Front => {
                    let key = (reference.namespace.clone(), reference.name.clone());
                    let service = self.services.get_mut(&key).unwrap();
                    *service = merged(service, patch);
                }
                Kind::Revision => merge_in(&mut self.seen.revisions, reference, patch),
                Kind::Configuration => merge_in(&mut self.seen.configurations, reference, patch),
                Kind::Route => merge_in(&mut self.seen.routes, reference, patch),
                _ => panic!("{write:?}"),
            },
            Write::Delete(reference, uid) if reference.kind == Kind::Front => {
                let key = (reference.namespace.clone(), reference.name.clone());
                assert_eq!(self.services.remove(&key).unwrap().metadata.uid.as_ref(), Some(uid));
            }
            Write::Delete(reference, uid) if reference.kind == Kind::Claim => {
                let claim = self.seen.claims.take("", &reference.name).unwrap();
                assert_eq!(claim.metadata.uid.as_ref(), Some(uid));
            }
            _ => panic!("{write:?}"),
        }
        self.look();
    }

    /// Lets the engine act on all Services: ten seconds pass. Returns whether it changed anything.
    pub(crate) fn engine(&mut self) -> bool {
        self.seconds += 10;
        let now = Tick::from_secs(self.seconds);
        let before = self.services.clone();
        let mut hosts: BTreeMap<String, String> = BTreeMap::new();
        let mut all: Vec<&mut Service> = self.services.values_mut().collect();
        all.sort_by_key(|service| service.metadata.uid.clone());
        for service in all {
            let name = service.name_any();
            let generation: Option<i64> =
                service.annotations().get("ebb.dev/generation").map(|text| text.parse().unwrap());
            let Some(generation) = generation else { continue };
            let verdict = match parse_route(&name, service.annotations()) {
                Err(faults) => Err(format!("{faults:?}")),
                Ok(parsed) => {
                    let taken = parsed.exposure.hosts.iter().find(|host| hosts.contains_key(host.as_str()));
                    let taken = taken.map(|host| format!("{host} is taken"));
                    hosts.extend(parsed.exposure.hosts.iter().map(|host| (host.to_string(), name.clone())));
                    let to = parsed.spec.split.clone();
                    let over = parsed.spec.split_duration;
                    let first = Progress { to: to.clone(), under_way: None };
                    let rollout =
                        self.rollouts.entry(name.clone()).or_insert_with(|| Rollout::new(first, now));
                    rollout.head_for(to, over, now);
                    let pace = Pace { over, paused: parsed.spec.rollout_paused, kept: None };
                    rollout.advance(&pace, now, |_| Standing::Well { ready: 1, wanted: 0, rate: 0.0 });
                    let kept = over.map(|_| rollout.progress().text());
                    match kept {
                        Some(kept) => service.annotations_mut().insert(ebb::ROLLOUT.name.to_owned(), kept),
                        None => service.annotations_mut().remove(ebb::ROLLOUT.name),
                    };
                    taken.map_or(Ok(()), Err)
                }
            };
            let verdict = self.refused.get(&name).map_or(verdict, |why| Err(why.clone()));
            let (status, reason, message) = match verdict {
                Ok(()) => ("True", "InEffect", String::new()),
                Err(why) => ("False", "Refused", why),
            };
            let condition = json!({
                "type": "ebb.dev/InEffect",
                "status": status,
                "reason": reason,
                "message": message,
                "observedGeneration": generation,
                "lastTransitionTime": "2027-01-15T08:00:00Z",
            });
            *service = merged(service, &json!({ "status": { "conditions": [condition] } }));
        }
        self.look();
        self.services != before
    }

    fn look(&mut self) {
        let mut fronts = Table::default();
        for ((namespace, name), service) in &self.services {
            fronts.put(namespace, name, Front::of(service));
        }
        self.seen.fronts = fronts;
    }

    /// Puts a Service in that was there before.
    pub(crate) fn service(&mut self, value: Value) {
        let service: Service = read(value);
        self.services.insert((NAMESPACE.to_owned(), service.name_any()), service);
        self.look();
    }

    pub(crate) fn annotation(&self, name: &str, key: &str) -> Option<&str> {
        let service = self.services.get(&(NAMESPACE.to_owned(), name.to_owned()))?;
        service.annotations().get(key).map(String::as_str)
    }

    pub(crate) fn split(&self, name: &str) -> Option<&str> {
        self.annotation(name, "ebb.dev/split")
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.services.keys().map(|(_, name)| name.as_str()).collect()
    }

    /// Returns what is written on a Revision or a Configuration: its Routes and its state.
    pub(crate) fn labels(&self, revision: &str) -> (Option<&str>, &str) {
        let revision = self.seen.revisions.get(NAMESPACE, revision).unwrap();
        let routes = revision.annotations().get(keys::ROUTES).map(String::as_str);
        (routes, revision.labels().get(keys::ROUTING_STATE).map_or("", String::as_str))
    }

    pub(crate) fn roll_out_over(&mut self, seconds: u64) {
        self.config.network.rollout_duration = Duration::from_secs(seconds);
    }
}

/// Returns a condition as `STATUS REASON MESSAGE`.
pub(crate) fn condition(conditions: &[Condition], type_: &str) -> String {
    let one = conditions.iter().find(|one| one.type_ == type_).unwrap();
    format!("{} {} {}", one.status, one.reason, one.message).trim_end().to_owned()
}

/// Returns targets as `tag:revision=percent`, with `*` for the latest.
pub(crate) fn words(traffic: &[TrafficTarget]) -> Vec<String> {
    let word = |one: &TrafficTarget| {
        format!(
            "{}{}{}={}",
            one.tag.as_ref().map(|tag| format!("{tag}:")).unwrap_or_default(),
            one.revision_name.as_deref().unwrap_or_default(),
            if one.latest_revision == Some(true) { "*" } else { "" },
            one.percent.unwrap()
        )
    };
    traffic.iter().map(word).collect()
}

pub(crate) fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn merged<T: Serialize + DeserializeOwned>(object: &T, patch: &Value) -> T {
    let mut value = serde_json::to_value(object).unwrap();
    json_patch::merge(&mut value, patch);
    read(value)
}

fn merge_in<T: Serialize + DeserializeOwned>(table: &mut Table<T>, reference: &Reference, patch: &Value) {
    let Reference { namespace, name, .. } = reference;
    let object = merged(table.get(namespace, name).unwrap().as_ref(), patch);
    table.put(namespace, name, object);
}

fn keep_metadata<T: Resource>(value: &mut Value, old: Option<&T>) {
    if let Some(old) = old {
        value["metadata"] = serde_json::to_value(old.meta()).unwrap();
    }
}
