//! Writes to the API, each with a deadline.

use std::{fmt, sync::Arc, time::Duration};

use ebb_core::ServiceKey;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    FIELD_MANAGER, Metrics,
    facts::{DELETION_COST, SliceFacts},
    in_words, kinds,
    world::Step,
};
use crate::caught::Panicked;

/// The API server must have answered by then.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Pods that are marked at once, before some of them go.
const MARKED_AT_ONCE: usize = 16;
/// The annotation of a template whose pods are to have their sidecar.
const RESTARTED_FOR: &str = "ebb.dev/restarted-for";

/// Writes what was decided.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) metrics: Arc<Metrics>,
}

/// As ours.
fn signed() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}

/// What came of it: what is so from now on, before the watch tells.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) service: Option<Box<Service>>,
    pub(crate) slices: Vec<(String, Option<SliceFacts>)>,
}

/// What could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The API server refused it.
    #[error("{what}: {}", in_words(source))]
    Api {
        what: &'static str,
        #[source]
        source: kube::Error,
    },
    /// It did not answer.
    #[error("{0}: no answer within {ANSWER_WITHIN:?}")]
    TimedOut(&'static str),
    /// It was not carried out.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl WriteError {
    /// Whether the object is another by now: to be read again, and no fault of anybody's.
    pub(crate) fn is_conflict(&self) -> bool {
        self.has_code(409)
    }

    fn is_missing(&self) -> bool {
        self.has_code(404)
    }

    fn has_code(&self, code: u16) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == code)
    }
}

impl Writer {
    /// Carries `step` out.
    pub(crate) async fn carry_out(&self, key: &ServiceKey, step: Step) -> Result<Written, WriteError> {
        match step {
            Step::Slices { apply, delete } => self.slices(key, apply, delete).await,
            Step::Patch(patch) => {
                let api: Api<Service> = Api::namespaced(self.client.clone(), &key.namespace);
                let params = signed();
                let patched =
                    self.call("service", api.patch(&key.name, &params, &Patch::Merge(&patch))).await?;
                Ok(Written { service: Some(Box::new(patched)), ..Written::default() })
            }
            Step::Leftovers(slices) => {
                let api: Api<Endpoints> = Api::namespaced(self.client.clone(), &key.namespace);
                let deleted = self.call("endpoints", api.delete(&key.name, &DeleteParams::default())).await;
                if let Err(error) = deleted.map(drop)
                    && !error.is_missing()
                {
                    return Err(error);
                }
                self.slices(key, Vec::new(), slices).await
            }
            Step::Restart { target, mark } => {
                let Some(resource) = kinds::with_rollouts(&target.kind) else {
                    return Ok(Written::default());
                };
                let api: Api<DynamicObject> =
                    Api::namespaced_with(self.client.clone(), &target.namespace, &resource);
                let patch =
                    json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: mark}}}}});
                let params = signed();
                self.call("restart", api.patch(&target.name, &params, &Patch::Merge(&patch))).await?;
                Ok(Written::default())
            }
        }
    }

    async fn slices(
        &self,
        key: &ServiceKey,
        apply: Vec<EndpointSlice>,
        delete: Vec<String>,
    ) -> Result<Written, WriteError> {
        let api: Api<EndpointSlice> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let mut written = Written::default();
        for slice in apply {
            let name = slice.name_any();
            let applied =
                self.call("endpointslice", api.patch(&name, &params, &Patch::Apply(&slice))).await?;
            written.slices.push((name, SliceFacts::of(&applied).map(|(_, facts)| facts)));
        }
        for name in delete {
            match self.call("endpointslice", api.delete(&name, &DeleteParams::default())).await {
                Err(error) if !error.is_missing() => return Err(error),
                _ => written.slices.push((name, None)),
            }
        }
        Ok(written)
    }

    /// Has an object want so many pods.
    pub(crate) async fn scale(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        pods: u32,
    ) -> Result<(), WriteError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, resource);
        let params = signed();
        let patch = json!({"spec": {"replicas": pods}});
        self.call("scale", api.patch_scale(name, &params, &Patch::Merge(&patch))).await.map(drop)
    }

    /// Marks the pods that are to go first, in that order, and no longer those of `marked` that are not among them.
    /// A pod that is gone needs no mark.
    pub(crate) async fn mark(
        &self,
        namespace: &str,
        first_to_go: &[String],
        marked: Vec<String>,
    ) -> Result<(), WriteError> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let count = i32::try_from(first_to_go.len()).unwrap_or(i32::MAX);
        // The lower, the sooner; pods without a mark count as 0.
        let costs = (-count..).map(|cost| json!(cost.to_string()));
        let stale =
            marked.into_iter().filter(|name| !first_to_go.contains(name)).map(|name| (name, Value::Null));
        let all = first_to_go.iter().cloned().zip(costs).chain(stale);
        let params = signed();
        let marking = all.map(|(name, cost)| {
            let (api, params) = (&api, &params);
            async move {
                let patch = json!({"metadata": {"annotations": {DELETION_COST: cost}}});
                self.call("deletion-cost", api.patch_metadata(&name, params, &Patch::Merge(&patch))).await
            }
        });
        let mut marking = stream::iter(marking).buffer_unordered(MARKED_AT_ONCE);
        while let Some(marked) = marking.next().await {
            if let Err(error) = marked.map(drop)
                && !error.is_missing()
            {
                return Err(error);
            }
        }
        Ok(())
    }

    /// `call`, counted and with a deadline.
    pub(crate) async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        let result = timeout(ANSWER_WITHIN, call).await.map_err(|_| WriteError::TimedOut(what))?;
        self.metrics.wrote(what, &result);
        result.map_err(|source| WriteError::Api { what, source })
    }
}
