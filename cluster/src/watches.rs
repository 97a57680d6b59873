//! Follows objects. A watch that ends is restarted with back-off; objects that are already known stay known.

use std::{collections::HashSet, pin::pin, sync::Arc, time::Duration};

use ebb_proxy::program::caught;
use futures_util::{Stream, StreamExt, future::OptionFuture};
use kube::{
    Client, Resource,
    core::{DeserializeGuard, ObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, task::JoinSet, time::sleep};
use tracing::{error, info, warn};

use crate::{ApiMetrics, in_words};

/// A namespace and a name.
pub type Name = (String, String);

/// The destination of events.
#[derive(Debug)]
pub struct Seen<T> {
    /// The channel for events.
    pub to: mpsc::Sender<T>,
    /// Counts watches that ended with an error.
    pub metrics: Arc<ApiMetrics>,
}

impl<T> Clone for Seen<T> {
    fn clone(&self) -> Self {
        Self { to: self.to.clone(), metrics: self.metrics.clone() }
    }
}

/// The API server ends a watch after this many seconds, or the client does soon after; then it restarts. With HTTP/2,
/// a connection that died silently is detected earlier.
const WATCH_SECONDS: u32 = 120;
/// Number of objects per page of a list, because a whole page is in memory.
const PAGE: u32 = 100;
/// Pause before restarting a watch that panicked.
const PANIC_PAUSE: Duration = Duration::from_secs(5);

/// Returns the configuration of every watch.
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE)
}

/// What to do when objects of one kind change.
pub struct Follow<Fact, Gone, Listed, Refused> {
    /// The kind's name in the API.
    pub kind: String,
    /// Called for an object that exists or has changed.
    pub fact: Fact,
    /// Called for an object that was deleted.
    pub gone: Gone,
    /// Called with the names of all objects.
    pub listed: Listed,
    /// Called if the watch cannot even start.
    pub refused: Refused,
}

impl<Fact, Gone, Listed, Refused> Follow<Fact, Gone, Listed, Refused> {
    /// Handles `events`. An object that cannot be parsed does not affect others.
    pub async fn run<K, T, F>(
        self,
        events: impl Stream<Item = watcher::Result<Event<DeserializeGuard<K>>>>,
        seen: Seen<T>,
    ) where
        K: Resource + DeserializeOwned,
        Fact: Fn(K) -> F,
        F: Future<Output = Option<T>>,
        Gone: Fn(&ObjectMeta) -> T,
        Listed: Fn(HashSet<Name>) -> T,
        Refused: Fn(&watcher::Error) -> Option<T>,
    {
        let kind = self.kind;
        let read = |guard: DeserializeGuard<K>| match guard.0 {
            Ok(object) => Some((self.fact)(object)),
            Err(error) => {
                warn!(kind, object = ?error.metadata.name, namespace = ?error.metadata.namespace, %error.error, "cannot read an object; ignoring it");
                None
            }
        };
        let mut events = pin!(events.default_backoff());
        let mut names = HashSet::new();
        while let Some(event) = events.next().await {
            let fact = match event {
                Ok(Event::Init) => {
                    names.clear();
                    continue;
                }
                Ok(Event::InitDone) => {
                    info!(kind, objects = names.len(), "read the initial list");
                    Some((self.listed)(std::mem::take(&mut names)))
                }
                Ok(Event::InitApply(guard)) => {
                    names.insert(name_of(guard.meta()));
                    OptionFuture::from(read(guard)).await.flatten()
                }
                Ok(Event::Apply(guard)) => OptionFuture::from(read(guard)).await.flatten(),
                Ok(Event::Delete(guard)) => Some((self.gone)(guard.meta())),
                Err(error) => {
                    seen.metrics.watch_failed(&kind);
                    warn!(kind, error = watch_error(&error), "the watch ended; restarting it");
                    (self.refused)(&error)
                }
            };
            if let Some(fact) = fact
                && seen.to.send(fact).await.is_err()
            {
                return;
            }
        }
    }
}

/// Starts a watch in `tasks`, and keeps it running.
pub fn keep<T, W>(
    tasks: &mut JoinSet<()>,
    client: Client,
    seen: Seen<T>,
    watch: impl Fn(Client, Seen<T>) -> W + Send + 'static,
) where
    T: Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    tasks.spawn(kept(seen.metrics.clone(), move || watch(client.clone(), seen.clone())));
}

/// Keeps a watch running: if it panics, it is restarted and lists all objects again. Returns when the watch ends.
pub async fn kept<W: Future<Output = ()>>(metrics: Arc<ApiMetrics>, watch: impl Fn() -> W) {
    while let Err(panicked) = caught(watch()).await {
        metrics.panicked("watch");
        error!(%panicked, "a watch failed; restarting it");
        sleep(PANIC_PAUSE).await;
    }
}

/// Returns the name of an object; the namespace is empty if it has none.
pub fn name_of(object: &ObjectMeta) -> Name {
    (object.namespace.clone().unwrap_or_default(), object.name.clone().unwrap_or_default())
}

/// Returns whether the API server refused the list with one of `codes`.
pub fn is_refused(error: &watcher::Error, codes: &[u16]) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if codes.contains(&status.code))
}

/// Returns why a watch ended.
pub fn watch_error(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => in_words(error),
        watcher::Error::WatchError(status) => status.message.clone(),
        none @ watcher::Error::NoResourceVersion => none.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::ready,
        sync::atomic::{AtomicU32, Ordering},
    };

    use futures_util::stream;
    use k8s_openapi::api::core::v1::Pod;
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
        let follow = Follow {
            kind: "Pod".to_owned(),
            fact: |pod: Pod| ready(Some(name_of(&pod.metadata).1)),
            gone: |pod: &ObjectMeta| format!("{} is gone", name_of(pod).1),
            listed: |names: HashSet<Name>| format!("{} are listed", names.len()),
            refused: |_: &watcher::Error| None,
        };
        follow.run(stream::iter(events.into_iter().map(Ok)), Seen { to, metrics: Arc::default() }).await;
        let mut words = Vec::new();
        while let Some(fact) = told.recv().await {
            words.push(fact);
        }
        assert_eq!(words, ["a", "2 are listed", "b", "odd is gone"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_panics_begins_anew_and_one_that_ends_has_ended() {
        let (metrics, begun) = (Arc::new(ApiMetrics::default()), AtomicU32::new(0));
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
