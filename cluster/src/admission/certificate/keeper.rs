//! The shell around the certificate: reads it from a Secret, and writes its authorities into two webhook
//! configurations.
//!
//! Every replica follows the Secret and serves its certificate. Only the leader writes, and only what has changed.

use std::{borrow::Cow, fmt::Debug, pin::pin, time::Duration};

use ebb_core::Tick;
use ebb_proxy::WallClock;
use futures_util::{Stream, StreamExt};
use json_patch::{AddOperation, PatchOperation, TestOperation, jsonptr::PointerBuf};
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{
            MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
        },
        core::v1::Secret,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
    core::ClusterResourceScope,
    runtime::{WatchStreamExt, watcher, watcher::watch_object},
};
use serde::de::DeserializeOwned;
use serde_json::json;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    due::{Due, due},
    material::Material,
};
use crate::admission::{Place, served::Served};

/// How often to check what is due if nothing happens.
const LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);
/// Time limit for writing everything, at most three objects.
const ACT_WITHIN: Duration = Duration::from_secs(15);
/// Pause after a failed write.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// Time after which every API server has read the authorities from the configurations.
const SPREAD: Duration = Duration::from_secs(60);

/// Maintains the certificate.
pub(in crate::admission) struct Keeper {
    pub(in crate::admission) client: Client,
    pub(in crate::admission) place: Place,
    pub(in crate::admission) clock: WallClock,
    pub(in crate::admission) leads: watch::Receiver<bool>,
    pub(in crate::admission) served: Served,
    /// Becomes true when a certificate is served.
    pub(in crate::admission) ready: watch::Sender<bool>,
}

/// An object, if it exists.
type Existing<K> = Option<Box<K>>;

/// What has been seen; `None` means not yet.
#[derive(Default)]
struct Seen {
    secret: Option<Existing<Secret>>,
    mutating: Option<Believers>,
    validating: Option<Believers>,
    /// Since when all of the Secret's authorities are in both configurations.
    spread_since: Option<Tick>,
}

/// The webhooks of a configuration, and the authorities that each of them trusts.
#[derive(Clone, Debug, Default, PartialEq)]
struct Believers(Vec<(String, Option<ByteString>)>);

#[derive(Debug, Error)]
enum WriteError {
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot write {0} {1}: {2}")]
    Api(Cow<'static, str>, &'static str, #[source] kube::Error),
}

impl Keeper {
    /// Runs until it is dropped.
    pub(in crate::admission) async fn run(mut self) {
        let mut secrets = pin!(watched::<Secret>(
            Api::namespaced(self.client.clone(), &self.place.namespace),
            self.place.secret
        ));
        let mut mutating = pin!(watched::<MutatingWebhookConfiguration>(
            Api::all(self.client.clone()),
            self.place.configuration
        ));
        let mut validating = pin!(watched::<ValidatingWebhookConfiguration>(
            Api::all(self.client.clone()),
            self.place.configuration
        ));
        let mut seen = Seen::default();
        let mut pause = LOOK_AGAIN;
        loop {
            tokio::select! {
                Some(secret) = secrets.next() => {
                    self.serve(secret.as_ref());
                    seen.secret = Some(secret.map(Box::new));
                }
                Some(found) = mutating.next() => seen.mutating = Some(Believers::of(found.as_ref())),
                Some(found) = validating.next() => seen.validating = Some(Believers::of(found.as_ref())),
                // If the sender has ended, this program does not lead.
                Ok(()) = self.leads.changed() => {}
                () = sleep(pause) => {}
            }
            pause = if *self.leads.borrow_and_update() {
                match timeout(ACT_WITHIN, self.act(&mut seen)).await {
                    Ok(Ok(pause)) => pause,
                    Ok(Err(error)) => {
                        warn!(%error, "cannot keep the webhooks' certificate up to date");
                        TRY_AGAIN
                    }
                    Err(_) => {
                        warn!(
                            "cannot keep the webhooks' certificate up to date: no answer within {ACT_WITHIN:?}"
                        );
                        TRY_AGAIN
                    }
                }
            } else {
                // The configurations may change while another program leads.
                seen.spread_since = None;
                LOOK_AGAIN
            };
        }
    }

