//! Measures Ebb in a real Kubernetes: the phases of a cold start, the cost of an idle install, and requests
//! lost while pods come and go under load.
//!
//! `e2e/run` with `EBB_E2E_KEEP=1` sets a cluster up; then, inside its network, `cargo bench -p ebb-benches
//! --bench coldstart [-- NAME…] [--starts 30]`, with the names below.

mod footprint;
mod losses;
mod starts;
mod table;
mod timeline;

use std::error::Error;

use e2e::Cluster;
use starts::Shape;
use tokio::runtime::Builder;

/// Cold starts measured for each shape; the reference was measured with as many.
const STARTS: usize = 30;
/// Services that are woken at the same time.
const TOGETHER: usize = 20;
/// Idle services whose cost is measured.
const IDLE_SERVICES: usize = 1000;

const ALL: [&str; 8] =
    ["plain", "no-token", "startup", "together", "idle", "services", "update", "scale-down"];

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut wanted: Vec<&str> = ALL.into_iter().filter(|name| arguments.iter().any(|a| a == name)).collect();
    if wanted.is_empty() {
        wanted = ALL.to_vec();
    }
    let at = arguments.iter().position(|argument| argument == "--starts");
    let starts = at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(STARTS);
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let Some(cluster) = Cluster::find().await else { return Ok(()) };
        for name in wanted {
            match name {
                "plain" => starts::one_by_one(&cluster, Shape::Plain, starts).await?,
                "no-token" => starts::one_by_one(&cluster, Shape::WithoutToken, starts).await?,
                "startup" => starts::one_by_one(&cluster, Shape::SlowToStart, starts).await?,
                "together" => starts::together(&cluster, TOGETHER).await?,
                "idle" => footprint::idle(&cluster).await?,
                "services" => footprint::services(&cluster, IDLE_SERVICES).await?,
                "update" => losses::update(&cluster).await?,
                _ => losses::scale_down(&cluster).await?,
            }
            println!();
        }
        Ok(())
    })
}
