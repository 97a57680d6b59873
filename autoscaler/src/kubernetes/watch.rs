//! Follows the cluster's objects. Each stream begins anew, with back-off, whenever it ends; what was known stays.

use std::{collections::HashSet, future::ready, pin::pin, sync::Arc, time::Duration};

use ebb_core::ServiceKey;
use futures_util::{Stream, StreamExt, future::OptionFuture};
use k8s_openapi::api::{
    core::v1::{self, ConfigMap, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DeserializeGuard, ObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, time::sleep};
use tracing::{error, info, warn};

use super::{
    Metrics,
    facts::{Pod, PodFacts, SliceFacts, Target, TargetFacts, TargetKey},
    kinds, watch_error,
    world::Listing,
};
use crate::caught::caught;

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

/// The watch ends, and begins again, after so many seconds, or soon after where the API server does not end it. A connection
/// that died without a word is noticed earlier, where it speaks HTTP/2.
const WATCH_SECONDS: u32 = 120;
/// Objects of a list that are read at once: a page of them is in memory as a whole.
const PAGE: u32 = 100;

fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE)
}

pub(crate) async fn services(client: Client, facts: Facts) {
    let fact = |service| ready(Some(Fact::Service(Box::new(service))));
    let gone = |service: &ObjectMeta| {
        let (namespace, name) = name_of(service);
        Fact::ServiceGone(ServiceKey::new(namespace, name))
    };
    follow(watcher(Api::all(client), config()), facts, Listing::Services, fact, gone, |_| None).await;
}

pub(crate) async fn pods(client: Client, facts: Facts) {
    let fact = |pod: Pod| ready(Some(Fact::Pod(name_of(&pod.metadata), PodFacts::of(&pod).map(Box::new))));
    let gone = |pod: &ObjectMeta| Fact::Pod(name_of(pod), None);
    let api = Api::all_with(client, &ApiResource::erase::<v1::Pod>(&()));
    follow(watcher(api, config()), facts, Listing::Pods, fact, gone, |_| None).await;
}

pub(crate) async fn slices(client: Client, facts: Facts) {
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
    follow(watcher(Api::all(client), config()), facts, Listing::Slices, fact, gone, |_| None).await;
}

/// Objects of one kind that may be scaled.
pub(crate) async fn targets(client: Client, facts: Facts, kind: String, resource: ApiResource) {
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
    // Without Kubernetes' own kinds nothing is known of most services: those are waited for.
    let refused = |error: &watcher::Error| {
        let is_unknowable = !is_plain && is_refused(error, &[403, 404, 405, 500]);
        is_unknowable.then(|| Fact::Unknowable(kind.clone(), watch_error(error)))
    };
    let listing = Listing::Targets(kind.clone());
    follow(watcher(api, config()), facts, listing, fact, gone, refused).await;
}

/// The one ConfigMap with the cluster's settings.
pub(crate) async fn settings(client: Client, facts: Facts, namespace: String, name: &'static str) {
    let one = config().fields(&format!("metadata.name={name}"));
    let events = watcher(Api::namespaced(client, &namespace), one);
    let fact = |map| ready(Some(Fact::Settings(Some(Box::new(map)))));
    // Who may not read them has none.
    let refused = |error: &watcher::Error| is_refused(error, &[403]).then_some(Fact::Settings(None));
    follow(events, facts, Listing::Settings, fact, |_| Fact::Settings(None), refused).await;
}

/// Between the panic of a watch and its next begin.
const PANIC_PAUSE: Duration = Duration::from_secs(5);

/// Keeps watching: a watch that panicked begins anew, and lists all there is again. Ends with it.
pub(crate) async fn kept<W: Future<Output = ()>>(metrics: Arc<Metrics>, watch: impl Fn() -> W) {
    while let Err(panicked) = caught(watch()).await {
        metrics.panicked("watch");
        error!(%panicked, "a watch failed; beginning it anew");
        sleep(PANIC_PAUSE).await;
    }
}

