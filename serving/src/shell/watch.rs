//! Follows the cluster, and reports facts.

use std::{fmt::Debug, future::ready};

use ebb_cluster::watches::{Follow, Seen, config, name_of};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, Service},
};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, ObjectMeta},
    runtime::watcher::{self, watcher},
};
use serde::de::DeserializeOwned;

use crate::{
    keys,
    outcome::{Kind, Reference},
    seen,
    world::{Fact, Found},
};

/// Follows all objects of a kind of the API.
pub(super) async fn objects<K>(client: Client, to: Seen<Fact>, kind: Kind, found: fn(Box<K>) -> Found)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let fact = |object: K| Some(Fact::Is(found(Box::new(object))));
    follow(kind, fact, Api::all(client), config(), to).await;
}

/// Follows the Deployments.
pub(super) async fn deployments(client: Client, to: Seen<Fact>) {
    let fact = |object: Deployment| {
        let facts = Box::new(seen::Deployed::of(&object));
        Some(Fact::Is(Found::Deployment(name_of(&object.metadata), facts)))
    };
    follow(Kind::Deployment, fact, Api::all(client), config(), to).await;
}

/// Follows the Services of Kubernetes itself.
pub(super) async fn fronts(client: Client, to: Seen<Fact>) {
    let fact = |object: Service| {
        let facts = Box::new(seen::Front::of(&object));
        Some(Fact::Is(Found::Front(name_of(&object.metadata), facts)))
    };
    follow(Kind::Front, fact, Api::all(client), config(), to).await;
}

/// Follows the pods of Revisions.
pub(super) async fn pods(client: Client, to: Seen<Fact>) {
    let fact = |object: Pod| {
        let facts = Box::new(seen::Pod::of(&object)?);
        Some(Fact::Is(Found::Pod(name_of(&object.metadata), facts)))
    };
    follow(Kind::Pod, fact, Api::all(client), config().labels(keys::REVISION), to).await;
}

/// Follows the `ConfigMap`s of the installation.
pub(super) async fn settings(client: Client, to: Seen<Fact>, namespace: String) {
    let follow = Follow {
        kind: "ConfigMap".to_owned(),
        fact: |map: ConfigMap| {
            let name = map.metadata.name.unwrap_or_default();
            ready(Some(Fact::Settings(name, Some(map.data.unwrap_or_default()))))
        },
        gone: |map: &ObjectMeta| Fact::Settings(name_of(map).1, None),
        listed: Fact::SettingsListed,
        refused: |_: &watcher::Error| None,
    };
    follow.run(watcher(Api::namespaced(client, &namespace), config()), to).await;
}

async fn follow<K>(
    kind: Kind,
    fact: impl Fn(K) -> Option<Fact>,
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
    to: Seen<Fact>,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let follow = Follow {
        kind: kind.in_words().1.to_owned(),
        fact: |object| ready(fact(object)),
        gone: |object: &ObjectMeta| {
            let (namespace, name) = name_of(object);
            Fact::Gone(Reference { kind, namespace, name }, object.uid.clone().unwrap_or_default())
        },
        listed: |names| Fact::Listed(kind, names),
        refused: |_: &watcher::Error| None,
    };
    follow.run(watcher(api, config), to).await;
}
