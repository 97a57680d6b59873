//! Measures 100 consecutive cold starts on this machine, each of a new service: how long a request waits, in
//! which phases, and how much of it is Ebb's.
//!
//! `cargo bench -p ebb-benches --bench cold_start [-- --starts 100 --startup-ms 100]`

use std::{collections::BTreeMap, error::Error, process::ExitCode, time::Duration};

use ebb_core::Tick;
use ebb_local::{
    Cluster, ColdStart, Options,
    config::{Service, Understood, local_defaults},
    process,
};
use ebb_sample_app as sample_app;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    sync::mpsc,
    time::{sleep, timeout},
};

/// A cold start takes a second at most, unless it is broken.
const SOON: Duration = Duration::from_secs(30);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    if let Some(code) = process::reexec(std::env::args_os()) {
        return Ok(code);
    }
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let startup_ms = number("--startup-ms", 100);
    if arguments.get(1).is_some_and(|argument| argument == "sample-app") {
        let startup_delay = Duration::from_millis(startup_ms);
        let port = std::env::var("PORT")?.parse()?;
        let options = sample_app::Options { port, startup_delay, ..sample_app::Options::default() };
        return Ok(Builder::new_current_thread().enable_all().build()?.block_on(sample_app::run(options))?);
    }
    let starts = Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(measure(number("--starts", 100), startup_ms))?;
    report(&starts, startup_ms);
    Ok(ExitCode::SUCCESS)
}

async fn measure(count: u64, startup_ms: u64) -> Result<Vec<ColdStart>, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let command = vec![
        program.display().to_string(),
        "sample-app".to_owned(),
        "--startup-ms".to_owned(),
        startup_ms.to_string(),
    ];
    let services = (0..count)
        .map(|n| service(n, command.clone()).understand(&local_defaults()))
        .collect::<Result<Vec<Understood>, _>>()?;
    let (cluster, mut lines) = Cluster::start(services, Options::new(program)).await?;
    let mut starts = Vec::new();
    for status in cluster.status() {
        let mut stream = TcpStream::connect(status.address).await?;
        let asked = ask(&mut stream);
        tokio::pin!(asked);
        timeout(SOON, async {
            loop {
                tokio::select! {
                    answer = &mut asked => return answer,
                    line = lines.recv() => heed(&cluster, line.as_ref()),
                }
            }
        })
        .await??;
        drain_lines(&cluster, &mut lines);
        starts.extend(timeout(SOON, noted(&cluster)).await?);
    }
    cluster.shut_down().await;
    Ok(starts)
}

fn service(n: u64, command: Vec<String>) -> Service {
    let annotations = BTreeMap::from([("autoscaling.knative.dev/initial-scale".to_owned(), "0".to_owned())]);
    Service {
        container: None,
        name: format!("service-{n}"),
        port: 0,
        command,
        directory: None,
        environment: BTreeMap::new(),
        annotations,
    }
}

async fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 200") {
        Ok(())
    } else {
        Err(std::io::Error::other("not answered with 200"))
    }
}

/// Records when the sample app began to listen.
fn heed(cluster: &Cluster, line: Option<&ebb_local::Line>) {
    let told = line.and_then(|line| Some((&line.pod, line.text.split_once("at_us=")?.1.parse().ok()?)));
    if let Some((pod, micros)) = told {
        cluster.app_listened(pod, Tick::from_epoch(Duration::from_micros(micros)));
    }
}

fn drain_lines(cluster: &Cluster, lines: &mut mpsc::Receiver<ebb_local::Line>) {
    while let Ok(line) = lines.try_recv() {
        heed(cluster, Some(&line));
    }
}

async fn noted(cluster: &Cluster) -> Vec<ColdStart> {
    loop {
        let starts = cluster.take_cold_starts();
        if !starts.is_empty() {
            return starts;
        }
        sleep(Duration::from_millis(1)).await;
    }
}

/// The duration that a row of the report shows.
type Phase = fn(&ColdStart) -> Duration;

/// Prints each phase's quantiles in milliseconds.
fn report(starts: &[ColdStart], startup_ms: u64) {
    println!("{} cold starts of an app that takes {startup_ms} ms to start, in ms", starts.len());
    println!("{:<34} {:>8} {:>8} {:>8}", "", "p50", "p99", "max");
    let rows: [(&str, Phase); 7] = [
        ("held → decided", |start| start.phases().decide),
        ("decided → process started", |start| start.phases().spawn),
        ("started → listens (the app's own)", |start| start.phases().start),
        ("listens → noticed", |start| start.phases().notice),
        ("noticed → first byte at the app", |start| start.phases().dispatch),
        ("the whole", ColdStart::total),
        ("Ebb's own share", ColdStart::own),
    ];
    for (name, of) in rows {
        let mut values: Vec<f64> = starts.iter().map(|start| of(start).as_secs_f64() * 1e3).collect();
        values.sort_by(f64::total_cmp);
        let at = |share: usize| {
            values.get((values.len() * share).div_ceil(100).max(1) - 1).copied().unwrap_or(0.0)
        };
        println!("{name:<34} {:>8.2} {:>8.2} {:>8.2}", at(50), at(99), at(100));
    }
}