    /// Serves the certificate in the Secret. If there is none, nothing changes.
    fn serve(&self, secret: Option<&Secret>) {
        if let Some(key) = secret.and_then(Material::read).and_then(|material| material.certified_key()) {
            self.served.show(key);
            if !self.ready.send_replace(true) {
                info!("the webhooks have a certificate");
            }
        }
    }

    /// Writes what is due. Returns when to check again if nothing happens.
    async fn act(&self, seen: &mut Seen) -> Result<Duration, WriteError> {
        let Some(found) = &seen.secret else { return Ok(LOOK_AGAIN) };
        let names = self.place.names();
        let material = found.as_deref().and_then(Material::read);
        if let Some(material) = &material {
            self.spread(&material.bundle(), seen).await?;
        }
        let now = self.clock.now();
        let is_spread = seen.spread_since.is_some_and(|since| now.since(since) >= SPREAD);
        let wanted = match due(material.as_ref(), &names[0], now, is_spread) {
            Due::Nothing if seen.spread_since.is_some() && !is_spread => return Ok(SPREAD),
            Due::Nothing => return Ok(LOOK_AGAIN),
            Due::Everything => Material::generate(&names, now)?,
            Due::Authority => made(material)?.with_authority(now)?,
            Due::Certificate => made(material)?.with_certificate(&names, now)?,
        };
        self.write(seen, &wanted).await?;
        Ok(TRY_AGAIN)
    }

    /// Writes `bundle` into the configurations, and records since when they contain it.
    async fn spread(&self, bundle: &str, seen: &mut Seen) -> Result<(), WriteError> {
        let (Some(mutating), Some(validating)) = (&seen.mutating, &seen.validating) else { return Ok(()) };
        let patches = (mutating.patch(bundle), validating.patch(bundle));
        if patches != (None, None) {
            seen.spread_since = None;
        }
        if let Some(patch) = patches.0 {
            let told: MutatingWebhookConfiguration = self.tell(patch).await?;
            seen.mutating = Some(Believers::of(Some(&told)));
        }
        if let Some(patch) = patches.1 {
            let told: ValidatingWebhookConfiguration = self.tell(patch).await?;
            seen.validating = Some(Believers::of(Some(&told)));
        }
        seen.spread_since.get_or_insert(self.clock.now());
        Ok(())
    }

    /// Changes a configuration. A conflict is an error like any other: the configuration is then read again.
    async fn tell<K>(&self, patch: json_patch::Patch) -> Result<K, WriteError>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let api = Api::<K>::all(self.client.clone());
        let configuration = self.place.configuration;
        let told = api.patch(configuration, &self.parameters(), &Patch::Json::<()>(patch)).await;
        let told = told.map_err(|error| WriteError::Api(K::kind(&()), configuration, error))?;
        info!(kind = %K::kind(&()), "wrote the webhooks' authority");
        Ok(told)
    }

    /// Writes the Secret, if it has not changed since it was read.
    async fn write(&self, seen: &mut Seen, wanted: &Material) -> Result<(), WriteError> {
        let Place { namespace, secret: name, manager, .. } = &self.place;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let data = wanted.to_data();
        let written = if let Some(Some(secret)) = seen.secret.as_ref().map(Option::as_deref) {
            let metadata = json!({ "resourceVersion": secret.resource_version() });
            let patch = Patch::Merge(json!({ "metadata": metadata, "data": data }));
            api.patch(name, &self.parameters(), &patch).await
        } else {
            let metadata = ObjectMeta { name: Some((*name).to_owned()), ..ObjectMeta::default() };
            let secret = Secret { metadata, data: Some(data), ..Secret::default() };
            let parameters =
                PostParams { field_manager: Some((*manager).to_owned()), ..PostParams::default() };
            api.create(&parameters, &secret).await
        };
        match written {
            Ok(secret) => {
                info!("wrote the webhooks' certificate");
                self.serve(Some(&secret));
                seen.secret = Some(Some(Box::new(secret)));
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                debug!("another autoscaler wrote the certificate first");
                Ok(())
            }
            Err(error) => Err(WriteError::Api("Secret".into(), name, error)),
        }
    }

    fn parameters(&self) -> PatchParams {
        PatchParams { field_manager: Some(self.place.manager.to_owned()), ..PatchParams::default() }
    }
}

