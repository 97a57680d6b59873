//! Watches the cluster and reports facts.

use std::{collections::HashSet, future::ready};

use ebb_cluster::watches::{Follow, Name, Seen, config, is_refused, name_of, watch_error};
use ebb_core::{ServiceKey, link::CertificateEntry};
use k8s_openapi::api::{
    core::v1::{self, ConfigMap, Namespace, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    core::{ApiResource, ObjectMeta},
    runtime::watcher::{self, watcher},
};
use tracing::warn;

use super::{
    facts::{PodFacts, PodObject, SliceFacts, Target, TargetFacts, TargetKey},
    http_routes::Trouble,
    kinds,
    world::{ALLOWED_HOSTS, Listing},
};

/// A fact about the cluster.
#[derive(Debug)]
pub(crate) enum Fact {
    Service(Box<Service>),
    ServiceGone(ServiceKey),
    Pod(Name, Option<Box<PodFacts>>),
    Slice(ServiceKey, String, Option<SliceFacts>),
    Target(TargetKey, Option<TargetFacts>),
    /// These are all objects of the listing.
    Listed(Listing, HashSet<Name>),
    /// Objects of a kind cannot be watched, and why.
    Unknowable(String, String),
    /// A slice that no longer names its Service.
    SliceLost(Name),
    /// A Namespace, its uid, and the hosts that it is restricted to, as written.
    Namespace(String, String, Option<String>),
    NamespaceGone(String),
    /// The certificate of a Secret, or why it has no valid one.
    Certificate(ServiceKey, Result<CertificateEntry, String>),
    /// Why a Service lacks HTTPRoutes; `None` if it has them.
    HttpRoute(ServiceKey, Option<Trouble>),
    /// Whether HTTPRoutes can be listed, or why not.
    HttpRoutes(Result<(), String>),
    /// The cluster's settings; `None` if there are none.
    Settings(Option<Box<ConfigMap>>),
}

pub(crate) async fn services(client: Client, seen: Seen<Fact>) {
    let fact = |service| ready(Some(Fact::Service(Box::new(service))));
    let gone = |service: &ObjectMeta| {
        let (namespace, name) = name_of(service);
        Fact::ServiceGone(ServiceKey::new(namespace, name))
    };
    follow(Listing::Services, fact, gone, none).run(watcher(Api::all(client), config()), seen).await;
}

pub(crate) async fn pods(client: Client, seen: Seen<Fact>) {
    let fact =
        |pod: PodObject| ready(Some(Fact::Pod(name_of(&pod.metadata), PodFacts::of(&pod).map(Box::new))));
    let gone = |pod: &ObjectMeta| Fact::Pod(name_of(pod), None);
    let api = Api::all_with(client, &ApiResource::erase::<v1::Pod>(&()));
    follow(Listing::Pods, fact, gone, none).run(watcher(api, config()), seen).await;
}

pub(crate) async fn namespaces(client: Client, seen: Seen<Fact>) {
    let fact = |namespace: Namespace| {
        let ObjectMeta { name, uid, annotations, .. } = namespace.metadata;
        let allowed = annotations.and_then(|mut all| all.remove(ALLOWED_HOSTS));
        ready(Some(Fact::Namespace(name.unwrap_or_default(), uid.unwrap_or_default(), allowed)))
    };
    let gone = |namespace: &ObjectMeta| Fact::NamespaceGone(name_of(namespace).1);
    let refused = |error: &watcher::Error| {
        is_refused(error, &[403]).then(|| Fact::Unknowable("Namespace".to_owned(), watch_error(error)))
    };
    follow(Listing::Namespaces, fact, gone, refused).run(watcher(Api::all(client), config()), seen).await;
}

pub(crate) async fn slices(client: Client, seen: Seen<Fact>) {
    let fact = |slice: EndpointSlice| {
        let name = name_of(&slice.metadata);
        ready(Some(match SliceFacts::of(&slice) {
            Some((service, is)) => Fact::Slice(service, name.1, Some(is)),
            None => Fact::SliceLost(name),
        }))
    };
    let gone = |slice: &ObjectMeta| match SliceFacts::service(slice) {
        Some(service) => Fact::Slice(service, name_of(slice).1, None),
        None => Fact::SliceLost(name_of(slice)),
    };
    follow(Listing::Slices, fact, gone, none).run(watcher(Api::all(client), config()), seen).await;
}

/// Watches objects of one kind of scale target.
pub(crate) async fn targets(client: Client, seen: Seen<Fact>, kind: String, resource: ApiResource) {
    let api = Api::all_with(client.clone(), &resource);
    let is_plain = kinds::has_plain_replicas(&resource);
    let key = |name: Name| TargetKey { kind: kind.clone(), namespace: name.0, name: name.1 };
    let (key, client, resource) = (&key, &client, &resource);
    let fact = |object: Target| async move {
        let name = name_of(&object.metadata);
        let mut is = TargetFacts::of(&object);
        if !is_plain {
            match kinds::replicas(client, resource, &name).await {
                Ok(replicas) => is.replicas = replicas,
                Err(error) => {
                    warn!(object = %key(name), error, "cannot read its scale");
                    return None;
                }
            }
        }
        Some(Fact::Target(key(name), Some(is)))
    };
    let gone = |object: &ObjectMeta| Fact::Target(key(name_of(object)), None);
    // Without Kubernetes' own kinds most services are unknown, so those are waited for.
    let refused = |error: &watcher::Error| {
        let is_unknowable = !is_plain && is_refused(error, &[403, 404, 405, 500]);
        is_unknowable.then(|| Fact::Unknowable(kind.clone(), watch_error(error)))
    };
    let listing = Listing::Targets(kind.clone());
    follow(listing, fact, gone, refused).run(watcher(api, config()), seen).await;
}

/// Watches the ConfigMap with the cluster's settings.
pub(crate) async fn settings(client: Client, seen: Seen<Fact>, namespace: String, name: &'static str) {
    let one = config().fields(&format!("metadata.name={name}"));
    let events = watcher(Api::namespaced(client, &namespace), one);
    let fact = |map| ready(Some(Fact::Settings(Some(Box::new(map)))));
    // If reading them is forbidden, there are none.
    let refused = |error: &watcher::Error| is_refused(error, &[403]).then_some(Fact::Settings(None));
    follow(Listing::Settings, fact, |_: &ObjectMeta| Fact::Settings(None), refused).run(events, seen).await;
}

/// Turns events of the objects of `listing` into facts.
fn follow<F, G, R>(
    listing: Listing,
    fact: F,
    gone: G,
    refused: R,
) -> Follow<F, G, impl Fn(HashSet<Name>) -> Fact, R> {
    let kind = listing.kind().to_owned();
    Follow { kind, fact, gone, listed: move |names| Fact::Listed(listing.clone(), names), refused }
}

/// Returns no fact for a watch that cannot start.
fn none(_: &watcher::Error) -> Option<Fact> {
    None
}
