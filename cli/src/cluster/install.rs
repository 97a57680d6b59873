//! `ebb install`: applies the built-in manifests to the cluster, waits until Ebb works, and checks it.

mod choices;
mod wait;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
    core::DynamicObject,
};

use super::{
    Cluster, Connection, FIELD_MANAGER,
    check::{self, Scope, knative},
    components::Components,
    finding::{Level, Report},
    manifests::{self, Images, NAMESPACE, api, kind, name},
    settings,
};

/// The label that marks what Helm installed.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

const HELP: &str = "\
Applies the objects in the deploy/install.yaml of this version (server-side, as field manager `ebb`) and prints each one. \
Then waits until the Deployments are ready and the API server knows the webhooks' authority, and runs `ebb check`. If Ebb \
is already installed, only objects that are not as shipped are changed; a newer ebb upgrades, with the components that \
are there: the gateway keeps its type, and nothing is removed by leaving out a flag. No Service is changed until \
it is annotated. This undoes an earlier `ebb uninstall --keep-namespace`: Services that are still annotated are scaled \
again.";

/// `ebb install [--single] [--gateway] [--serving] [--image-registry R] [--queue-proxy-image I] [--no-wait] [--dry-run]`
#[derive(ClapArgs, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
    /// One pod of each program, for a cluster of one node
    #[arg(long)]
    single: bool,
    #[command(flatten)]
    components: Components,
    #[command(flatten)]
    images: Images,
    #[command(flatten)]
    patience: Patience,
    /// Do a dry run on the API server, which changes nothing
    #[arg(long)]
    dry_run: bool,
}

/// Whether it waits.
#[derive(ClapArgs, Debug)]
struct Patience {
    /// Wait until Ebb works, and check it (default)
    #[arg(long, overrides_with = "no_wait")]
    wait: bool,
    /// Exit as soon as everything is applied
    #[arg(long, overrides_with = "wait")]
    no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "3m", value_parser = super::duration)]
    timeout: Duration,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Created,
    Changed,
    Unchanged,
    /// In a namespace that is yet to be created, so the API server could not be asked.
    Unasked,
}

/// Installs Ebb.
pub(crate) async fn install(args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = args.connection.open().await?;
    println!("{cluster}{}", if args.dry_run { "; dry run, nothing is changed" } else { "" });
    fits(&cluster).await?;
    // A program of an older version beside this one's would be of no version that was tested.
    let components = args.components.and(Components::installed(&cluster, NAMESPACE).await?);
    if components.serving {
        serves_alone(&cluster).await?;
    }
    let mut objects = manifests::objects(args.single, components, &args.images)?;
    choices::keep(&cluster, &mut objects).await?;
    if !args.dry_run && settings::set_release(&cluster, NAMESPACE, false).await? {
        println!("ConfigMap {NAMESPACE}/ebb-config: release is unset; annotated Services are scaled again");
    }
    apply_all(&cluster, &objects, args.dry_run).await?;
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if args.patience.no_wait && !args.patience.wait {
        println!("applied; run `ebb check` to see whether it works");
        return Ok(ExitCode::SUCCESS);
    }
    wait::until_it_works(&cluster, &objects, args.patience.timeout).await?;
    let mut report = Report::default();
    check::run(&cluster, &Scope::All, &mut report).await;
    println!("{}", report.summary());
    if report.has_faults() {
        return Ok(ExitCode::FAILURE);
    }
    println!(
        "\nnext, scale one of your Services by its requests (its pods are replaced once):\n  \
         kubectl annotate service NAME ebb.dev/scale-target=Deployment/NAME ebb.dev/restart=true\n  \
         ebb explain NAME"
    );
    Ok(ExitCode::SUCCESS)
}

