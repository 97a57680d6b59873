//! What is kept of each kind, and who must be examined when an object of it changes.

use kube::ResourceExt;

use super::{Index, Touched};
use crate::{
    api, configuration, domain_mapping, keys,
    outcome::{Kind, Reference},
    revision, route,
    seen::{Deployed, Front, Pod, Seen, Table},
};

/// An object that is kept in a [`Table`].
pub(super) trait Kept: Sized {
    /// Its kind.
    const KIND: Kind;

    /// Returns the table of its kind.
    fn table(seen: &mut Seen) -> &mut Table<Self>;

    /// Returns its uid.
    fn uid(&self) -> String;

    /// Returns its version.
    fn version(&self) -> String;

    /// Returns what must be found by the names in it.
    fn refers(&self, _: &Reference) -> Vec<Reference> {
        Vec::new()
    }

    /// Adds who must be examined when it changes, comes or goes.
    fn touch(&self, me: &Reference, index: &Index, touched: &mut Touched);
}

fn beside(me: &Reference, kind: Kind, name: &str) -> Reference {
    Reference::new(kind, &me.namespace, name)
}

/// Returns the Routes by which an object says that it is named. They take their names back where they are wrong.
fn routes<K: ResourceExt>(me: &Reference, object: &K) -> Vec<Reference> {
    let names = object.annotations().get(keys::ROUTES).map_or("", String::as_str).split(',');
    names.filter(|name| !name.is_empty()).map(|name| beside(me, Kind::Route, name)).collect()
}

macro_rules! object {
    ($table:ident) => {
        fn table(seen: &mut Seen) -> &mut Table<Self> {
            &mut seen.$table
        }

        fn uid(&self) -> String {
            ResourceExt::uid(self).unwrap_or_default()
        }

        fn version(&self) -> String {
            self.resource_version().unwrap_or_default()
        }
    };
}

macro_rules! facts {
    ($table:ident) => {
        fn table(seen: &mut Seen) -> &mut Table<Self> {
            &mut seen.$table
        }

        fn uid(&self) -> String {
            self.uid.clone()
        }

        fn version(&self) -> String {
            self.resource_version.clone()
        }
    };
}

impl Kept for api::Service {
    const KIND: Kind = Kind::Service;
    object!(services);

    fn touch(&self, me: &Reference, _: &Index, touched: &mut Touched) {
        touched.add(me.clone());
    }
}

impl Kept for api::Configuration {
    const KIND: Kind = Kind::Configuration;
    object!(configurations);

    fn refers(&self, me: &Reference) -> Vec<Reference> {
        vec![beside(me, Kind::Revision, &configuration::revision_name(self))]
    }

    fn touch(&self, me: &Reference, index: &Index, touched: &mut Touched) {
        touched.add(me.clone());
        touched.add(beside(me, Kind::Service, &me.name));
        touched.extend(index.of(me));
        touched.extend(routes(me, self).iter());
    }
}

impl Kept for api::Revision {
    const KIND: Kind = Kind::Revision;
    object!(revisions);

    fn refers(&self, me: &Reference) -> Vec<Reference> {
        vec![beside(me, Kind::Deployment, &revision::deployment_name(self))]
    }

    fn touch(&self, me: &Reference, index: &Index, touched: &mut Touched) {
        touched.add(me.clone());
        touched.extend(routes(me, self).iter());
        for of in index.of(me) {
            touched.add(of.clone());
            // A Configuration that wants a Revision of this name, and the ksvc that waits for it.
            if of.kind == Kind::Configuration {
                touched.add(beside(me, Kind::Service, &of.name));
            }
        }
        if let Some(configuration) = self.labels().get(keys::CONFIGURATION) {
            let configuration = beside(me, Kind::Configuration, configuration);
            touched.extend(index.of(&configuration));
            touched.add(beside(me, Kind::Service, &configuration.name));
            touched.add(configuration);
        }
    }
}

impl Kept for api::Route {
    const KIND: Kind = Kind::Route;
    object!(routes);

    fn refers(&self, me: &Reference) -> Vec<Reference> {
        let (configurations, revisions) = route::targets(self);
        let configurations = configurations.iter().map(|name| beside(me, Kind::Configuration, name));
        configurations.chain(revisions.iter().map(|name| beside(me, Kind::Revision, name))).collect()
    }

    fn touch(&self, me: &Reference, index: &Index, touched: &mut Touched) {
        touched.add(me.clone());
        touched.add(beside(me, Kind::Service, &me.name));
        touched.extend(index.of(me));
        // They say which Routes name them.
        touched.extend(index.from(me));
    }
}

impl Kept for api::DomainMapping {
    const KIND: Kind = Kind::DomainMapping;
    object!(mappings);

    fn refers(&self, me: &Reference) -> Vec<Reference> {
        let name = &self.spec.reference.name;
        let claim = Reference::new(Kind::Claim, "", &me.name);
        let own = beside(me, Kind::Front, &domain_mapping::service_name(&me.name));
        vec![beside(me, Kind::Route, name), beside(me, Kind::Front, name), own, claim]
    }

    fn touch(&self, me: &Reference, index: &Index, touched: &mut Touched) {
        touched.add(me.clone());
        // Mappings of the same name wait for each other.
        let claim = Reference::new(Kind::Claim, "", &me.name);
        touched.extend(index.of(&claim));
        touched.add(claim);
    }
}

impl Kept for api::ClusterDomainClaim {
    const KIND: Kind = Kind::Claim;
    object!(claims);

    fn touch(&self, me: &Reference, index: &Index, touched: &mut Touched) {
        touched.add(me.clone());
        touched.extend(index.of(me));
    }
}

impl Kept for Deployed {
    const KIND: Kind = Kind::Deployment;
    facts!(deployments);

    fn touch(&self, me: &Reference, index: &Index, touched: &mut Touched) {
        touched.extend(self.owner.iter().filter_map(|owner| index.owner(owner)));
        // One that is somebody else's may be in the way.
        touched.extend(index.of(me));
    }
}

impl Kept for Front {
    const KIND: Kind = Kind::Front;
    facts!(fronts);

    fn touch(&self, me: &Reference, index: &Index, touched: &mut Touched) {
        // One that is somebody else's may be in the way of these.
        touched.add(beside(me, Kind::Route, &me.name));
        touched.add(beside(me, Kind::Revision, &me.name));
        touched.extend(index.of(me));
        if let Some(owner) = self.owner.as_ref().and_then(|owner| index.owner(owner)) {
            touched.extend(index.of(owner).filter(|of| of.kind == Kind::DomainMapping));
            touched.add(owner.clone());
        }
    }
}

impl Kept for Pod {
    const KIND: Kind = Kind::Pod;
    facts!(pods);

    fn touch(&self, me: &Reference, _: &Index, touched: &mut Touched) {
        touched.add(beside(me, Kind::Revision, &self.revision));
    }
}
