//! Finds the digests of the images of Revisions, some at a time.

use std::{collections::HashSet, sync::Arc, time::Duration};

use ebb_cluster::{Calls, pacing::Retries};
use ebb_core::Tick;
use ebb_proxy::program::caught;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use tokio::{sync::Semaphore, task::JoinSet};
use tracing::warn;

use crate::{
    outcome::Reference,
    registry::{Keyring, Resolver},
    world::Unresolved,
};

/// Maximum number of Revisions whose images are asked for at once.
const AT_ONCE: usize = 32;
/// Shortest and longest pause between two attempts for one Revision.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];
/// Maximum number of Secrets that are read for one Revision.
const MOST_SECRETS: usize = 32;
/// The `ServiceAccount` of a pod that names none.
const DEFAULT_ACCOUNT: &str = "default";

/// Asks registries.
pub(super) struct Digests {
    calls: Calls,
    resolver: Resolver,
    asked: HashSet<Reference>,
    retries: Retries<Reference>,
    places: Arc<Semaphore>,
    tasks: JoinSet<Answered>,
}

/// What the registries said about the images of a Revision.
pub(super) struct Answered {
    pub(super) revision: Reference,
    /// The Revision's uid.
    pub(super) uid: String,
    /// Each image with its digest, or why it has none.
    pub(super) images: Vec<(String, Result<String, String>)>,
}

impl Digests {
    pub(super) fn new(calls: Calls, resolver: Resolver) -> Self {
        Self {
            calls,
            resolver,
            asked: HashSet::new(),
            retries: Retries::new(RETRY),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: JoinSet::new(),
        }
    }

    /// Asks for the images of a Revision, each for at most `within`, unless that is being done or must wait.
    pub(super) fn want(
        &mut self,
        revision: Reference,
        uid: String,
        unresolved: Unresolved,
        within: Duration,
        now: Tick,
    ) {
        if !self.retries.may_try(&revision, now) || !self.asked.insert(revision.clone()) {
            return;
        }
        let (calls, places) = (self.calls.clone(), self.places.clone());
        let resolver = self.resolver.with_limit(within);
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire_owned().await;
            let texts: Vec<String> = unresolved.images.keys().cloned().collect();
            let found = caught(ask(&calls, &resolver, &revision.namespace, unresolved)).await;
            let images = found.unwrap_or_else(|panicked| {
                texts.into_iter().map(|image| (image, Err(panicked.to_string()))).collect()
            });
            Answered { revision, uid, images }
        });
    }

    /// Returns the next answer; `None` if none is awaited.
    pub(super) async fn next(&mut self) -> Option<Answered> {
        // A task does not panic.
        self.tasks.join_next().await?.ok()
    }

    /// Notes an answer. Returns when to ask again, if an image is not known.
    pub(super) fn answered(&mut self, answered: &Answered, now: Tick) -> Option<Tick> {
        self.asked.remove(&answered.revision);
        if answered.images.iter().all(|(_, digest)| digest.is_ok()) {
            self.retries.settled(&answered.revision);
            return None;
        }
        Some(self.retries.failed(answered.revision.clone(), now, rand::random_range(0.5..1.0)).again)
    }

    /// Ends everything, because another program leads.
    pub(super) fn stop(&mut self) {
        self.tasks = JoinSet::new();
        self.asked.clear();
        self.retries.clear();
    }
}

/// Asks for each of the images.
async fn ask(
    calls: &Calls,
    resolver: &Resolver,
    namespace: &str,
    unresolved: Unresolved,
) -> Vec<(String, Result<String, String>)> {
    let Unresolved { images, pull_secrets, service_account } = unresolved;
    let keyring = keyring(calls, namespace, pull_secrets, &service_account).await;
    let mut answers = Vec::with_capacity(images.len());
    for (text, image) in images {
        let digest = resolver.digest(&image, &keyring).await.map_err(|error| error.to_string());
        answers.push((text, digest));
    }
    answers
}

/// Reads the credentials. What cannot be read is left out: the image may be public.
async fn keyring(calls: &Calls, namespace: &str, mut names: Vec<String>, account: &str) -> Keyring {
    let accounts: Api<ServiceAccount> = Api::namespaced(calls.client.clone(), namespace);
    let account = if account.is_empty() { DEFAULT_ACCOUNT } else { account };
    match calls.call("service-account", accounts.get(account)).await {
        Ok(account) => names.extend(account.image_pull_secrets.into_iter().flatten().map(|one| one.name)),
        Err(error) if error.is_missing() => {}
        Err(error) => warn!(namespace, account, %error, "cannot read a ServiceAccount's pull secrets"),
    }
    let secrets: Api<Secret> = Api::namespaced(calls.client.clone(), namespace);
    let mut keyring = Keyring::default();
    for name in names.into_iter().filter(|name| !name.is_empty()).take(MOST_SECRETS) {
        let read = match calls.call("pull-secret", secrets.get(&name)).await {
            Ok(secret) => keyring.add(&secret),
            Err(error) => Err(error.to_string()),
        };
        if let Err(why) = read {
            warn!(namespace, secret = name, why, "cannot use a pull secret");
        }
    }
    keyring
}
