//! `ebb demo`: a sample app under a generated load, from zero to N and back, twice.

mod live;
mod script;
mod split;
mod summary;

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Args as ClapArgs;
use ebb_core::Tick;
use ebb_decide::Periods;
use ebb_local::{
    Cluster, ColdStart, Line, Options, ServiceStatus,
    config::{Service, local_defaults},
};
use ebb_proxy::Quiet;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    load::{Arrivals, Generator, Limits, LoadMeter, Outcome, Target},
    open_files,
    stop::Stop,
};
use live::Live;
use script::Script;
use summary::Summary;

/// The name of the demo's service.
const SERVICE: &str = "hello";
/// How often the display is updated.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the service may take to be at zero after the load.
const ZERO_WITHIN: Duration = Duration::from_secs(30);

/// `ebb demo [--seconds 60] [--json]`
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// How long the load lasts; it always contains both cycles
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(40..=3600))]
    seconds: u64,
    /// End with one line of JSON instead of a summary
    #[arg(long)]
    json: bool,
    /// How long the app takes to start
    #[arg(long, default_value_t = 500, value_name = "MS")]
    startup_ms: u64,
    /// How long the app takes to answer
    #[arg(long, default_value_t = 60, value_name = "MS")]
    service_ms: u64,
    /// How much longer or shorter than that a response may take
    #[arg(long, default_value_t = 20, value_name = "MS")]
    jitter_ms: u64,
    /// How many requests one pod executes at once; the activator stays in the path and holds the rest. 0 is
    /// unlimited
    #[arg(long, default_value_t = 0, value_name = "N")]
    concurrency: usize,
    /// Requests per second while the load is steady; the spike is ten times that
    #[arg(long, default_value_t = 80.0, value_name = "RPS", value_parser = rate)]
    rate: f64,
    /// How the requests are distributed over time
    #[arg(long, value_enum, default_value_t)]
    arrivals: Arrivals,
    /// Seed of the random arrivals: the same seed sends the same load
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Show a canary instead: a steady load moves step by step from one version to the next
    #[arg(long)]
    split: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1.0..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("want a number from 1 to 1000".to_owned()),
    }
}

/// What was observed during the demo.
struct Seen {
    starts: Vec<ColdStart>,
    peak_pods: usize,
    last: ServiceStatus,
    lasted: Duration,
    back_to_zero: bool,
}

/// Runs the demo. The exit status is 0 only if no request was lost.
pub(crate) async fn demo(args: &Args) -> anyhow::Result<ExitCode> {
    if args.split {
        return split::demo(args).await;
    }
    let mut stop = Stop::listen().context("cannot listen for signals")?;
    let open_files = open_files::raise();
    let script = Script::new(Duration::from_secs(args.seconds), args.rate, args.arrivals);
    let (cluster, lines) =
        Cluster::start(vec![service(args, SERVICE).understand(&local_defaults())?], options()?).await?;
    let address = cluster.status().first().map(|status| status.address).context("the demo has no service")?;
    let generator = Generator::new(script.plan(), target(address)?, Limits::within_open_files(open_files));
    let meter = generator.meter();
    let mut live = Live::new(args.json, &script)?;
    let load = tokio::spawn(generator.run(args.seed));
    let watched = tokio::select! {
        seen = watch(&cluster, &script, lines, &meter, &mut live) => Some(seen),
        () = stop.told() => None,
    };
    live.end();
    let outcome = if watched.is_some() {
        load.await.context("the load generator failed")?
    } else {
        load.abort();
        meter.outcome()
    };
    let ended = stop.finish(cluster.shut_down()).await;
    let Some(seen) = watched else { return Ok(ended) };
    Ok(report(args, &outcome, &seen))
}

