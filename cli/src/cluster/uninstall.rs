//! `ebb uninstall`: gives every Service its selector back without an outage, then removes the installation.

mod by_hand;
mod ksvcs;
mod left;
mod serving;

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{Namespace, Pod},
};
use kube::{Api, ResourceExt, api::DeleteParams, core::DynamicObject};
use tokio::time::{Instant, sleep};

use super::{
    Cluster, Connection,
    check::{installed_in, running},
    components::Components,
    count,
    install::is_helms,
    manifests::{self, Images, kind, name},
    settings,
};
use left::Left;
use serving::{Fate, Serving};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The time within which a program other than an activator ends, as its grace period says.
const PROGRAM_ENDS_WITHIN: Duration = Duration::from_secs(40);
const AUTOSCALER: &str = "ebb-autoscaler";

const HELP: &str = "\
First, every Service gets its selector back. The autoscaler does this (`release: \"true\"` in the ConfigMap ebb-config): \
it starts a pod for Services that have none, and keeps its endpoints until Kubernetes' own are ready. If no autoscaler \
runs, ebb does the same itself. Nothing is removed before the last Service is given back. If that takes longer than \
--timeout, ebb prints the remaining Services and the reasons, and exits with 1: fix the reasons, and run it again.

Then the webhooks, the Deployments and the rest are deleted, in the reverse order of the installation. Activators finish \
their requests, for up to five minutes. Your annotations stay (a later `ebb install` scales the Services again), and so \
do the sidecars, which pass requests on until their pods are replaced.

Knative's API (`ebb install --serving`) is removed before all that; with --serving, nothing else is. Its objects cannot be \
without it, and their Deployments, Services and pods belong to them. If there are any, ebb refuses to go on unless it is \
told to delete them all (--delete-ksvcs), or to keep the Deployments and Services as plain ones with their annotations \
(--keep-pods): Ebb goes on scaling those. Removing all of Ebb gives them back as it does others, but a Route's Service \
has no pods of its own, and serves nobody without Ebb.";

/// `ebb uninstall [--serving] [--keep-pods | --delete-ksvcs] [--keep-namespace] [--timeout 3m]`
#[derive(ClapArgs, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    /// Uninstall only what `ebb install --serving` installed for Knative's API; the gateway stays
    #[arg(long)]
    serving: bool,
    #[command(flatten)]
    fate: Fate,
    /// Keep the namespace, and what else is in it
    #[arg(long, conflicts_with = "serving")]
    keep_namespace: bool,
    /// How long it may take to give back all Services
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = super::duration)]
    timeout: Duration,
    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Uninstalls Ebb.
pub(crate) async fn uninstall(args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = args.connection.open().await?;
    println!("{cluster}{}", if args.dry_run { "; dry run, nothing is changed" } else { "" });
    let own = installed_in(&cluster).await;
    let serving = Serving::find(&cluster, &own).await?;
    if args.dry_run {
        serving.plan(args.fate).iter().for_each(|line| println!("{line}"));
    } else if !serving.is_absent() {
        serving.remove(&cluster, &own, args.fate, args.timeout).await?;
    }
    if args.serving {
        println!("{}", serving_removed(&serving, args.dry_run, &own));
        return Ok(ExitCode::SUCCESS);
    }
    let gateway = Components::installed(&cluster, &own).await?.gateway;
    let components = Components { gateway, serving: false };
    let mut objects = manifests::objects(false, components, &Images::default())?;
    for object in &mut objects {
        manifests::move_to(object, &own);
    }
    let autoscaler = autoscaler(&cluster, &own).await?;
    let runs = autoscaler.as_ref().is_some_and(is_ready);
    let left = left::all(&cluster).await?;
    if args.dry_run {
        dry_run(&left, runs, &objects, args.keep_namespace);
        return Ok(ExitCode::SUCCESS);
    }
    if left.is_empty() {
        println!("Ebb scales no Service");
    }
    // Even then: no Service may be taken from now on.
    let has_namespace = has_namespace(&cluster, &own).await?;
    if has_namespace && settings::set_release(&cluster, &own, true).await? {
        println!("ConfigMap {own}/ebb-config: release is set; Ebb takes over no more Services");
    }
    if !left.is_empty() {
        give_back(&cluster, runs, left.len(), args.timeout).await?;
    }
    if autoscaler.is_some_and(|one| is_helms(one.metadata.labels.as_ref())) {
        println!(
            "every Service is given back. Helm installed this Ebb; remove it with:\n  helm uninstall ebb --namespace {own}"
        );
        return Ok(ExitCode::SUCCESS);
    }
    remove_all(&cluster, to_remove(&objects, args.keep_namespace)).await?;
    if args.keep_namespace && has_namespace {
        take_release_back(&cluster, &own).await?;
    }
    println!(
        "\nEbb is removed. Your annotations stay, and a later `ebb install` scales their Services again. To remove \
         them:\n  kubectl annotate services --all --all-namespaces ebb.dev/scale-target-\n\
         Pods keep their sidecars, which pass requests on, until they are replaced."
    );
    Ok(ExitCode::SUCCESS)
}

/// Returns what to say when only Knative's API was to be removed.
fn serving_removed(serving: &Serving, dry_run: bool, own: &str) -> String {
    if serving.is_absent() {
        return "Knative's API is not installed by Ebb here".to_owned();
    }
    if serving.is_helms() {
        return format!(
            "Helm installed this; remove it with:\n  helm upgrade ebb … --namespace {own} --reuse-values --set serving.enabled=false"
        );
    }
    if dry_run {
        return "the rest of Ebb would stay".to_owned();
    }
    "\nKnative's API is removed. The rest of Ebb stays, and so do the gateway and your \
     ConfigMaps with Knative's settings."
        .to_owned()
}

