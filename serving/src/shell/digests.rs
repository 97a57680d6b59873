//! Finds the digests of the images of Revisions, some at a time.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ebb_cluster::{CallError, Calls, pacing::Retries};
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

/// Asks registries. Revisions are told apart by their uids, because a new one may have the name of one that is gone.
pub(super) struct Digests {
    calls: Calls,
    resolver: Resolver,
    asked: HashSet<String>,
    retries: Retries<String>,
    /// The uids of Revisions that have an image without a digest.
    failed: HashMap<Reference, String>,
    places: Arc<Semaphore>,
    tasks: JoinSet<Answered>,
}

/// What the registries said about the images of a Revision.
pub(super) struct Answered {
    pub(super) revision: Reference,
    /// The Revision's uid.
    pub(super) uid: String,
    /// Each image with its digest, or why it has none; nothing if they could not even be asked for.
    pub(super) images: Vec<(String, Result<String, String>)>,
}

impl Digests {
    pub(super) fn new(calls: Calls, resolver: Resolver) -> Self {
        Self {
            calls,
            resolver,
            asked: HashSet::new(),
            retries: Retries::new(RETRY),
            failed: HashMap::new(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            tasks: JoinSet::new(),
        }
    }

    /// Asks for the images of a Revision, each for at most `within`. Returns when they may be asked for, if that is not
    /// now.
    pub(super) fn want(
        &mut self,
        revision: &Reference,
        uid: &str,
        unresolved: Unresolved,
        within: Duration,
        now: Tick,
    ) -> Option<Tick> {
        let uid = uid.to_owned();
        if let Some(again) = self.retries.again(&uid).filter(|again| *again > now) {
            return Some(again);
        }
        if !self.asked.insert(uid.clone()) {
            return None;
        }
        let (calls, places, revision) = (self.calls.clone(), self.places.clone(), revision.clone());
        let resolver = self.resolver.with_limit(within);
        self.tasks.spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire_owned().await;
            let texts: Vec<String> = unresolved.images.keys().cloned().collect();
            let images = match caught(ask(&calls, &resolver, &revision.namespace, unresolved)).await {
                Ok(Ok(images)) => images,
                Ok(Err(error)) => {
                    warn!(namespace = revision.namespace, revision = revision.name, %error, "cannot read pull secrets; trying again");
                    Vec::new()
                }
                Err(panicked) => {
                    texts.into_iter().map(|image| (image, Err(panicked.to_string()))).collect()
                }
            };
            Answered { revision, uid, images }
        });
        None
    }

    /// Returns the next answer; `None` if none is awaited.
    pub(super) async fn next(&mut self) -> Option<Answered> {
        // A task does not panic.
        self.tasks.join_next().await?.ok()
    }

    /// Notes an answer.
    pub(super) fn answered(&mut self, Answered { revision, uid, images }: &Answered, now: Tick) {
        self.asked.remove(uid);
        if !images.is_empty() && images.iter().all(|(_, digest)| digest.is_ok()) {
            self.forget(revision);
            self.retries.settled(uid);
        } else {
            self.failed.insert(revision.clone(), uid.clone());
            self.retries.failed(uid.clone(), now, rand::random_range(0.5..1.0));
        }
    }

    /// Forgets a Revision that is gone.
    pub(super) fn forget(&mut self, revision: &Reference) {
        if let Some(uid) = self.failed.remove(revision) {
            self.retries.settled(&uid);
        }
    }

    /// Ends everything, because another program leads.
    pub(super) fn stop(&mut self) {
        self.tasks = JoinSet::new();
        self.asked.clear();
        self.failed.clear();
        self.retries.clear();
    }
}

/// Asks for each of the images.
async fn ask(
    calls: &Calls,
    resolver: &Resolver,
    namespace: &str,
    unresolved: Unresolved,
) -> Result<Vec<(String, Result<String, String>)>, CallError> {
    let Unresolved { images, pull_secrets, service_account } = unresolved;
    let keyring = keyring(calls, namespace, pull_secrets, &service_account).await?;
    let mut answers = Vec::with_capacity(images.len());
    for (text, image) in images {
        let digest = resolver.digest(&image, &keyring).await.map_err(|error| error.to_string());
        answers.push((text, digest));
    }
    Ok(answers)
}

/// Reads the credentials. What does not exist, or may not be read, is left out: the image may be public. Without an
/// answer nothing is known, and a private image would look as if it were missing.
async fn keyring(
    calls: &Calls,
    namespace: &str,
    mut names: Vec<String>,
    account: &str,
) -> Result<Keyring, CallError> {
    let is_none = |error: &CallError| error.is_missing() || error.is_forbidden();
    let accounts: Api<ServiceAccount> = Api::namespaced(calls.client.clone(), namespace);
    let account = if account.is_empty() { DEFAULT_ACCOUNT } else { account };
    match calls.call("service-account", accounts.get(account)).await {
        Ok(account) => names.extend(account.image_pull_secrets.into_iter().flatten().map(|one| one.name)),
        Err(error) if is_none(&error) => {}
        Err(error) => return Err(error),
    }
    let secrets: Api<Secret> = Api::namespaced(calls.client.clone(), namespace);
    let mut keyring = Keyring::default();
    for name in names.into_iter().filter(|name| !name.is_empty()).take(MOST_SECRETS) {
        let read = match calls.call("pull-secret", secrets.get(&name)).await {
            Ok(secret) => keyring.add(&secret),
            Err(error) if is_none(&error) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        if let Err(why) = read {
            warn!(namespace, secret = name, why, "cannot use a pull secret");
        }
    }
    Ok(keyring)
}
