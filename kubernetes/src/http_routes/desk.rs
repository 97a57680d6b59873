//! Compares the HTTPRoutes that exist with those that should, and decides what to write next.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use ebb_cluster::watches::Name;
use ebb_core::{Host, ServiceKey, Tick};
use serde_json::Value;

use super::{
    Wanted,
    object::{self, Seen},
};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Create or change the HTTPRoute `name`; `there` is its uid if Ebb's exists already.
    Apply { name: String, object: Value, there: Option<String> },
    /// Delete Ebb's HTTPRoute with that name and uid.
    Delete { name: String, uid: String },
}

/// Services that need a write.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Those that lose a host, which may be another Service's from now on.
    pub(super) losing: BTreeSet<ServiceKey>,
    pub(super) others: BTreeSet<ServiceKey>,
}

/// An HTTPRoute as Ebb wrote it last.
#[derive(Debug)]
struct Written {
    object: Value,
    uid: String,
    generation: i64,
    at: Tick,
}

/// What exists and what is wanted. A plain value, without clock, task or client.
#[derive(Debug, Default)]
pub(super) struct Desk {
    wanted: Wanted,
    /// Ebb's HTTPRoutes that exist.
    there: BTreeMap<Name, Seen>,
    written: BTreeMap<Name, Written>,
    /// Whether `there` is complete.
    is_listed: bool,
}

impl Desk {
    /// Sets what is wanted from now on. Returns the Services for which something changed.
    pub(super) fn want(&mut self, wanted: Wanted) -> News {
        let before = std::mem::replace(&mut self.wanted, wanted);
        let is_same_gateway = before.parent == self.wanted.parent;
        let mut keys: BTreeSet<&ServiceKey> =
            before.services.keys().chain(self.wanted.services.keys()).collect();
        if !is_same_gateway {
            keys.extend(self.there.values().map(|seen| &seen.owner));
        }
        let mut news = News::default();
        for key in keys {
            let (former, now) = (before.services.get(key), self.wanted.services.get(key));
            if is_same_gateway && former == now {
                continue;
            }
            let has = |host: &Host| now.is_some_and(|now| now.hosts.contains(host));
            let loses = now.is_none() || former.is_some_and(|former| !former.hosts.iter().all(has));
            let those = if loses { &mut news.losing } else { &mut news.others };
            those.insert(key.clone());
        }
        news
    }

    /// Records an HTTPRoute that exists or changed; `None` if it is not, or no longer, Ebb's. Returns the Services that
    /// may need a write.
    pub(super) fn saw(&mut self, name: &Name, seen: Option<Seen>) -> BTreeSet<ServiceKey> {
        let before = self.there.get(name).cloned();
        // The answer to a write arrives before the watch has reported older states.
        let is_old = |seen: &Seen| {
            before.as_ref().is_some_and(|before| {
                before.uid == seen.uid && before.owner == seen.owner && before.generation >= seen.generation
            })
        };
        if seen.as_ref().is_some_and(is_old) {
            return BTreeSet::new();
        }
        let after = seen.as_ref().map(|seen| seen.owner.clone());
        match seen {
            Some(seen) => self.there.insert(name.clone(), seen),
            None => self.there.remove(name),
        };
        before.map(|before| before.owner).into_iter().chain(after).collect()
    }

    /// Records that an HTTPRoute was deleted. Returns the Services that may need a write.
    pub(super) fn gone(&mut self, name: &Name, uid: &str) -> BTreeSet<ServiceKey> {
        // Another one may have been created with the same name since.
        if self.there.get(name).is_none_or(|seen| seen.uid != uid) {
            return BTreeSet::new();
        }
        self.saw(name, None)
    }

    /// Records that `names` are all of Ebb's HTTPRoutes. Returns the Services that may need a write.
    pub(super) fn listed(&mut self, names: &HashSet<Name>) -> BTreeSet<ServiceKey> {
        self.is_listed = true;
        let owners = self.there.values().map(|seen| seen.owner.clone());
        let all = owners.chain(self.wanted.services.keys().cloned()).collect();
        self.there.retain(|name, _| names.contains(name));
        all
    }

    /// Forgets what exists: the kind was removed, or the watch was stopped.
    pub(super) fn forget(&mut self) {
        self.is_listed = false;
        self.there.clear();
        self.written.clear();
    }

    /// Returns whether a Gateway is set.
    pub(super) fn has_gateway(&self) -> bool {
        self.wanted.parent.is_some()
    }

    /// Returns whether it is known that none of Ebb's HTTPRoutes exist.
    pub(super) fn is_empty(&self) -> bool {
        self.is_listed && self.there.is_empty()
    }

    /// Returns when the Service's first HTTPRoute was last written.
    pub(super) fn written_at(&self, key: &ServiceKey) -> Option<Tick> {
        let first = (key.namespace.clone(), object::prefix(&key.name));
        self.written.get(&first).map(|written| written.at)
    }

    /// Returns the next write for the Service; `None` if nothing is left to do, or too little is known.
    pub(super) fn step(&self, key: &ServiceKey) -> Option<Step> {
        if !self.is_listed {
            return None;
        }
        let wanted = self.wanted.parent.as_ref().zip(self.wanted.services.get(key));
        let objects =
            wanted.map(|(parent, backend)| object::objects(key, backend, parent)).unwrap_or_default();
        let name = |name: &str| (key.namespace.clone(), name.to_owned());
        let kept: BTreeSet<Name> = objects.iter().map(|(object, _)| name(object)).collect();
        for (object_name, object) in objects {
            let there = self.there.get(&name(&object_name)).filter(|seen| seen.owner == *key);
            let written = self.written.get(&name(&object_name));
            let is_so = written.zip(there).is_some_and(|(written, there)| {
                written.uid == there.uid && written.generation == there.generation && written.object == object
            });
            if !is_so {
                return Some(Step::Apply {
                    name: object_name,
                    object,
                    there: there.map(|seen| seen.uid.clone()),
                });
            }
        }
        let mut superfluous = self.of(key).filter(|(name, _)| !kept.contains(name));
        superfluous.next().map(|((_, name), seen)| Step::Delete { name: name.clone(), uid: seen.uid.clone() })
    }

    /// Records that `object` was written at `at`, with the result `seen`.
    pub(super) fn applied(&mut self, name: Name, object: Value, seen: Seen, at: Tick) {
        let (uid, generation) = (seen.uid.clone(), seen.generation);
        self.written.insert(name.clone(), Written { object, uid, generation, at });
        self.there.insert(name, seen);
    }

    /// Records that Ebb deleted an HTTPRoute.
    pub(super) fn deleted(&mut self, name: &Name) {
        self.there.remove(name);
        self.written.remove(name);
    }

    /// Returns the HTTPRoutes of one Service.
    fn of<'a>(&'a self, key: &'a ServiceKey) -> impl Iterator<Item = (&'a Name, &'a Seen)> {
        let prefix = object::prefix(&key.name);
        let all = self.there.range((key.namespace.clone(), prefix.clone())..);
        let named = all.take_while(move |((namespace, name), _)| {
            *namespace == key.namespace && name.starts_with(&prefix)
        });
        named.filter(|(_, seen)| seen.owner == *key)
    }
}
