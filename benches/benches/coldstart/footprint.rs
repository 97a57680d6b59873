//! The cost of an idle install: memory, objects, writes.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use e2e::{App, Cluster, Front, SOON, Scenario, eventually};
use futures_util::{StreamExt, stream};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Endpoints, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, api::ListParams};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::Failure;

/// Ebb's programs.
const PROGRAMS: [&str; 3] = ["autoscaler", "activator", "queue-proxy"];
/// The programs that run even if nothing is scaled.
const INSTALLED: [&str; 2] = ["autoscaler", "activator"];
const API_SERVER: &str = "kube-apiserver";
/// How long writes are counted while nothing happens.
const QUIET: Duration = Duration::from_secs(60);
/// The number of objects that are created in parallel.
const AT_ONCE: usize = 16;
const SYSTEM: &str = "ebb-system";
/// The label of Ebb's slices.
const OURS: &str = "endpointslice.kubernetes.io/managed-by=ebb.dev";

/// Measures memory and writes of the current install.
pub(crate) async fn idle(cluster: &Cluster) -> Result<(), Failure> {
    println!("an idle install");
    memory().print();
    writes(cluster).await
}

/// Measures the cost of services at zero: first plain ones, then as many of Ebb's.
pub(crate) async fn services(cluster: &Cluster, count: usize) -> Result<(), Failure> {
    println!("{count} idle services, by Kubernetes alone");
    let plain = Scenario::begin(cluster.clone(), "plain").await;
    grow(&plain, count, Front::plain, "").await?;
    println!("{count} idle services of Ebb's beside them");
    let scenario = Scenario::begin(cluster.clone(), "bench").await;
    grow(&scenario, count, Front::scaled, OURS).await?;
    writes(cluster).await?;
    plain.end().await;
    scenario.end().await;
    Ok(())
}

/// Creates `count` services without pods and prints their cost. All of them exist once each has its slice
/// with `label`.
async fn grow(
    scenario: &Scenario,
    count: usize,
    front: impl Fn(&App) -> Front,
    label: &str,
) -> Result<(), Failure> {
    let before = memory();
    let begin = Instant::now();
    let made = stream::iter(0..count).map(|n| {
        let (app, front) = (App::deployment(&format!("s{n}")), &front);
        async move {
            scenario.make(app.manifest()).await;
            scenario.make(front(&app).manifest()).await;
        }
    });
    made.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    println!("made within {:.1} s", begin.elapsed().as_secs_f64());
    let slices = scenario.api::<EndpointSlice>();
    let all = ListParams::default();
    let wanted = all.clone().labels(label);
    let is_done = |slice: &EndpointSlice| label.is_empty() || !slice.endpoints.is_empty();
    eventually("each service has its slice", 5 * SOON, async || {
        let listed = slices.list(&wanted).await.ok()?;
        (listed.iter().filter(|slice| is_done(slice)).count() >= count).then_some(())
    })
    .await;
    println!("all of them were done {:.1} s after the first was made", begin.elapsed().as_secs_f64());
    // Allocators release memory late, and new services are not idle yet.
    sleep(QUIET / 4).await;
    let objects = scenario.api::<Service>().list(&all).await?.items.len()
        + slices.list(&all).await?.items.len()
        + scenario.api::<Endpoints>().list(&all).await?.items.len();
    println!(
        "objects per service, its Deployment and ReplicaSet left out: {:.2}",
        objects as f64 / count as f64
    );
    let after = memory();
    after.print();
    for (program, kib) in &after.0 {
        let more =
            kib.iter().sum::<u64>() as f64 - before.0.get(program).into_iter().flatten().sum::<u64>() as f64;
        println!("{program}: {:.1} KiB per service", more / count as f64);
    }
    Ok(())
}

/// Resident KiB of each process, by program.
struct Memory(BTreeMap<&'static str, Vec<u64>>);

impl Memory {
    fn print(&self) {
        let mut all = 0;
        for (program, kib) in &self.0 {
            let mib: Vec<String> = kib.iter().map(|kib| format!("{:.1}", *kib as f64 / 1024.0)).collect();
            println!("{program}: resident MiB {}", mib.join(" + "));
            if INSTALLED.contains(program) {
                all += kib.iter().sum::<u64>();
            }
        }
        println!("the install, {}: resident {:.1} MiB", INSTALLED.join(" and "), all as f64 / 1024.0);
    }
}

/// Reads the memory from the machine's kernel; processes in containers are processes of the machine.
fn memory() -> Memory {
    let mut all: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(program) = program(&process.path()) else { continue };
        let status = fs::read_to_string(process.path().join("status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: Option<u64> = resident.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        all.entry(program).or_default().extend(kib);
    }
    Memory(all)
}

/// Returns which of the counted programs a process runs.
fn program(process: &Path) -> Option<&'static str> {
    let line = fs::read(process.join("cmdline")).ok()?;
    let first = String::from_utf8_lossy(line.split(|byte| *byte == 0).next()?).into_owned();
    if first.ends_with(API_SERVER) {
        return Some(API_SERVER);
    }
    // Ebb's containers have their program in the root folder; others of the same name are not Ebb's.
    PROGRAMS.into_iter().find(|name| first.strip_prefix('/') == Some(name))
}

/// Counts the writes of each client while nothing happens.
async fn writes(cluster: &Cluster) -> Result<(), Failure> {
    let scenario = Scenario::begin(cluster.clone(), "quiet").await;
    let own = || async {
        scenario
            .system()
            .metrics("autoscaler")
            .await
            .iter()
            .map(|all| all.sum("ebb_autoscaler_api_writes_total", &[]))
            .sum::<f64>()
    };
    let lease = || lease_transitions(cluster);
    sleep(QUIET / 6).await;
    let (own_before, revision_before, _) = (own().await, revision(cluster).await?, lease().await);
    let mut renewals = 0;
    let begin = Instant::now();
    let mut last = lease().await;
    while begin.elapsed() < QUIET {
        sleep(Duration::from_millis(500)).await;
        let now = lease().await;
        renewals += u32::from(now != last);
        last = now;
    }
    let own_after = own().await;
    println!(
        "writes in {} s: {} by the autoscaler to objects, {renewals} to its Lease; {} by all in the cluster",
        QUIET.as_secs(),
        own_after - own_before,
        revision(cluster).await? - revision_before,
    );
    scenario.end().await;
    Ok(())
}

/// Returns the version of the autoscaler's Lease.
async fn lease_transitions(cluster: &Cluster) -> Option<String> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), SYSTEM);
    leases.get("ebb-autoscaler").await.ok()?.metadata.resource_version
}

/// Returns the store's revision, which grows with each write in the cluster.
async fn revision(cluster: &Cluster) -> Result<i64, Failure> {
    let services: Api<Service> = Api::all(cluster.client.clone());
    let listed = services.list(&ListParams::default().limit(1)).await?;
    Ok(listed.metadata.resource_version.ok_or_else(|| json!("no revision").to_string())?.parse()?)
}
