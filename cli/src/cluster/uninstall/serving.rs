//! Removes the component that serves Knative's API. Its objects own the Deployments and Services of apps, and a kind that
//! is deleted takes its objects along: what becomes of them is for the user to say.

use std::time::Duration;

use anyhow::bail;
use clap::Args as ClapArgs;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{LOOK_EVERY, has_ended, ksvcs, remove_all};
use crate::cluster::{
    Cluster, FIELD_MANAGER,
    components::{SERVING, is_ours},
    count,
    install::is_helms,
    manifests::{self, kind, name},
};

const KIND: &str = "CustomResourceDefinition";
/// The most objects that are named in a line.
const NAMED: usize = 5;

/// What becomes of ksvcs.
#[derive(ClapArgs, Clone, Copy, Debug, Default)]
#[group(multiple = false)]
pub(crate) struct Fate {
    /// Delete all ksvcs (and other objects of Knative's API) with their pods
    #[arg(long)]
    delete_ksvcs: bool,
    /// Keep the Deployments, Services and pods of ksvcs, without the ksvcs: as Services that are annotated for Ebb
    #[arg(long)]
    keep_pods: bool,
}

impl Fate {
    const fn is_said(self) -> bool {
        self.delete_ksvcs || self.keep_pods
    }
}

/// The component as it is on a cluster.
#[derive(Debug)]
pub(super) struct Serving {
    /// What is to be removed, in the order of the installation.
    objects: Vec<DynamicObject>,
    /// Those of them that are kinds.
    kinds: Vec<DynamicObject>,
    /// The objects of the API.
    api: Vec<DynamicObject>,
    /// The Deployments and Services that belong to them.
    owned: Vec<DynamicObject>,
    /// Whether Helm installed the component, and is to remove it.
    is_helms: bool,
}

impl Serving {
    /// Reads what is there; `own` is Ebb's namespace.
    pub(super) async fn find(cluster: &Cluster, own: &str) -> anyhow::Result<Self> {
        let (mut objects, mut is_helm) = (Vec::new(), false);
        for mut object in manifests::of_serving()? {
            manifests::move_to(&mut object, own);
            let api = manifests::api(cluster, &object);
            let found =
                cluster.find(format!("reading {}", name(&object)), api.get(&object.name_any())).await?;
            // Kinds of Knative's own stay, with their objects.
            if let Some(found) = found.filter(|found| kind(&object) != KIND || is_ours(found)) {
                is_helm |= is_helms(found.metadata.labels.as_ref());
                objects.push(object);
            }
        }
        let kinds: Vec<DynamicObject> = objects.iter().filter(|one| kind(one) == KIND).cloned().collect();
        let api = ksvcs::all(cluster, &kinds).await?;
        let owned = if kinds.is_empty() { Vec::new() } else { ksvcs::owned(cluster).await? };
        Ok(Self { objects, kinds, api, owned, is_helms: is_helm })
    }

    /// Checks that it is said what becomes of the objects of the API, if there are any.
    pub(super) fn permits(&self, fate: Fate) -> anyhow::Result<()> {
        if fate.is_said() || self.is_unused() {
            return Ok(());
        }
        bail!(
            "there are {} of Knative's API ({}), with {} Deployments and Services. They cannot be without it, so say what \
             becomes of them:\n  --keep-pods     their Deployments, Services and pods stay, as \
             Services that are annotated for Ebb\n  --delete-ksvcs  they are deleted, with their pods",
            count(self.api.len(), "object"),
            some_of(&self.api),
            self.owned.len()
        )
    }

    /// Returns what [`Self::remove`] would do, line by line.
    pub(super) fn plan(&self, fate: Fate) -> Vec<String> {
        let mut plan = Vec::new();
        if let Err(refusal) = self.permits(fate) {
            plan.push(format!("this would be refused: {refusal}"));
        }
        let owned = if fate.keep_pods {
            "would be kept, without its owner"
        } else {
            "would be deleted, with its owner"
        };
        plan.extend(self.owned.iter().map(|object| format!("{}: {owned}", name(object))));
        plan.extend(self.api.iter().map(|object| format!("{}: would be deleted", called(object))));
        if self.is_helms {
            plan.push("what Helm installed would be left to Helm".to_owned());
        } else {
            plan.extend(
                self.objects.iter().rev().map(|object| format!("{}: would be deleted", name(object))),
            );
        }
        plan
    }

    fn is_unused(&self) -> bool {
        self.api.is_empty() && self.owned.is_empty()
    }