/// Passes on what happens to the objects of one kind. One that cannot be read stops none of the others.
///
/// `refused` says what follows where the watch cannot even begin.
async fn follow<K, F>(
    events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<K>>>>,
    facts: Facts,
    listing: Listing,
    fact: impl Fn(K) -> F,
    gone: impl Fn(&ObjectMeta) -> Fact,
    refused: impl Fn(&watcher::Error) -> Option<Fact>,
) where
    K: Resource + DeserializeOwned,
    F: Future<Output = Option<Fact>>,
{
    let kind = listing.kind().to_owned();
    let read = |guard: DeserializeGuard<K>| match guard.0 {
        Ok(object) => Some(fact(object)),
        Err(error) => {
            warn!(kind, object = ?error.metadata.name, namespace = ?error.metadata.namespace, %error.error, "an object cannot be read; it is as if it were not there");
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
                info!(kind, objects = seen.len(), "all are known");
                Some(Fact::Listed(listing.clone(), std::mem::take(&mut seen)))
            }
            Ok(Event::InitApply(guard)) => {
                seen.insert(name_of(guard.meta()));
                OptionFuture::from(read(guard)).await.flatten()
            }
            Ok(Event::Apply(guard)) => OptionFuture::from(read(guard)).await.flatten(),
            Ok(Event::Delete(guard)) => Some(gone(guard.meta())),
            Err(error) => {
                facts.metrics.watch_failed(&kind);
                warn!(kind, error = watch_error(&error), "the watch broke; beginning it anew");
                refused(&error)
            }
        };
        if let Some(fact) = fact
            && facts.to.send(fact).await.is_err()
        {
            return;
        }
    }
}

fn name_of(object: &ObjectMeta) -> Name {
    (object.namespace.clone().unwrap_or_default(), object.name.clone().unwrap_or_default())
}

/// Whether the API server answered, with one of `codes`, that there is no list to be had.
fn is_refused(error: &watcher::Error, codes: &[u16]) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if codes.contains(&status.code))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::stream;
    use prometheus_client::registry::Registry;
    use serde_json::{Value, from_value, json};

    use super::*;

    #[tokio::test]
    async fn an_object_that_cannot_be_read_stops_none_of_the_others() {
        let pod = |name: &str, spec: Value| -> DeserializeGuard<Pod> {
            from_value(json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec})).unwrap()
        };
        let odd = || pod("odd", json!({"containers": "none"}));
        let good = |name| pod(name, json!({"containers": []}));
        let events = vec![
            Event::Init,
            Event::InitApply(odd()),
            Event::InitApply(good("a")),
            Event::InitDone,
            Event::Apply(odd()),
            Event::Apply(good("b")),
            Event::Delete(odd()),
        ];
        let (to, mut told) = mpsc::channel(16);
        let facts = Facts { to, metrics: Arc::default() };
        let fact = |pod: Pod| ready(Some(Fact::Pod(name_of(&pod.metadata), None)));
        let gone = |pod: &ObjectMeta| Fact::ServiceGone(ServiceKey::new("gone", name_of(pod).1));
        follow(stream::iter(events.into_iter().map(Ok)), facts, Listing::Pods, fact, gone, |_| None).await;
        let mut words = Vec::new();
        while let Some(fact) = told.recv().await {
            words.push(match fact {
                Fact::Pod((_, name), _) => name,
                Fact::Listed(Listing::Pods, names) => format!("{} are listed", names.len()),
                Fact::ServiceGone(key) => key.to_string(),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(words, ["a", "2 are listed", "b", "gone/odd"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_panics_begins_anew_and_one_that_ends_has_ended() {
        let (metrics, begun) = (Arc::new(Metrics::default()), AtomicU32::new(0));
        let watch = || async {
            assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "a bug");
        };
        kept(metrics.clone(), watch).await;
        assert_eq!(begun.into_inner(), 3);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("api_task_panics_total{task=\"watch\"} 2\n"), "{text}");
    }
}
