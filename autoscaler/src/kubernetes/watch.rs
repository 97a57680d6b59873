//! Follows the cluster's objects. Each stream begins anew, with back-off, whenever it ends; what was known stays.

use std::{collections::HashSet, fmt::Debug, pin::pin, sync::Arc};

use ebb_core::ServiceKey;
use futures_util::{Stream, StreamExt};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{ApiResource, DeserializeGuard, DynamicObject},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::{
    Metrics,
    facts::{PodFacts, SliceFacts, TargetFacts, TargetKey},
    kinds, watch_error,
    world::Listing,
};

/// A namespace and a name.
pub(crate) type Name = (String, String);

/// Something that is so from now on.
#[derive(Debug)]
pub(crate) enum Fact {
    Service(Box<Service>),
    ServiceGone(ServiceKey),
    Pod(Name, Option<Box<PodFacts>>),
    Slice(ServiceKey, String, Option<SliceFacts>),
    Target(TargetKey, Option<TargetFacts>),
    /// These are all that there are.
    Listed(Listing, HashSet<Name>),
    /// Objects of a kind cannot be known, and why.
    Unknowable(String, String),
    /// A slice that says no more whose it is.
    SliceLost(Name),
    /// The cluster's settings; `None` if there are none.
    Settings(Option<Box<ConfigMap>>),
}

/// Where facts go.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) to: mpsc::Sender<Fact>,
    pub(crate) metrics: Arc<Metrics>,
}

/// The watch ends, and begins again, after so many seconds: a connection that died without a word is noticed then.
const WATCH_SECONDS: u32 = 120;

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

pub(crate) async fn services(client: Client, facts: Facts) {
    let api: Api<DeserializeGuard<Service>> = Api::all(client);
    follow(
        watcher(api, config()),
        facts,
        Listing::Services,
        |service| Some(Fact::Service(Box::new(service))),
        |name| Fact::ServiceGone(ServiceKey::new(name.0, name.1)),
    )
    .await;
}

pub(crate) async fn pods(client: Client, facts: Facts) {
    let api: Api<DeserializeGuard<Pod>> = Api::all(client);
    let fact = |pod: Pod| Some(Fact::Pod(name_of(&pod), PodFacts::of(&pod).map(Box::new)));
    follow(watcher(api, config()), facts, Listing::Pods, fact, |name| Fact::Pod(name, None)).await;
}

pub(crate) async fn slices(client: Client, facts: Facts) {
    let api: Api<EndpointSlice> = Api::all(client);
    let mut events = pin!(watcher(api, config()).default_backoff());
    let mut seen = HashSet::new();
    while let Some(event) = events.next().await {
        let fact = match event {
            Ok(Event::Init) => {
                seen.clear();
                continue;
            }
            Ok(Event::InitDone) => Fact::Listed(Listing::Slices, std::mem::take(&mut seen)),
            Ok(Event::InitApply(slice)) => {
                seen.insert(name_of(&slice));
                let Some((service, is)) = SliceFacts::of(&slice) else { continue };
                Fact::Slice(service, slice.name_any(), Some(is))
            }
            Ok(Event::Apply(slice)) => match SliceFacts::of(&slice) {
                Some((service, is)) => Fact::Slice(service, slice.name_any(), Some(is)),
                None => Fact::SliceLost(name_of(&slice)),
            },
            Ok(Event::Delete(slice)) => {
                let Some((service, _)) = SliceFacts::of(&slice) else { continue };
                Fact::Slice(service, slice.name_any(), None)
            }
            Err(error) => {
                facts.failed("EndpointSlice", &error);
                continue;
            }
        };
        if facts.to.send(fact).await.is_err() {
            return;
        }
    }
}

