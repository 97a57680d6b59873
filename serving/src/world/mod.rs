//! All that is known of the cluster, and what follows from it. Nothing here waits, or reads a clock.
//!
//! The world takes facts in any order. After each, it knows which objects must be examined again; [`World::plan`]
//! examines one.

mod fact;
mod index;
mod kept;
mod plan;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    sync::Arc,
};

use ebb_cluster::watches::{Name, name_of};
use kube::Resource;

use crate::{
    config::{Config, Map, Settings, Taken},
    outcome::{Kind, Reference},
    seen::{Seen, Table},
};
pub use fact::{Fact, Found};
use index::Index;
use kept::Kept;
pub use plan::{Plan, Unresolved};

/// Number of objects that are remembered after they are gone, so that a late answer does not bring one back.
const REMEMBERED: usize = 4096;

/// All that is known of the cluster.
#[derive(Debug, Default)]
pub struct World {
    seen: Seen,
    settings: Settings,
    config: Arc<Config>,
    index: Index,
    touched: Touched,
    listed: HashSet<Kind>,
    knows_settings: bool,
    gone: Gone,
    images: plan::Resolved,
    failures: plan::Failures,
}

/// The uids of objects that are gone, the oldest first.
#[derive(Debug, Default)]
struct Gone {
    uids: HashSet<String>,
    in_order: VecDeque<String>,
}

impl Gone {
    fn add(&mut self, uid: String) {
        if !self.uids.insert(uid.clone()) {
            return;
        }
        self.in_order.push_back(uid);
        if self.in_order.len() > REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.uids.remove(&oldest);
        }
    }
}

/// The objects to examine.
#[derive(Debug, Default)]
struct Touched(BTreeSet<Reference>);

impl Touched {
    /// Adds an object, if its kind is one that is examined.
    fn add(&mut self, object: Reference) {
        if !matches!(object.kind, Kind::Deployment | Kind::Front | Kind::Pod) {
            self.0.insert(object);
        }
    }

    fn extend<'a>(&mut self, objects: impl Iterator<Item = &'a Reference>) {
        for object in objects {
            self.add(object.clone());
        }
    }
}

impl World {
    /// Returns the world of a cluster whose domain is `cluster_domain`, as `cluster.local`, before anything is known.
    pub fn new(cluster_domain: &str) -> Self {
        let settings = Settings::new(cluster_domain);
        let config = Arc::new(settings.config().clone());
        Self { settings, config, ..Self::default() }
    }

    /// Takes a fact over. If it is about settings, returns what came of each map.
    pub fn take(&mut self, fact: Fact) -> Vec<(String, Taken)> {
        match fact {
            Fact::Is(found) => self.found(found),
            Fact::Gone(object, uid) => self.lost(&object, &uid),
            Fact::Listed(kind, names) => self.all(kind, &names),
            Fact::Settings(name, data) => return vec![self.set(name, data.as_ref())],
            Fact::SettingsListed(names) => {
                let all = Map::ALL.into_iter().map(Map::name);
                let gone = all.filter(|name| !names.iter().any(|(_, one)| one == name));
                let taken = gone.map(|name| self.set(name.to_owned(), None)).collect();
                if !std::mem::replace(&mut self.knows_settings, true) {
                    self.touch_all();
                }
                return taken;
            }
        }
        Vec::new()
    }

    fn set(&mut self, name: String, data: Option<&BTreeMap<String, String>>) -> (String, Taken) {
        let taken = self.settings.take(&name, data);
        if taken.is_changed {
            self.config = Arc::new(self.settings.config().clone());
            self.touch_all();
        }
        (name, taken)
    }

    /// Returns whether enough is known to decide anything: what is missing after a list does not exist.
    pub fn is_complete(&self) -> bool {
        self.knows_settings && Kind::ALL.iter().all(|kind| self.listed.contains(kind))
    }

    /// Returns the settings in effect.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Returns the objects to examine, and forgets them. Returns none before everything is known.
    pub fn touched(&mut self) -> BTreeSet<Reference> {
        if self.is_complete() { std::mem::take(&mut self.touched.0) } else { BTreeSet::new() }
    }

    /// Has every object examined.
    pub fn touch_all(&mut self) {
        for kind in Kind::ALL {
            for (namespace, name) in self.names(kind) {
                self.touched.add(Reference { kind, namespace, name });
            }
        }
    }

