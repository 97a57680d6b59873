//! A cluster in memory: an API server with watches, the rest of Ebb, and Kubernetes' own controllers, as far as the
//! translator sees them. Nothing happens by itself: a test says what happens next.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use ebb_serving::{
    outcome::{Kind, Reference, Write},
    world::{Fact, Found, Plan, World},
};
use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, from_value, json};

/// The kinds whose specs have generations.
const GENERATIONS: [Kind; 6] =
    [Kind::Service, Kind::Configuration, Kind::Revision, Kind::Route, Kind::DomainMapping, Kind::Deployment];

/// The cluster.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    objects: BTreeMap<Reference, Value>,
    version: u64,
    uids: u64,
    /// What watches have not reported yet, by kind.
    unreported: BTreeMap<Kind, VecDeque<Fact>>,
    /// Number of writes by the translator, statuses apart.
    pub(crate) writes: usize,
    /// Images of which no container starts.
    pub(crate) broken: BTreeSet<String>,
}

impl Cluster {
    /// Returns an object.
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&Reference::new(kind, "shop", name))
    }

    /// Returns the names of the objects of a kind.
    pub(crate) fn names(&self, kind: Kind) -> Vec<&str> {
        self.objects.keys().filter(|of| of.kind == kind).map(|of| of.name.as_str()).collect()
    }

    /// A user creates an object, or replaces its labels, annotations and spec.
    pub(crate) fn user_applies(&mut self, kind: Kind, mut object: Value) {
        object["metadata"]["namespace"] = json!("shop");
        let of = Reference::new(kind, "shop", object["metadata"]["name"].as_str().expect("a name"));
        let Some(old) = self.objects.get(&of) else {
            self.create(&of, object).expect("a new name");
            return;
        };
        let mut new = old.clone();
        new["spec"] = object["spec"].clone();
        for field in ["labels", "annotations"] {
            new["metadata"][field] = object["metadata"][field].clone();
        }
        self.store(&of, new);
    }

    /// A user deletes an object, and with it what it owns.
    pub(crate) fn user_deletes(&mut self, kind: Kind, name: &str) {
        self.delete(&Reference::new(kind, "shop", name));
    }

    /// Carries out a plan, as the program would. Returns the write that failed, and whether it was refused for good.
    pub(crate) fn carry_out(&mut self, plan: Plan) -> (Vec<Fact>, Option<Write>) {
        let mut facts = Vec::new();
        let mut failed = None;
        for write in plan.writes {
            self.writes += 1;
            let Some(answered) = self.write(&write) else {
                failed = Some(write);
                break;
            };
            facts.extend(answered);
        }
        if let Some((of, object)) = plan.status
            && !facts.iter().any(|fact| fact.is_about(&of))
        {
            facts.extend(self.put_status(&of, &object));
        }
        (facts, failed)
    }

    /// Returns what the API server answers; `None` if it refuses.
    fn write(&mut self, write: &Write) -> Option<Vec<Fact>> {
        match write {
            Write::Create(object) => Some(vec![self.create(&object.reference(), object.to_value())?]),
            Write::Replace(object) => {
                let (of, new) = (object.reference(), object.to_value());
                let old = self.objects.get(&of)?;
                if old["metadata"]["resourceVersion"] != new["metadata"]["resourceVersion"] {
                    return None;
                }
                let mut new = new;
                new["status"] = old["status"].clone();
                Some(vec![self.store(&of, new)])
            }
            Write::Apply(object) => {
                let of = object.reference();
                let mut new = self.objects.get(&of)?.clone();
                json_patch::merge(&mut new, &object.to_value());
                Some(vec![self.store(&of, new)])
            }
            Write::Merge(of, patch) => {
                let mut new = self.objects.get(of)?.clone();
                json_patch::merge(&mut new, patch);
                let leaves = new["metadata"]["deletionTimestamp"].is_string();
                if leaves && new["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
                    self.objects.insert(of.clone(), new);
                    self.delete(of);
                    return Some(Vec::new());
                }
                Some(vec![self.store(of, new)])
            }
            Write::Delete(of, uid) => {
                if self.objects.get(of).is_some_and(|object| object["metadata"]["uid"] == json!(uid)) {
                    self.delete(of);
                }
                Some(Vec::new())
            }
        }
    }

    fn create(&mut self, of: &Reference, mut object: Value) -> Option<Fact> {
        if self.objects.contains_key(of) {
            return None;
        }
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        object.as_object_mut()?.remove("status");
        self.objects.insert(of.clone(), Value::Null);
        Some(self.store(of, object))
    }

    fn put_status(&mut self, of: &Reference, object: &Value) -> Option<Fact> {
        let mut new = self.objects.get(of)?.clone();
        if new["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
            return None;
        }
        new["status"] = object["status"].clone();
        Some(self.store(of, new))
    }

    /// Stores an object if it differs, with a new version, and a new generation if its spec has changed.
    fn store(&mut self, of: &Reference, mut object: Value) -> Fact {
        let old = self.objects.get(of).cloned().unwrap_or_default();
        let clean = |mut object: Value| {
            object["metadata"]["resourceVersion"] = Value::Null;
            object["metadata"]["generation"] = Value::Null;
            without_nulls(object)
        };
        if clean(old.clone()) == clean(object.clone()) {
            return fact(of, old);
        }
        if GENERATIONS.contains(&of.kind) && !old.is_null() {
            let before = old["metadata"]["generation"].as_i64().unwrap_or(1);
            let same = without_nulls(old["spec"].clone()) == without_nulls(object["spec"].clone());
            object["metadata"]["generation"] = json!(if same { before } else { before + 1 });
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = without_nulls(object);
        self.objects.insert(of.clone(), object.clone());
        let fact = fact(of, object);
        self.unreported.entry(of.kind).or_default().push_back(fact.clone());
        fact
    }

    fn delete(&mut self, of: &Reference) {
        if let Some(object) = self.objects.get_mut(of)
            && object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty())
        {
            let mut leaving = object.clone();
            leaving["metadata"]["deletionTimestamp"] = json!("2026-01-02T00:00:00Z");
            self.store(of, leaving);
            return;
        }
        let Some(object) = self.objects.remove(of) else { return };
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        self.unreported.entry(of.kind).or_default().push_back(Fact::Gone(of.clone(), uid.clone()));
        let owned: Vec<Reference> = self
            .objects
            .iter()
            .filter(|(_, object)| is_owned(object, &uid))
            .map(|(of, _)| of.clone())
            .collect();
        for of in owned {
            self.delete(&of);
        }
    }

    /// Reports the oldest event of the kind that is `which`th among those with events. Returns whether there was one.
    pub(crate) fn report(&mut self, which: usize, world: &mut World) -> bool {
        self.unreported.retain(|_, facts| !facts.is_empty());
        if self.unreported.is_empty() {
            return false;
        }
        let which = which % self.unreported.len();
        let fact = self.unreported.values_mut().nth(which).and_then(VecDeque::pop_front);
        if let Some(fact) = fact {
            world.take(fact);
        }
        true
    }

    /// Returns a world that has read everything, as after a start of the program.
    pub(crate) fn read_anew(&mut self) -> World {
        let mut world = World::default();
        for (of, object) in &self.objects {
            world.take(fact(of, object.clone()));
        }
        for kind in Kind::ALL {
            let names = self.objects.keys().filter(|of| of.kind == kind);
            let names = names.map(|of| (of.namespace.clone(), of.name.clone())).collect();
            world.take(Fact::Listed(kind, names));
        }
        world.take(Fact::SettingsListed(HashSet::new()));
        self.unreported.clear();
        world
    }

    /// Does the next thing that others do: the engine takes Services over and says what is in effect, and pods start.
    /// Returns whether there was one to do.
    pub(crate) fn others_act(&mut self, which: usize) -> bool {
        let due: Vec<(Reference, Value)> = self
            .objects
            .iter()
            .filter_map(|(of, object)| Some((of.clone(), self.next_of(of, object)?)))
            .collect();
        let Some((of, object)) = (!due.is_empty()).then(|| due[which % due.len()].clone()) else {
            return self.collect_garbage();
        };
        self.store(&of, object);
        true
    }

    /// Deletes an object whose owner is gone. Returns whether there was one.
    fn collect_garbage(&mut self) -> bool {
        let uids: BTreeSet<&str> =
            self.objects.values().filter_map(|object| object["metadata"]["uid"].as_str()).collect();
        let is_orphan = |object: &Value| {
            let mut owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            owners.any(|owner| !uids.contains(owner["uid"].as_str().unwrap_or_default()))
        };
        let orphan = self.objects.iter().find(|(_, object)| is_orphan(object)).map(|(of, _)| of.clone());
        orphan.inspect(|of| self.delete(of)).is_some()
    }

    fn next_of(&self, of: &Reference, object: &Value) -> Option<Value> {
        let mut next = object.clone();
        match of.kind {
            Kind::Front => {
                let annotations = next["metadata"]["annotations"].clone();
                if annotations["ebb.dev/scale-target"].is_string() || annotations["ebb.dev/split"].is_string()
                {
                    next["metadata"]["annotations"]["ebb.dev/activator-port"] = json!("10001");
                }
                if let Some(generation) = annotations["ebb.dev/generation"].as_str() {
                    let generation: i64 = generation.parse().expect("a number");
                    next["status"]["conditions"] = json!([{
                        "type": "ebb.dev/InEffect", "status": "True", "reason": "InEffect", "message": "",
                        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }]);
                }
            }
            Kind::Deployment => {
                let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
                let works = !self.broken.contains(image.as_str().unwrap_or_default());
                let wanted = object["spec"]["replicas"].as_i64().unwrap_or(1);
                let up = if works { wanted } else { 0 };
                next["status"] = json!({
                    "observedGeneration": object["metadata"]["generation"],
                    "replicas": wanted, "readyReplicas": up, "availableReplicas": up,
                    "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
                });
            }
            _ => return None,
        }
        (next != *object).then_some(next)
    }
}