/// Objects of one kind that may be scaled.
pub(crate) async fn targets(client: Client, facts: Facts, kind: String, resource: ApiResource) {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let key = |name: Name| TargetKey { kind: kind.clone(), namespace: name.0, name: name.1 };
    let is_plain = kinds::has_plain_replicas(&resource);
    let mut events = pin!(watcher(api, config()).default_backoff());
    let mut seen = HashSet::new();
    while let Some(event) = events.next().await {
        let fact = match event {
            Ok(Event::Init) => {
                seen.clear();
                continue;
            }
            Ok(Event::InitDone) => Fact::Listed(Listing::Targets(kind.clone()), std::mem::take(&mut seen)),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let name = name_of(&object);
                seen.insert(name.clone());
                let mut is = TargetFacts::of(&object);
                if !is_plain {
                    match kinds::replicas(&client, &resource, &name).await {
                        Ok(replicas) => is.replicas = replicas,
                        Err(error) => {
                            warn!(object = %key(name), %error, "cannot read its scale");
                            continue;
                        }
                    }
                }
                Fact::Target(key(name), Some(is))
            }
            Ok(Event::Delete(object)) => Fact::Target(key(name_of(&object)), None),
            Err(error) => {
                facts.failed(&kind, &error);
                // Without Kubernetes' own kinds nothing is known of most services: those are waited for.
                if is_plain || !is_refused(&error, &[403, 404, 405, 500]) {
                    continue;
                }
                Fact::Unknowable(kind.clone(), watch_error(&error))
            }
        };
        if facts.to.send(fact).await.is_err() {
            return;
        }
    }
}

/// The one ConfigMap with the cluster's settings.
pub(crate) async fn settings(client: Client, facts: Facts, namespace: String, name: &'static str) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let one = config().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watcher(api, one).default_backoff());
    let mut found = None;
    while let Some(event) = events.next().await {
        let fact = match event {
            Ok(Event::Init) => {
                found = None;
                continue;
            }
            Ok(Event::InitApply(map)) => {
                found = Some(Box::new(map));
                continue;
            }
            Ok(Event::InitDone) => Fact::Settings(found.take()),
            Ok(Event::Apply(map)) => Fact::Settings(Some(Box::new(map))),
            Ok(Event::Delete(_)) => Fact::Settings(None),
            Err(error) => {
                facts.failed("ConfigMap", &error);
                // Who may not read them has none.
                if !is_refused(&error, &[403]) {
                    continue;
                }
                Fact::Settings(None)
            }
        };
        if facts.to.send(fact).await.is_err() {
            return;
        }
    }
}

/// Passes on what happens to the objects of one kind. One that cannot be read stops none of the others.
async fn follow<K>(
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<K>>>>,
    facts: Facts,
    listing: Listing,
    fact: impl Fn(K) -> Option<Fact>,
    gone: impl Fn(Name) -> Fact,
) where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug,
{
    let kind = K::kind(&());
    let read = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => fact(object),
        Err(error) => {
            warn!(%kind, object = ?error.metadata.name, namespace = ?error.metadata.namespace, %error.error, "an object cannot be read; it is as if it were not there");
            None
        }
    };
    let mut events = pin!(events.default_backoff());
    let mut seen = HashSet::new();
    while let Some(event) = events.next().await {
        let fact = match event {
            Ok(Event::Init) => {
                seen.clear();
                continue;
            }
            Ok(Event::InitDone) => {
                info!(%kind, objects = seen.len(), "all are known");
                Some(Fact::Listed(listing.clone(), std::mem::take(&mut seen)))
            }
            Ok(Event::InitApply(guard)) => {
                seen.insert(guarded_name(&guard));
                read(guard)
            }
            Ok(Event::Apply(guard)) => read(guard),
            Ok(Event::Delete(guard)) => Some(gone(guarded_name(&guard))),
            Err(error) => {
                facts.failed(&kind, &error);
                None
            }
        };
        if let Some(fact) = fact
            && facts.to.send(fact).await.is_err()
        {
            return;
        }
    }
}

fn guarded_name<K: Resource<DynamicType = ()>>(guard: &DeserializeGuard<K>) -> Name {
    let metadata = match &guard.0 {
        Ok(object) => object.meta(),
        Err(error) => &error.metadata,
    };
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn name_of(object: &impl ResourceExt) -> Name {
    (object.namespace().unwrap_or_default(), object.name_any())
}

/// Whether the API server answered, with one of `codes`, that there is no list to be had.
fn is_refused(error: &watcher::Error, codes: &[u16]) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if codes.contains(&status.code))
}

impl Facts {
    fn failed(&self, kind: &str, error: &watcher::Error) {
        self.metrics.watch_failed(kind);
        warn!(%kind, error = watch_error(error), "the watch broke; beginning it anew");
    }
}