    /// Returns the namespaces and names of all objects of a kind.
    fn names(&self, kind: Kind) -> Vec<Name> {
        fn of<K>(table: &Table<K>) -> Vec<Name> {
            table.iter().map(|(name, _)| name.clone()).collect()
        }
        let seen = &self.seen;
        match kind {
            Kind::Service => of(&seen.services),
            Kind::Configuration => of(&seen.configurations),
            Kind::Revision => of(&seen.revisions),
            Kind::Route => of(&seen.routes),
            Kind::DomainMapping => of(&seen.mappings),
            Kind::Claim => of(&seen.claims),
            Kind::Deployment => of(&seen.deployments),
            Kind::Front => of(&seen.fronts),
            Kind::Pod => of(&seen.pods),
        }
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::Service(object) => self.put_object(*object),
            Found::Configuration(object) => self.put_object(*object),
            Found::Revision(object) => self.put_object(*object),
            Found::Route(object) => self.put_object(*object),
            Found::DomainMapping(object) => self.put_object(*object),
            Found::Claim(object) => self.put_object(*object),
            Found::Deployment((namespace, name), facts) => self.put(&namespace, &name, *facts),
            Found::Front((namespace, name), facts) => self.put(&namespace, &name, *facts),
            Found::Pod((namespace, name), facts) => self.put(&namespace, &name, *facts),
        }
    }

    /// Keeps an object without what is large and not read.
    fn put_object<K: Kept + Resource<DynamicType = ()>>(&mut self, mut object: K) {
        object.meta_mut().managed_fields = None;
        let (namespace, name) = name_of(object.meta());
        self.put(&namespace, &name, object);
    }

    fn put<K: Kept>(&mut self, namespace: &str, name: &str, object: K) {
        let me = Reference::new(K::KIND, namespace, name);
        let uid = object.uid();
        if self.gone.uids.contains(&uid) {
            return;
        }
        let table = K::table(&mut self.seen);
        if let Some(old) = table.get(namespace, name) {
            // Versions are the API server's own: an older one may also be of an object that had this name before.
            if !is_newer(&object.version(), &old.version()) {
                return;
            }
            old.touch(&me, &self.index, &mut self.touched);
            let old = old.uid();
            if old != uid {
                self.index.owns_no_more(&old);
                self.gone.add(old);
            }
        }
        self.index.owns(&uid, &me);
        self.index.set(&me, object.refers(&me));
        object.touch(&me, &self.index, &mut self.touched);
        K::table(&mut self.seen).put(namespace, name, object);
    }

    fn lost(&mut self, object: &Reference, uid: &str) {
        match object.kind {
            Kind::Service => self.take_out::<crate::api::Service>(object, uid),
            Kind::Configuration => self.take_out::<crate::api::Configuration>(object, uid),
            Kind::Revision => self.take_out::<crate::api::Revision>(object, uid),
            Kind::Route => self.take_out::<crate::api::Route>(object, uid),
            Kind::DomainMapping => self.take_out::<crate::api::DomainMapping>(object, uid),
            Kind::Claim => self.take_out::<crate::api::ClusterDomainClaim>(object, uid),
            Kind::Deployment => self.take_out::<crate::seen::Deployed>(object, uid),
            Kind::Front => self.take_out::<crate::seen::Front>(object, uid),
            Kind::Pod => self.take_out::<crate::seen::Pod>(object, uid),
        }
    }

    /// Takes an object out, unless a newer one has its name. Without a uid, whichever has the name is meant.
    fn take_out<K: Kept>(&mut self, me: &Reference, uid: &str) {
        if !uid.is_empty() {
            self.gone.add(uid.to_owned());
        }
        let table = K::table(&mut self.seen);
        let Some(old) = table.get(&me.namespace, &me.name) else { return };
        if !uid.is_empty() && old.uid() != uid {
            return;
        }
        let Some(old) = table.take(&me.namespace, &me.name) else { return };
        self.gone.add(old.uid());
        old.touch(me, &self.index, &mut self.touched);
        self.index.set(me, Vec::new());
        self.index.owns_no_more(&old.uid());
        self.images.forget(me);
        self.failures.forget(me);
    }

    /// Forgets every object of `kind` that is not among `names`.
    fn all(&mut self, kind: Kind, names: &HashSet<Name>) {
        for (namespace, name) in self.names(kind).iter().filter(|name| !names.contains(name)) {
            self.lost(&Reference::new(kind, namespace, name), "");
        }
        self.listed.insert(kind);
    }
}

/// Returns whether `version` of an object is newer than `old`. The API server numbers versions; if one is no number,
/// whatever comes is newer.
fn is_newer(version: &str, old: &str) -> bool {
    match (version.parse::<u128>(), old.parse::<u128>()) {
        (Ok(version), Ok(old)) => version > old,
        _ => version != old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    fn hello(uid: &str, version: &str) -> Fact {
        let mut service = api::Service::new("hello", api::ServiceSpec::default());
        service.metadata.namespace = Some("shop".to_owned());
        service.metadata.uid = Some(uid.to_owned());
        service.metadata.resource_version = Some(version.to_owned());
        Fact::Is(Found::Service(Box::new(service)))
    }

    #[test]
    fn an_old_answer_brings_back_neither_an_older_version_nor_what_is_gone() {
        let mut world = World::default();
        let mut tell = |uid: &str, version: &str| {
            world.take(hello(uid, version));
            let kept = world.seen.services.get("shop", "hello");
            kept.map(|kept| (kept.uid(), kept.version()))
        };
        let is = |uid: &str, version: &str| Some((uid.to_owned(), version.to_owned()));
        assert_eq!(tell("a", "9"), is("a", "9"));
        assert_eq!(tell("a", "8"), is("a", "9"));
        assert_eq!(tell("b", "12"), is("b", "12"), "it was deleted and created anew");
        assert_eq!(tell("a", "10"), is("b", "12"));
        world.take(Fact::Gone(Reference::new(Kind::Service, "shop", "hello"), "b".to_owned()));
        assert!(world.seen.services.is_empty());
        world.take(hello("b", "13"));
        assert!(world.seen.services.is_empty());
    }
}
