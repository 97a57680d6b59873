//! Waits until what was applied works, and reports what prevents it.

use std::time::Duration;

use anyhow::bail;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, ResourceExt, core::DynamicObject};
use tokio::time::{Instant, sleep};

use crate::cluster::{
    Cluster,
    check::{
        logs, reach, running,
        webhooks::{self, EBB, Hooks, SERVING},
    },
    clock::now,
    finding::Level,
    manifests::{NAMESPACE, kind},
    rollout::Rollout,
    trouble,
};

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Nodes apply a new Service within a second, and a connection that failed is tried again after some seconds.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);

/// Waits for the Deployments' pods, for the webhooks' authority, and until all programs are connected.
pub(super) async fn until_it_works(
    cluster: &Cluster,
    objects: &[DynamicObject],
    limit: Duration,
) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    let named = |wanted: &str| -> Vec<String> {
        objects.iter().filter(|object| kind(object) == wanted).map(ResourceExt::name_any).collect()
    };
    for name in named("Deployment") {
        println!("waiting for {name} …");
        deployment(cluster, &name, end).await?;
    }
    println!("waiting for the webhooks' authority …");
    let configurations = named("MutatingWebhookConfiguration");
    let all: Vec<&Hooks> = [&EBB, &SERVING]
        .into_iter()
        .filter(|hooks| configurations.iter().any(|one| one == hooks.name))
        .collect();
    for hooks in &all {
        authority(cluster, hooks, end).await?;
    }
    println!("waiting for activators to connect and for the webhooks to be called …");
    let end = end.min(Instant::now() + SETTLES_WITHIN);
    // The check that follows reports what is still wrong.
    while !has_settled(cluster, &all).await && Instant::now() < end {
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

async fn authority(cluster: &Cluster, hooks: &Hooks, end: Instant) -> anyhow::Result<()> {
    loop {
        let known = webhooks::bundles(cluster, hooks).await?;
        if !known.is_empty() && known.iter().all(|(_, bundle)| bundle.is_some()) {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!(
                "the authority of the webhooks {} was not written in time; the leading {} writes it, and its log says \
                 why it did not: {}",
                hooks.name,
                hooks.program,
                logs(NAMESPACE, hooks.program)
            );
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn has_settled(cluster: &Cluster, all: &[&Hooks]) -> bool {
    let mut findings = running::check(cluster, NAMESPACE, now(cluster).await).await;
    for hooks in all {
        findings.push(reach::check(cluster, hooks, NAMESPACE).await);
    }
    findings.iter().all(|finding| finding.level < Level::Fault)
}

async fn deployment(cluster: &Cluster, name: &str, end: Instant) -> anyhow::Result<()> {
    let api: Api<Deployment> = cluster.within(NAMESPACE);
    let mut told = String::new();
    loop {
        let now = Rollout::of(&cluster.call(format!("reading {name}"), api.get(name)).await?);
        if now.is_complete {
            println!("{name}: {} of {} pods ready", now.ready, now.wanted);
            return Ok(());
        }
        let pods = running::pods_of(cluster, NAMESPACE, name).await?;
        let trouble = pods.iter().find_map(trouble::of_pod);
        if let Some(trouble) = trouble.as_ref().filter(|trouble| trouble.what != told) {
            println!("  {}", trouble.what);
            told.clone_from(&trouble.what);
        }
        if Instant::now() >= end {
            let why =
                trouble.map_or(String::new(), |trouble| format!(": {}; {}", trouble.what, trouble.todo));
            bail!("{name}: {} of {} pods were ready in time{why}", now.ready, now.wanted);
        }
        sleep(LOOK_EVERY).await;
    }
}
