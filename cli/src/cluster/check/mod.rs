//! `ebb check`: checks everything that Ebb needs, and says how to fix what is wrong.

mod certificate;
mod gitops;
mod hosts;
pub(super) mod knative;
mod objects;
pub(super) mod reach;
mod rights;
mod rivals;
mod routes;
pub(super) mod running;
mod services;
mod version;
pub(super) mod webhooks;

use std::process::ExitCode;

use clap::Args as ClapArgs;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::{Api, ResourceExt, core::DynamicObject};

pub(crate) use services::Scope;
pub(crate) use version::check as version;

use super::{
    Cluster, Connection, Failure,
    clock::now,
    components::{Components, SERVING},
    finding::{Finding, Report},
    manifests::{self, Images},
};

const AT_ONCE: usize = 8;

const HELP: &str = "\
Checks the API server's version, every object of the installation, the rights, the pods, the leader, the activators, the \
webhooks (authority, certificate, and a request through them), the same of Knative's API if that is installed, and then \
every annotated Service: its annotations, its scale target, its pods, rivals that write replicas, and what in the pods' \
spec slows down cold starts. Each fault, warning and hint says what to do. Nothing is changed.

Exits with 1 if there is a fault, and with 0 if there are only warnings and hints.";

/// `ebb check [-n NAMESPACE] [--json]`
#[derive(ClapArgs, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// Check the Services of this namespace only [default: all namespaces]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the checks, and prints the findings.
pub(crate) async fn check(args: &Args) -> anyhow::Result<ExitCode> {
    let cluster = args.connection.open().await?;
    let mut report = if args.json { Report::silent() } else { Report::default() };
    if !args.json {
        println!("{cluster}");
    }
    let scope = args.namespace.clone().map_or(Scope::All, Scope::Namespace);
    run(&cluster, &scope, &mut report).await;
    if args.json {
        println!("{:#}", report.to_json());
    } else {
        println!("{}", report.summary());
    }
    Ok(if report.has_faults() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs all checks, in the order in which they depend on each other.
pub(crate) async fn run(cluster: &Cluster, scope: &Scope, report: &mut Report) {
    let version = version(cluster).await;
    let is_there = version.is_some();
    report.extend(version);
    if !is_there {
        return report.add(Finding::fault(
            "api",
            format!("the API server of {cluster} does not answer"),
            "check that the cluster runs and the kubeconfig is right: kubectl version; for another one: \
             --context",
        ));
    }
    let namespace = installed_in(cluster).await;
    let components = Components::installed(cluster, &namespace).await.unwrap_or_else(|failure| {
        report.add(Finding::unseen("objects", &failure));
        Components::default()
    });
    let shipped = match manifests::objects(false, components, &Images::default()) {
        Ok(mut shipped) => {
            for object in &mut shipped {
                manifests::move_to(object, &namespace);
            }
            shipped
        }
        Err(error) => return report.add(Finding::fault("objects", error.to_string(), "rebuild ebb")),
    };
    let now = now(cluster).await;
    if !installed(cluster, &shipped, report).await {
        return;
    }
    report.extend(rights::check(cluster, &shipped, &namespace).await);
    report.extend(running::check(cluster, &namespace, now).await);
    report.extend(webhooks::check(cluster, &webhooks::EBB, &namespace, now).await);
    report.add(reach::check(cluster, &webhooks::EBB, &namespace).await);
    if components.serving {
        report.add(running::leader(cluster, SERVING, &namespace, now).await);
        report.extend(webhooks::check(cluster, &webhooks::SERVING, &namespace, now).await);
        report.add(reach::check(cluster, &webhooks::SERVING, &namespace).await);
        report.extend(knative::check(cluster).await);
    }
    services::check(cluster, &namespace, scope, report).await;
}

/// Returns Ebb's namespace, as the webhooks name it.
pub(crate) async fn installed_in(cluster: &Cluster) -> String {
    let api: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let configuration = cluster.find("reading the webhooks", api.get("ebb")).await.ok().flatten();
    let webhooks = configuration.and_then(|configuration| configuration.webhooks).unwrap_or_default();
    let service = webhooks.into_iter().find_map(|webhook| webhook.client_config.service);
    service.map_or_else(|| manifests::NAMESPACE.to_owned(), |service| service.namespace)
}

/// Checks each object of the installation; returns whether any of them exists.
async fn installed(cluster: &Cluster, shipped: &[DynamicObject], report: &mut Report) -> bool {
    let found: Vec<Result<Option<DynamicObject>, Failure>> = stream::iter(shipped)
        .map(|object| async move {
            let api = manifests::api(cluster, object);
            cluster.find(format!("reading {}", manifests::name(object)), api.get(&object.name_any())).await
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    if found.iter().all(|found| *found == Ok(None)) {
        report.add(Finding::fault("objects", "Ebb is not installed here", "ebb install"));
        return false;
    }
    let mut findings = Vec::new();
    for (object, found) in shipped.iter().zip(found) {
        match found {
            Ok(found) => findings.extend(objects::judge(object, found.as_ref())),
            Err(failure) => {
                findings.push(Finding::warning(
                    "objects",
                    failure.to_string(),
                    "use a context that may read it",
                ));
            }
        }
    }
    if findings.is_empty() {
        findings
            .push(Finding::ok("objects", format!("all {} objects are there and as shipped", shipped.len())));
    }
    report.extend(findings);
    true
}

/// Returns the command that prints the log of a program.
pub(crate) fn logs(namespace: &str, program: &str) -> String {
    format!("kubectl --namespace {namespace} logs deployment/{program}")
}

fn restart(namespace: &str, program: &str) -> String {
    format!("kubectl --namespace {namespace} rollout restart deployment/{program}")
}