fn dry_run(left: &[Left], runs: bool, objects: &[DynamicObject], keep_namespace: bool) {
    let who = if runs { "the autoscaler" } else { "ebb itself, as no autoscaler runs," };
    for one in left {
        println!("{}: would be given back by {who}", one.name());
    }
    for object in to_remove(objects, keep_namespace) {
        println!("{}: would be deleted, if it is there", name(object));
    }
}

async fn autoscaler(cluster: &Cluster, own: &str) -> anyhow::Result<Option<Deployment>> {
    let api: Api<Deployment> = cluster.within(own);
    Ok(cluster.find("reading the autoscaler", api.get(AUTOSCALER)).await?)
}

fn is_ready(autoscaler: &Deployment) -> bool {
    autoscaler.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0) > 0
}

async fn has_namespace(cluster: &Cluster, own: &str) -> anyhow::Result<bool> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace = cluster.find("reading the namespace", api.get(own)).await?;
    Ok(namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none()))
}

/// Waits until every Service is given back, or gives them back itself if no autoscaler does.
async fn give_back(cluster: &Cluster, runs: bool, number: usize, limit: Duration) -> anyhow::Result<()> {
    let services = count(number, "Service");
    if runs {
        println!("the autoscaler gives {services} back …");
    } else {
        println!("no autoscaler runs: giving {services} back …");
    }
    let end = Instant::now() + limit;
    let mut ready_since = BTreeMap::new();
    let mut before = number;
    loop {
        let left = left::all(cluster).await?;
        if left.is_empty() {
            println!("all of them are given back");
            return Ok(());
        }
        if left.len() != before {
            println!("  {} to go", left.len());
            before = left.len();
        }
        let mut reasons = BTreeMap::new();
        if !runs {
            for one in &left {
                if let Err(why) = by_hand::advance(cluster, one, &mut ready_since).await {
                    reasons.insert(one.name(), why);
                }
            }
        }
        if Instant::now() >= end {
            let mut lines = Vec::new();
            for one in &left {
                let why = match reasons.remove(&one.name()) {
                    Some(why) => why,
                    None => one.why(cluster).await,
                };
                lines.push(format!("  {}: {why}", one.name()));
            }
            bail!(
                "{} not given back within {} s, and nothing was removed:\n{}\nFix that and run it again, or allow \
                 more time with --timeout. Until then Ebb takes over no Services; `ebb install` undoes this",
                count(left.len(), "Service"),
                limit.as_secs(),
                lines.join("\n")
            );
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Returns what to delete, in that order.
fn to_remove(objects: &[DynamicObject], keep_namespace: bool) -> impl Iterator<Item = &DynamicObject> {
    objects.iter().rev().filter(move |object| !(keep_namespace && kind(object) == "Namespace"))
}

/// Deletes these objects, in this order.
async fn remove_all(
    cluster: &Cluster,
    objects: impl IntoIterator<Item = &DynamicObject>,
) -> anyhow::Result<()> {
    for object in objects {
        let api = manifests::api(cluster, object);
        // The cluster deletes its dependents later.
        let deleted =
            cluster.find("deleting", api.delete(&object.name_any(), &DeleteParams::background())).await;
        let deleted = deleted.with_context(|| {
            format!("{} could not be deleted; run it again to delete what is left", name(object))
        })?;
        println!("{}: {}", name(object), if deleted.is_some() { "deleted" } else { "was not there" });
    }
    Ok(())
}

/// If the namespace stays, removes what a later installation would stumble over.
async fn take_release_back(cluster: &Cluster, own: &str) -> anyhow::Result<()> {
    // An autoscaler that still runs would take the Services again.
    if !has_ended(cluster, own, AUTOSCALER).await? {
        println!(
            "an autoscaler's pod is still terminating, so `release: \"true\"` stays in ConfigMap {own}/ebb-config; a \
             later `ebb install` unsets it"
        );
        return Ok(());
    }
    settings::set_release(cluster, own, false).await?;
    let leases: Api<Lease> = cluster.within(own);
    cluster.find("deleting the lease", leases.delete(AUTOSCALER, &DeleteParams::default())).await?;
    Ok(())
}

/// Waits until no pod of a program runs; returns whether that was so in time.
async fn has_ended(cluster: &Cluster, own: &str, program: &str) -> anyhow::Result<bool> {
    let end = Instant::now() + PROGRAM_ENDS_WITHIN;
    while !running::pods_of(cluster, own, program).await?.iter().all(is_over) {
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(true)
}

fn is_over(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|status| status.phase.as_deref()), Some("Succeeded" | "Failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn webhooks_go_first_and_the_namespace_last_if_at_all() {
        let gateway = Components { gateway: true, serving: false };
        let objects = manifests::objects(false, gateway, &Images::default()).unwrap();
        let removed: Vec<&str> = to_remove(&objects, false).map(kind).collect();
        assert!(removed[0].contains("WebhookConfiguration") && removed[1].contains("WebhookConfiguration"));
        assert_eq!(removed.last(), Some(&"Namespace"));
        let at = |wanted: &str| removed.iter().position(|kind| *kind == wanted).unwrap();
        assert!(at("Deployment") < at("ClusterRoleBinding"), "programs before their rights");
        assert_eq!(to_remove(&objects, true).count(), objects.len() - 1);
        assert!(to_remove(&objects, true).all(|object| kind(object) != "Namespace"));
    }
}
