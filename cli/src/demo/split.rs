//! `ebb demo --split`: a canary under load. One route, two versions, and weights that move from one to the
//! other.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use anyhow::Context;
use ebb_annotations::{RouteSpec, keys, parse_route};
use ebb_local::{
    Cluster,
    config::{Service, local_defaults, understand},
};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::{Args, options, service, target};
use crate::{
    load::{Generator, Limits, LoadMeter, Outcome, Phase, Plan, Tally},
    open_files,
    stop::Stop,
};

const ROUTE: &str = "hello";
const VERSIONS: [&str; 2] = ["hello-v1", "hello-v2"];
/// The weights of both, step by step. The second version is at zero when it gets its first request.
const STEPS: [[u32; 2]; 5] = [[100, 0], [90, 10], [50, 50], [10, 90], [0, 100]];
/// How often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Runs the demo. The exit status is 0 only if no request was lost.
pub(super) async fn demo(args: &Args) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen().context("cannot listen for signals")?;
    let open_files = open_files::raise();
    let mut services: Vec<Service> = VERSIONS.iter().map(|name| service(args, name)).collect();
    services.push(Service {
        name: ROUTE.to_owned(),
        port: 0,
        command: Vec::new(),
        directory: None,
        environment: BTreeMap::new(),
        container: None,
        annotations: annotations(STEPS[0]),
    });
    let understood = understand(services, &local_defaults()).map_err(|faults| {
        anyhow::Error::msg(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let (cluster, mut lines) = Cluster::start(understood, options()?).await?;
    let address = cluster.addresses().find(|(name, _)| *name == ROUTE).context("the demo has no route")?.1;
    let plan = plan(args);
    let generator = Generator::new(plan.clone(), target(address)?, Limits::within_open_files(open_files));
    let meter = generator.meter();
    say(
        args,
        &format!(
            "http://{address}: {} req/s to {ROUTE}, which divides them between {} and {}",
            args.rate, VERSIONS[0], VERSIONS[1]
        ),
    );
    let load = tokio::spawn(generator.run(args.seed));
    let finished = tokio::select! {
        () = steps(args, &cluster, &meter, &plan) => true,
        () = stop.told() => false,
        // The apps' output is not shown; if it were not read, its channel would fill up.
        () = async { while lines.recv().await.is_some() {} } => false,
    };
    let outcome = if finished {
        load.await.context("the load generator failed")?
    } else {
        load.abort();
        meter.outcome()
    };
    let ended = stop.finish(cluster.shut_down()).await;
    Ok(if finished { report(args, &outcome) } else { ended })
}

fn annotations(weights: [u32; 2]) -> BTreeMap<String, String> {
    let split = VERSIONS.iter().zip(weights).map(|(name, weight)| format!("{name}={weight}"));
    [(keys::SPLIT.name.to_owned(), split.collect::<Vec<_>>().join(", "))].into()
}

/// Returns the route's spec; the demo's annotations have no faults.
fn route(weights: [u32; 2]) -> Option<RouteSpec> {
    parse_route(ROUTE, &annotations(weights)).ok().map(|route| route.spec)
}

fn name(weights: [u32; 2]) -> String {
    weights.map(|weight| weight.to_string()).join("/")
}

fn plan(args: &Args) -> Plan {
    let step = Duration::from_secs(args.seconds) / u32::try_from(STEPS.len()).unwrap_or(1);
    let phase = |weights| Phase { name: name(weights), duration: step, rate_per_second: args.rate };
    Plan { phases: STEPS.map(phase).to_vec(), arrivals: args.arrivals }
}

/// Changes the weights at each step, and prints a line each second, until the load has ended.
async fn steps(args: &Args, cluster: &Cluster, meter: &LoadMeter, plan: &Plan) {
    let began = Instant::now();
    let mut looks = interval(LINE_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut next, mut told) = (began, [0; 2]);
    for (weights, phase) in STEPS.into_iter().zip(&plan.phases) {
        if let Some(spec) = route(weights) {
            cluster.divide(ROUTE, &spec);
        }
        next += phase.duration;
        loop {
            tokio::select! {
                () = sleep_until(next) => break,
                _ = looks.tick() => say(args, &line(cluster, meter, weights, &mut told)),
            }
        }
    }
}

/// Formats what happened since the last line; `told` counts the requests of each version that were already
/// printed.
fn line(cluster: &Cluster, meter: &LoadMeter, weights: [u32; 2], told: &mut [u64; 2]) -> String {
    let total = meter.outcome().total;
    let by = VERSIONS.map(|name| total.answered_by.get(name).copied().unwrap_or(0));
    let [first, second] = [by[0] - told[0], by[1] - told[1]];
    *told = by;
    let pods = |name: &str| {
        let status = cluster.status().into_iter().find(|status| status.name == name);
        status.map_or(0, |status| status.pods.len())
    };
    let recent = meter.recent();
    let p99 = recent.latency.map_or(0.0, |latency| latency.p99.as_secs_f64() * 1e3);
    format!(
        "{:5.1}s  weights {:>6} | answered by v1 {first:>3}, by v2 {second:>3} | pods {} and {} | p99 {p99:.0} ms | lost {}",
        meter.elapsed().as_secs_f64(),
        name(weights),
        pods(VERSIONS[0]),
        pods(VERSIONS[1]),
        total.lost_total(),
    )
}

fn say(args: &Args, text: &str) {
    if args.json { eprintln!("{text}") } else { println!("{text}") }
}

/// Returns the percentage of answers from the second version.
fn second(tally: &Tally) -> f64 {
    let by = |name| tally.answered_by.get(name).copied().unwrap_or(0) as f64;
    let (first, second) = (by(VERSIONS[0]), by(VERSIONS[1]));
    100.0 * second / (first + second).max(1.0)
}

fn report(args: &Args, outcome: &Outcome) -> ExitCode {
    let lost = outcome.total.lost_total() + outcome.total.in_flight();
    if args.json {
        let steps: Vec<_> = outcome
            .phases
            .iter()
            .map(|(name, tally)| json!({ "weights": name, "answered": tally.answered, "second_percent": second(tally) }))
            .collect();
        println!("{}", json!({ "sent": outcome.total.sent, "lost": lost, "steps": steps }));
    } else {
        println!();
        println!("weights   answers   {} got", VERSIONS[1]);
        for (name, tally) in &outcome.phases {
            println!("{name:>7}   {:>7}   {:.1} %", tally.answered, second(tally));
        }
        println!();
        println!("{} sent, {lost} lost", outcome.total.sent);
    }
    if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