fn report(args: &Args, outcome: &Outcome, seen: &Seen) -> ExitCode {
    let summary = Summary::new(outcome, seen);
    if args.json {
        println!("{}", summary.json());
    } else {
        print!("{}", summary.text());
    }
    if summary.lost() == 0 && seen.back_to_zero { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options() -> anyhow::Result<Options> {
    let launcher = std::env::current_exe().context("cannot find this program to run it again")?;
    Ok(Options {
        periods: Periods { decide: Duration::from_millis(500), ..Periods::default() },
        // The load generator keeps idle connections for half a second.
        drain: Quiet { quiet: Duration::from_secs(1), limit: Duration::from_secs(30) },
        ..Options::new(launcher)
    })
}

fn service(args: &Args, name: &str) -> Service {
    let mut annotations = BTreeMap::from(
        [
            ("autoscaling.knative.dev/target", "10"),
            ("autoscaling.knative.dev/initial-scale", "0"),
            // The shortest that is allowed: 60 seconds must show two cycles.
            ("autoscaling.knative.dev/window", "6s"),
            // Two seconds: with a window of one, a slightly late report looks like silence.
            ("autoscaling.knative.dev/panic-window-percentage", "34"),
            // Small enough for the pods to be reached directly during the spike.
            ("autoscaling.knative.dev/target-burst-capacity", "10"),
            ("ebb.dev/readiness-path", "/healthz"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let mut command = vec![
        std::env::current_exe().unwrap_or_else(|_| "ebb".into()).display().to_string(),
        "sample-app".to_owned(),
        format!("--startup-ms={}", args.startup_ms),
        format!("--service-ms={}", args.service_ms),
        format!("--jitter-ms={}", args.jitter_ms),
    ];
    if let Some(concurrency) = NonZeroUsize::new(args.concurrency) {
        command.push(format!("--concurrency={concurrency}"));
        annotations.insert("ebb.dev/container-concurrency".to_owned(), concurrency.to_string());
        // Full pods refuse requests; the activator, which sees them all, holds them instead.
        annotations.insert("autoscaling.knative.dev/target-burst-capacity".to_owned(), "-1".to_owned());
    }
    Service {
        name: name.to_owned(),
        port: 0,
        command,
        directory: None,
        environment: BTreeMap::new(),
        container: None,
        annotations,
    }
}

fn target(address: SocketAddr) -> anyhow::Result<Target> {
    let authority = address.to_string().parse().context("the service's address is not an authority")?;
    Ok(Target { address, authority, path: http::uri::PathAndQuery::from_static("/") })
}

/// Watches until the load has ended and the service is at zero again.
async fn watch(
    cluster: &Cluster,
    script: &Script,
    mut lines: mpsc::Receiver<Line>,
    meter: &LoadMeter,
    live: &mut Live,
) -> Seen {
    let began = Instant::now();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let give_up = sleep_until(began + script.duration() + ZERO_WITHIN);
    tokio::pin!(give_up);
    let mut starts = Vec::new();
    let mut peak_pods = 0;
    loop {
        let over = tokio::select! {
            Some(printed) = lines.recv() => {
                heed(cluster, &printed, live);
                continue;
            }
            _ = looks.tick() => false,
            () = &mut give_up => true,
        };
        let Some(status) = cluster.status().pop() else { continue };
        let pods = status.pods.len();
        peak_pods = peak_pods.max(pods);
        let fresh = cluster.take_cold_starts();
        live.show(meter.elapsed(), &status, &meter.recent(), &meter.outcome().total, &fresh);
        starts.extend(fresh);
        let back_to_zero = pods == 0 && status.view.is_some_and(|view| view.replicas == 0);
        if over || (back_to_zero && began.elapsed() > script.duration()) {
            return Seen { starts, peak_pods, last: status, lasted: began.elapsed(), back_to_zero };
        }
    }
}

/// Records when the sample app began to listen, and shows its other output.
fn heed(cluster: &Cluster, printed: &Line, live: &mut Live) {
    let at = printed.text.strip_prefix("listening ").and_then(|rest| rest.split_once("at_us="));
    match at.and_then(|(_, at)| at.parse().ok()) {
        Some(micros) => cluster.app_listened(&printed.pod, Tick::from_epoch(Duration::from_micros(micros))),
        None => live.note(&format!("{} | {}", printed.pod, printed.text)),
    }
}
