//! Writes to the API.

use ebb_cluster::{CallError, Calls};
use ebb_core::ServiceKey;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::{
    core::v1::{Endpoints, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};

use super::{
    FIELD_MANAGER,
    facts::{DELETION_COST, SliceFacts},
    kinds,
    world::Step,
};

/// Maximum number of pods that are marked before a scale-down.
const MARKED_AT_ONCE: usize = 16;
/// The annotation of a template whose pods are restarted to get their sidecar.
const RESTARTED_FOR: &str = "ebb.dev/restarted-for";

/// Writes to the API.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) calls: Calls,
}

/// Returns patch parameters with Ebb's field manager.
fn signed() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// The result of a write, known before the watch shows it.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) service: Option<Box<Service>>,
    pub(crate) slices: Vec<(String, Option<SliceFacts>)>,
}

impl Writer {
    /// Carries out `step`.
    pub(crate) async fn carry_out(&self, key: &ServiceKey, step: Step) -> Result<Written, CallError> {
        match step {
            Step::Slices { apply, delete } => self.slices(key, apply, delete).await,
            Step::Patch(patch) => {
                let api: Api<Service> = Api::namespaced(self.calls.client.clone(), &key.namespace);
                let params = signed();
                let patched =
                    self.calls.call("service", api.patch(&key.name, &params, &Patch::Merge(&patch))).await?;
                Ok(Written { service: Some(Box::new(patched)), ..Written::default() })
            }
            Step::Leftovers(slices) => {
                let api: Api<Endpoints> = Api::namespaced(self.calls.client.clone(), &key.namespace);
                let deleted =
                    self.calls.call("endpoints", api.delete(&key.name, &DeleteParams::default())).await;
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
                    Api::namespaced_with(self.calls.client.clone(), &target.namespace, &resource);
                let patch =
                    json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_FOR: mark}}}}});
                let params = signed();
                self.calls.call("restart", api.patch(&target.name, &params, &Patch::Merge(&patch))).await?;
                Ok(Written::default())
            }
        }
    }

    /// Applies a strategic merge patch to a Service's status.
    pub(crate) async fn show(&self, key: &ServiceKey, patch: &Value) -> Result<Service, CallError> {
        let api: Api<Service> = Api::namespaced(self.calls.client.clone(), &key.namespace);
        let params = signed();
        self.calls
            .call("service status", api.patch_status(&key.name, &params, &Patch::Strategic(patch)))
            .await
    }

    async fn slices(
        &self,
        key: &ServiceKey,
        apply: Vec<EndpointSlice>,
        delete: Vec<String>,
    ) -> Result<Written, CallError> {
        let api: Api<EndpointSlice> = Api::namespaced(self.calls.client.clone(), &key.namespace);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let mut written = Written::default();
        for slice in apply {
            let name = slice.name_any();
            let applied =
                self.calls.call("endpointslice", api.patch(&name, &params, &Patch::Apply(&slice))).await?;
            written.slices.push((name, SliceFacts::of(&applied).map(|(_, facts)| facts)));
        }
        for name in delete {
            match self.calls.call("endpointslice", api.delete(&name, &DeleteParams::default())).await {
                Err(error) if !error.is_missing() => return Err(error),
                _ => written.slices.push((name, None)),
            }
        }
        Ok(written)
    }

    /// Sets how many pods an object should have.
    pub(crate) async fn scale(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
        pods: u32,
    ) -> Result<(), CallError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.calls.client.clone(), namespace, resource);
        let params = signed();
        let patch = json!({"spec": {"replicas": pods}});
        self.calls.call("scale", api.patch_scale(name, &params, &Patch::Merge(&patch))).await.map(drop)
    }

    /// Marks the pods to remove first, in that order, and unmarks those of `marked` that are not among them. Pods
    /// that are gone are ignored.
    pub(crate) async fn mark(
        &self,
        namespace: &str,
        first_to_go: &[String],
        marked: Vec<String>,
    ) -> Result<(), CallError> {
        let api: Api<Pod> = Api::namespaced(self.calls.client.clone(), namespace);
        let count = i32::try_from(first_to_go.len()).unwrap_or(i32::MAX);
        // The lowest cost is removed first; pods without a mark count as 0.
        let costs = (-count..).map(|cost| json!(cost.to_string()));
        let stale =
            marked.into_iter().filter(|name| !first_to_go.contains(name)).map(|name| (name, Value::Null));
        let all = first_to_go.iter().cloned().zip(costs).chain(stale);
        let params = signed();
        let marking = all.map(|(name, cost)| {
            let (api, params) = (&api, &params);
            async move {
                let patch = json!({"metadata": {"annotations": {DELETION_COST: cost}}});
                self.calls
                    .call("deletion-cost", api.patch_metadata(&name, params, &Patch::Merge(&patch)))
                    .await
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
}
