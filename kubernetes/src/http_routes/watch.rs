//! Watches Ebb's HTTPRoutes, once the cluster has the kind.

use std::{
    collections::HashSet,
    future::{pending, ready},
    time::Duration,
};

use ebb_cluster::{
    Calls, in_words,
    watches::{Follow, Name, Seen as Outlet, config, is_refused, kept, name_of, watch_error},
};
use futures_util::TryStreamExt;
use kube::{
    Api, Client,
    core::{DeserializeGuard, DynamicObject, ObjectMeta, PartialObjectMeta},
    runtime::watcher::{self, watcher},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::warn;

use super::object::{self, GROUP_VERSION, KIND, LABEL, Seen};

/// Maximum number of pending events.
const CAPACITY: usize = 256;
/// Pause between two checks for the kind while the cluster does not have it.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Time limit for an answer of the API server.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Only the metadata of an HTTPRoute is requested.
type Metadata = PartialObjectMeta<DynamicObject>;

/// What the watch reports.
#[derive(Debug)]
pub(super) enum Event {
    /// An HTTPRoute with Ebb's label exists or changed; `None` if it is not Ebb's all the same.
    There(Name, Option<Seen>),
    /// The HTTPRoute with that uid was deleted.
    Gone(Name, String),
    /// These are all HTTPRoutes with Ebb's label.
    Listed(HashSet<Name>),
    /// HTTPRoutes cannot be listed, and why.
    Refused(String),
}

/// A running watch; dropping it stops it.
#[derive(Debug)]
pub(super) struct Watch {
    incoming: mpsc::Receiver<Event>,
    #[expect(dead_code, reason = "held for its drop alone")]
    task: JoinSet<()>,
}

impl Watch {
    /// Starts a watch.
    pub(super) fn begin(calls: &Calls) -> Self {
        let (to, incoming) = mpsc::channel(CAPACITY);
        let (client, seen) = (calls.client.clone(), Outlet { to, metrics: calls.metrics.clone() });
        let mut task = JoinSet::new();
        task.spawn(kept(seen.metrics.clone(), move || follow(client.clone(), seen.clone())));
        Self { incoming, task }
    }
}

/// Returns the next event; never completes if there is no watch.
pub(super) async fn next(watch: &mut Option<Watch>) -> Event {
    match watch {
        Some(watch) => match watch.incoming.recv().await {
            Some(event) => event,
            None => pending().await,
        },
        None => pending().await,
    }
}

async fn follow(client: Client, seen: Outlet<Event>) {
    loop {
        match exists(&client).await {
            Ok(true) => break,
            Ok(false) => {
                let why = format!(
                    "the cluster has no kind {KIND} of {GROUP_VERSION}: install the custom resources of the Gateway API"
                );
                if seen.to.send(Event::Refused(why)).await.is_err() {
                    return;
                }
            }
            Err(why) => warn!(why, "cannot find out whether the cluster has HTTPRoutes; trying again"),
        }
        sleep(LOOK_EVERY).await;
    }
    let (label, ours) = LABEL;
    let own = config().labels(&format!("{label}={ours}"));
    let api: Api<Metadata> = Api::all_with(client, &object::resource());
    let events = watcher(api, own).map_ok(guarded);
    let there =
        |object: Metadata| ready(Some(Event::There(name_of(&object.metadata), Seen::of(&object.metadata))));
    let gone = |object: &ObjectMeta| Event::Gone(name_of(object), object.uid.clone().unwrap_or_default());
    let refused =
        |error: &watcher::Error| is_refused(error, &[403, 404]).then(|| Event::Refused(watch_error(error)));
    let follow = Follow { kind: KIND.to_owned(), fact: there, gone, listed: Event::Listed, refused };
    follow.run(events, seen).await;
}

/// Returns whether the cluster has the kind.
async fn exists(client: &Client) -> Result<bool, String> {
    match timeout(ANSWER_WITHIN, client.list_api_group_resources(GROUP_VERSION)).await {
        Ok(Ok(known)) => Ok(known.resources.iter().any(|resource| resource.kind == KIND)),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(false),
        Ok(Err(error)) => Err(in_words(&error)),
        Err(_) => Err(format!("no answer within {ANSWER_WITHIN:?}")),
    }
}

/// Wraps metadata, which always parses, as [`Follow`] expects it.
fn guarded(event: watcher::Event<Metadata>) -> watcher::Event<DeserializeGuard<Metadata>> {
    use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
    let guard = |object| DeserializeGuard(Ok(object));
    match event {
        Apply(object) => Apply(guard(object)),
        Delete(object) => Delete(guard(object)),
        Init => Init,
        InitApply(object) => InitApply(guard(object)),
        InitDone => InitDone,
    }
}