    /// Removes the component, within `limit` for each thing that is waited for. Webhooks go first, so that nothing is
    /// refused while nobody answers for them; then the program, which would make again what is taken apart; then the
    /// objects; and the kinds last of all.
    pub(super) async fn remove(
        &self,
        cluster: &Cluster,
        own: &str,
        fate: Fate,
        limit: Duration,
    ) -> anyhow::Result<()> {
        self.permits(fate)?;
        if !(self.is_helms && self.is_unused()) {
            self.stop(cluster, own).await?;
            // Objects of kinds that are Knative's own are for Knative to serve.
            if fate.keep_pods && !self.kinds.is_empty() {
                keep(cluster, limit).await?;
            }
            if !self.kinds.is_empty() {
                self.clear(cluster, fate, limit).await?;
            }
        }
        if self.is_helms {
            return Ok(());
        }
        let (kinds, rest): (Vec<&DynamicObject>, Vec<&DynamicObject>) = self
            .objects
            .iter()
            .rev()
            .filter(|object| !manifests::is_webhook(object))
            .partition(|it| kind(it) == KIND);
        remove_all(cluster, rest).await?;
        let leases: Api<Lease> = cluster.within(own);
        cluster
            .find("deleting the Lease ebb-serving", leases.delete(SERVING, &DeleteParams::default()))
            .await?;
        remove_all(cluster, kinds).await
    }

    /// Returns whether there is nothing of it.
    pub(super) const fn is_absent(&self) -> bool {
        self.objects.is_empty()
    }

    /// Returns whether Helm is to remove it.
    pub(super) const fn is_helms(&self) -> bool {
        self.is_helms
    }

    /// Removes the webhooks, ends the program, and waits until it has ended.
    async fn stop(&self, cluster: &Cluster, own: &str) -> anyhow::Result<()> {
        remove_all(cluster, self.objects.iter().rev().filter(|object| manifests::is_webhook(object))).await?;
        let deployments: Api<Deployment> = cluster.within(own);
        if self.is_helms {
            let params =
                PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({"spec": {"replicas": 0}}));
            cluster
                .find("scaling ebb-serving to 0", deployments.patch_scale(SERVING, &params, &patch))
                .await?;
        } else {
            let params = DeleteParams::background();
            cluster.find("deleting ebb-serving", deployments.delete(SERVING, &params)).await?;
        }
        println!("waiting for {SERVING} to end …");
        if !has_ended(cluster, own, SERVING).await? {
            bail!(
                "a pod of {SERVING} still runs, and would make again what is removed; when it is gone, run it again: \
                 kubectl --namespace {own} get pods -l app.kubernetes.io/component=serving"
            );
        }
        Ok(())
    }

    /// Deletes the objects of the API, and waits until they and what belonged to them are gone.
    async fn clear(&self, cluster: &Cluster, fate: Fate, limit: Duration) -> anyhow::Result<()> {
        println!("waiting until no object of Knative's API is left …");
        let end = Instant::now() + limit;
        loop {
            let api = ksvcs::all(cluster, &self.kinds).await?;
            if !fate.is_said() && !api.is_empty() {
                bail!("created meanwhile: {}; run it again, and say what becomes of ksvcs", some_of(&api));
            }
            for object in &api {
                ksvcs::delete(cluster, object).await?;
            }
            let owned = ksvcs::owned(cluster).await?;
            if api.is_empty() && owned.is_empty() {
                return Ok(());
            }
            let left: Vec<DynamicObject> = api.into_iter().chain(owned).collect();
            if Instant::now() >= end {
                bail!("not deleted within {} s: {}; run it again", limit.as_secs(), some_of(&left));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Makes the Deployments and Services of ksvcs belong to nobody.
async fn keep(cluster: &Cluster, limit: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    loop {
        let owned = ksvcs::owned(cluster).await?;
        if owned.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("still owned by ksvcs after {} s: {}; run it again", limit.as_secs(), some_of(&owned));
        }
        for object in &owned {
            ksvcs::detach(cluster, object).await?;
            println!("{}: stays, without its owner", name(object));
        }
    }
}

/// Returns the object's name for people. A ksvc has the kind of a plain Service.
fn called(object: &DynamicObject) -> String {
    let is_of_api = object.types.as_ref().is_some_and(|types| types.api_version.starts_with(ksvcs::GROUP));
    if is_of_api && kind(object) == "Service" {
        name(object).replacen("Service", "ksvc", 1)
    } else {
        name(object)
    }
}

/// Names some of these objects.
fn some_of(objects: &[DynamicObject]) -> String {
    let named: Vec<String> = objects.iter().take(NAMED).map(called).collect();
    let more = objects.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", named.join(", "))
}

#[cfg(test)]
mod tests;