/// Examines until nothing is left to do. `choices` decides in which order things happen, and when the program starts
/// anew.
pub(crate) fn settle(cluster: &mut Cluster, world: &mut World, choices: &mut impl Iterator<Item = usize>) {
    let mut waiting: BTreeSet<Reference> = BTreeSet::new();
    for _ in 0..20_000 {
        waiting.extend(world.touched());
        let choice = choices.next().unwrap_or(0);
        let acted = match choice % 4 {
            0 => examine_one(cluster, world, &mut waiting, choice / 4),
            1 => cluster.report(choice / 4, world),
            2 => cluster.others_act(choice / 4),
            _ if choice % 64 == 63 => {
                *world = cluster.read_anew();
                waiting = BTreeSet::new();
                world.touch_all();
                true
            }
            _ => false,
        };
        let idle = !acted
            && waiting.is_empty()
            && !examine_one(cluster, world, &mut waiting, 0)
            && !cluster.report(0, world)
            && !cluster.others_act(0);
        waiting.extend(world.touched());
        if idle && waiting.is_empty() {
            return;
        }
    }
    panic!("it does not settle; still to examine: {waiting:?}");
}

fn examine_one(
    cluster: &mut Cluster,
    world: &mut World,
    waiting: &mut BTreeSet<Reference>,
    which: usize,
) -> bool {
    if waiting.is_empty() {
        return false;
    }
    let Some(of) = waiting.iter().nth(which % waiting.len()).cloned() else { return false };
    waiting.remove(&of);
    let Some(plan) = world.plan(&of, now()) else { return true };
    if plan.is_empty() {
        return true;
    }
    let (facts, failed) = cluster.carry_out(plan);
    for fact in facts {
        world.take(fact);
    }
    if failed.is_some() {
        // The watch shows the newer state; the program tries again.
        while cluster.report(0, world) {}
        waiting.insert(of);
    }
    true
}

/// The time at which everything happens.
pub(crate) fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().expect("a time")
}

fn fact(of: &Reference, object: Value) -> Fact {
    let object: DynamicObject = from_value(object).expect("metadata");
    Fact::Is(Found::read(of.kind, object).unwrap_or_else(|| panic!("{of:?} cannot be read")))
}

fn is_owned(object: &Value, uid: &str) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.into_iter().flatten().any(|owner| owner["uid"] == json!(uid))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, without_nulls(value)));
            Value::Object(fields.filter(|(_, value)| !value.is_null()).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}