/// Returns the material. It exists, because only parts of it are renewed.
fn made(material: Option<Material>) -> Result<Material, rcgen::Error> {
    material.ok_or(rcgen::Error::CouldNotParseKeyPair)
}

/// Streams the object of that name and its changes; `None` while it does not exist.
fn watched<K>(api: Api<K>, name: &str) -> impl Stream<Item = Option<K>> + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let tell =
        |error: &watcher::Error| warn!(%error, "cannot watch what the webhooks' certificate depends on");
    watch_object(api, name)
        .default_backoff()
        .filter_map(move |seen| std::future::ready(seen.inspect_err(tell).ok()))
}

/// A webhook configuration.
trait Configures {
    fn webhooks(&self) -> Vec<(String, &WebhookClientConfig)>;
}

impl Configures for MutatingWebhookConfiguration {
    fn webhooks(&self) -> Vec<(String, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.clone(), &webhook.client_config)).collect()
    }
}

impl Configures for ValidatingWebhookConfiguration {
    fn webhooks(&self) -> Vec<(String, &WebhookClientConfig)> {
        self.webhooks.iter().flatten().map(|webhook| (webhook.name.clone(), &webhook.client_config)).collect()
    }
}

impl Believers {
    /// Returns the webhooks of a configuration, or none if it does not exist.
    fn of(configuration: Option<&impl Configures>) -> Self {
        let webhooks = configuration.map(Configures::webhooks).unwrap_or_default();
        Self(webhooks.into_iter().map(|(name, client)| (name, client.ca_bundle.clone())).collect())
    }

    /// Returns a patch after which all webhooks trust `bundle`, or `None` if they do already. It fails if the
    /// webhooks have changed by then.
    fn patch(&self, bundle: &str) -> Option<json_patch::Patch> {
        let bundle = ByteString(bundle.as_bytes().to_vec());
        let operations: Vec<PatchOperation> = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, (_, believed))| believed.as_ref() != Some(&bundle))
            .flat_map(|(index, (name, _))| {
                let index = index.to_string();
                let path = |rest: &[&str]| {
                    PointerBuf::from_tokens(["webhooks", &index].into_iter().chain(rest.iter().copied()))
                };
                [
                    PatchOperation::Test(TestOperation { path: path(&["name"]), value: json!(name) }),
                    PatchOperation::Add(AddOperation {
                        path: path(&["clientConfig", "caBundle"]),
                        value: json!(bundle),
                    }),
                ]
            })
            .collect();
        (!operations.is_empty()).then_some(json_patch::Patch(operations))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration() -> serde_json::Value {
        let webhook = |name: &str| {
            json!({
                "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": {"service": {"namespace": "ebb-system", "name": "ebb-autoscaler"}},
            })
        };
        json!({"metadata": {"name": "ebb"}, "webhooks": [webhook("pods.ebb.dev"), webhook("services.ebb.dev")]})
    }

    fn believers(configuration: &serde_json::Value) -> Believers {
        let configuration: MutatingWebhookConfiguration =
            serde_json::from_value(configuration.clone()).unwrap();
        Believers::of(Some(&configuration))
    }

    #[test]
    fn every_webhook_is_told_once_whom_to_believe() {
        let mut configuration = configuration();
        for bundle in ["one", "one and two", "two"] {
            let patch = believers(&configuration).patch(bundle).unwrap();
            json_patch::patch(&mut configuration, &patch).unwrap();
            assert_eq!(believers(&configuration).patch(bundle), None, "nothing is written twice");
        }
        assert_eq!(
            configuration["webhooks"][1]["clientConfig"]["caBundle"],
            json!(ByteString(b"two".to_vec()))
        );
        configuration["webhooks"][0]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
        assert_eq!(believers(&configuration).patch("two").unwrap().0.len(), 2, "only what differs");
    }

    #[test]
    fn webhooks_that_have_changed_meanwhile_are_left_alone() {
        let patch = believers(&configuration()).patch("one").unwrap();
        let mut other = configuration();
        other["webhooks"].as_array_mut().unwrap().reverse();
        assert!(json_patch::patch(&mut other, &patch).is_err());
    }

    #[test]
    fn no_configuration_is_nobody_to_tell() {
        assert_eq!(Believers::of(None::<&ValidatingWebhookConfiguration>).patch("one"), None);
    }
}