/// Checks that no other Ebb is installed on the cluster.
async fn fits(cluster: &Cluster) -> anyhow::Result<()> {
    let Some(version) = check::version(cluster).await else {
        bail!(
            "the API server of {cluster} does not answer; check that it runs, or choose another with --context"
        );
    };
    if version.level == Level::Fault {
        bail!("{}; {}", version.what, version.todo);
    }
    println!("{}", version.what);
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let namespace = cluster.find("reading the namespace", namespaces.get(NAMESPACE)).await?;
    if namespace.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()) {
        bail!(
            "namespace {NAMESPACE} is still being removed (activators finish what they hold); when it is gone: \
             kubectl wait --for=delete namespace/{NAMESPACE} --timeout=6m"
        );
    }
    let elsewhere = check::installed_in(cluster).await;
    if elsewhere != NAMESPACE {
        bail!(
            "Ebb is already installed in namespace {elsewhere}, and a cluster can have only one; upgrade it in the \
             way it was installed"
        );
    }
    let deployments: Api<Deployment> = cluster.within(NAMESPACE);
    let deployment = cluster.find("reading the autoscaler", deployments.get("ebb-autoscaler")).await?;
    if deployment.is_some_and(|one| is_helms(one.metadata.labels.as_ref())) {
        bail!(
            "Helm installed this Ebb and would not notice changes; use: helm upgrade ebb … --namespace {NAMESPACE}"
        );
    }
    Ok(())
}

/// Checks that nobody else answers for the objects of Knative's API.
async fn serves_alone(cluster: &Cluster) -> anyhow::Result<()> {
    let beside = knative::beside(cluster).await?;
    if !beside.is_empty() {
        bail!("{}; {}", knative::in_words(&beside), knative::TODO);
    }
    Ok(())
}

/// Returns whether an object with these labels was installed by Helm.
pub(crate) fn is_helms(labels: Option<&std::collections::BTreeMap<String, String>>) -> bool {
    labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|manager| manager == "Helm")
}

async fn apply_all(cluster: &Cluster, objects: &[DynamicObject], dry_run: bool) -> anyhow::Result<()> {
    let mut has_namespace = true;
    for object in objects {
        let outcome = if has_namespace || object.namespace().is_none() {
            apply(cluster, object, dry_run).await.with_context(|| {
                format!(
                    "{} could not be applied; earlier objects stay, and `ebb install` continues from there",
                    name(object)
                )
            })?
        } else {
            Outcome::Unasked
        };
        if kind(object) == "Namespace" && outcome == Outcome::Created && dry_run {
            has_namespace = false;
        }
        println!("{}: {}", name(object), outcome.in_words(dry_run));
    }
    Ok(())
}

/// Applies an object.
async fn apply(cluster: &Cluster, object: &DynamicObject, dry_run: bool) -> anyhow::Result<Outcome> {
    let api = api(cluster, object);
    let id = object.name_any();
    let before = cluster.find(format!("reading {}", name(object)), api.get(&id)).await?;
    // Takes over fields that kubectl or an older ebb applied.
    let params = PatchParams { dry_run, ..PatchParams::apply(FIELD_MANAGER).force() };
    let after = cluster.call("applying", api.patch(&id, &params, &Patch::Apply(object))).await?;
    Ok(match before.map(|before| is_same(before, after)) {
        None => Outcome::Created,
        Some(true) => Outcome::Unchanged,
        Some(false) => Outcome::Changed,
    })
}

/// Returns whether only the field managers changed. (A dry run has no version of its own to compare.)
fn is_same(mut before: DynamicObject, mut after: DynamicObject) -> bool {
    for object in [&mut before, &mut after] {
        object.metadata.managed_fields = None;
        object.metadata.resource_version = None;
        object.metadata.generation = None;
        if let Some(fields) = object.data.as_object_mut() {
            fields.remove("status");
        }
    }
    before == after
}

impl Outcome {
    const fn in_words(self, dry_run: bool) -> &'static str {
        match (self, dry_run) {
            (Self::Created, false) => "created",
            (Self::Changed, false) => "changed",
            (Self::Created, true) => "would be created",
            (Self::Changed, true) => "would be changed",
            (Self::Unchanged, _) => "as it is",
            (Self::Unasked, _) => "would be created, with its namespace",
        }
    }
}

#[cfg(test)]
mod tests;
