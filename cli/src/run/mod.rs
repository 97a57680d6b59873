//! `ebb run` and `ebb up`.

mod dashes;
mod tries;
mod watch;

pub(crate) use dashes::missing as missing_dashes;
pub(crate) use watch::cold_start as cold_start_line;

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU16,
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use ebb_annotations::{Exposure, Metric, RouteSpec, ScalingSpec, Share, full_key, keys};
use ebb_core::Host;
use ebb_local::{
    Api, Cluster, DEFAULT_API, Options,
    config::{self, ConfigError, Described, Role, Service, Understood, Wishes},
    container::Container,
};
use tokio::time::{MissedTickBehavior, interval};
use tracing::level_filters::LevelFilter;

use crate::{open_files, stop::Stop, terminal::Terminal};
use watch::Watch;

/// How often changes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What both commands take.
#[derive(ClapArgs, Debug)]
pub(crate) struct Common {
    /// Log more of what Ebb does; give it twice to log everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Address at which the autoscaler answers `ebb explain` and Prometheus [default: 127.0.0.1:8079, or any free port]
    #[arg(long, value_name = "ADDRESS")]
    api: Option<SocketAddr>,
    /// Address at which clients reach the services; 0.0.0.0 also lets in clients from other machines
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
}

impl Common {
    fn api(&self) -> Api {
        self.api.map_or(Api::Preferably(DEFAULT_API), Api::At)
    }

    pub(crate) fn level(&self) -> LevelFilter {
        match self.verbose {
            0 => LevelFilter::WARN,
            1 => LevelFilter::INFO,
            _ => LevelFilter::DEBUG,
        }
    }
}

/// `ebb run [--name N] [--port 8080] [--set KEY=VALUE]… [-f service.yaml] -- CMD ARGS…`
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Name of the service [default: that of the manifest, or of the command]
    #[arg(long)]
    name: Option<String>,
    /// Port on which clients reach the service
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// An annotation, for example target=10 or ebb.dev/container-concurrency=5
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// A Kubernetes Service manifest whose annotations to use
    #[arg(short = 'f', long = "file", value_name = "SERVICE.YAML")]
    file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
    /// The command of a pod. It listens on the port in its environment variable PORT
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// `ebb up [-f ebb.yaml]…`
#[derive(ClapArgs, Debug)]
pub(crate) struct UpArgs {
    /// The services to run: an ebb.yaml, or Services of serving.knative.dev/v1. May be given several times
    #[arg(short = 'f', long = "file", value_name = "FILE", default_value = "ebb.yaml")]
    files: Vec<PathBuf>,
    /// Port of the gateway, which finds a service by the host of a request
    #[arg(long, value_name = "PORT")]
    gateway: Option<NonZeroU16>,
    /// First port for Services of serving.knative.dev/v1. Each gets the next one that no other service has
    #[arg(long, value_name = "PORT", default_value = "8080")]
    port: NonZeroU16,
    /// Domain of those Services at the gateway, where each is NAME.NAMESPACE.DOMAIN
    #[arg(long, default_value = "127.0.0.1.sslip.io")]
    domain: String,
    /// Run their images with podman or docker, even if they have a command
    #[arg(long)]
    images: bool,
    #[command(flatten)]
    pub(crate) common: Common,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((full_key(key), value.to_owned())),
        _ => Err("want KEY=VALUE, for example target=10".to_owned()),
    }
}

/// Runs a command as a service until told to stop.
pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let manifest = args.file.as_deref().map(config::read_manifest).transpose()?.unwrap_or_default();
    let mut annotations = manifest.annotations;
    annotations.extend(args.set);
    let name = match args.name.or(manifest.name) {
        Some(name) => name,
        None => name_of_command(&args.command),
    };
    let service = Service {
        name,
        port: args.port,
        command: args.command,
        directory: None,
        environment: BTreeMap::new(),
        container: None,
        annotations,
    };
    serve(Described { services: vec![service], ..Described::default() }, &args.common).await
}

/// Runs the services of files until told to stop.
pub(crate) async fn up(args: UpArgs) -> anyhow::Result<ExitCode> {
    let UpArgs { files, gateway, port, domain, images, common } = args;
    let wishes = Wishes { gateway, first_port: port, domain, images };
    serve(config::read_files(&files, &wishes).map_err(|faults| all_of(&faults))?, &common).await
}

/// Returns the last part of the program's name, as far as it is valid for a service.
fn name_of_command(command: &[String]) -> String {
    let program = command.first().map_or("", |program| program.rsplit('/').next().unwrap_or_default());
    let name: String = program
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

async fn serve(what: Described, common: &Common) -> anyhow::Result<ExitCode> {
    let terminal = Terminal::new();
    let understood =
        config::understand(what.services, &config::local_defaults()).map_err(|faults| all_of(&faults))?;
    for warning in &what.warnings {
        eprintln!("ebb: warning: {warning}");
    }
    for one in &understood {
        let of_keys = one.warnings.iter().map(ToString::to_string);
        for warning in of_keys.chain(of_exposure(&one.exposure, what.gateway.is_some())) {
            eprintln!("ebb: {}: warning: {warning}", one.service.name);
        }
    }
    let described: HashMap<String, String> =
        understood.iter().map(|one| (one.service.name.clone(), describe(one))).collect();
    let mut stop = Stop::listen().context("cannot listen for signals")?;
    open_files::raise();
    let launcher = std::env::current_exe().context("cannot find this program to run it again")?;
    let gateway = what.gateway.map(NonZeroU16::get);
    let options = Options { api: common.api(), host: common.host, gateway, ..Options::new(launcher) };
    let (mut cluster, mut lines) = Cluster::start(understood, options).await?;
    for (name, address) in cluster.addresses() {
        let what = described.get(name).map_or("", String::as_str);
        terminal.say(&format!("{name}: http://{address} → {what}"));
    }
    if let Some(address) = cluster.gateway() {
        terminal.say(&format!("the gateway: http://{address}, for all services by their hosts"));
    }
    let at = if cluster.api() == DEFAULT_API { String::new() } else { format!(" --api {}", cluster.api()) };
    terminal.say(&format!(
        "Ctrl-C drains and stops everything; `ebb explain NAME{at}` says why there are so many pods"
    ));
    let mut watch = Watch::default();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let has_failed = loop {
        tokio::select! {
            Some(line) = lines.recv() => terminal.pod(&line),
            _ = looks.tick() => {
                watch.look(&cluster).iter().for_each(|news| terminal.say(news));
                if watch.is_over() {
                    break false;
                }
            }
            () = stop.told() => break false,
            () = cluster.failed() => break true,
        }
    };
    if has_failed {
        terminal.say(
            "a part of Ebb failed, which is a bug in Ebb; stopping, because nothing would be scaled any \
                      more",
        );
    }
    if !watch.is_over() {
        terminal.say("draining; press Ctrl-C again after 2 s to stop at once");
    }
    let ending = async {
        let mut ended = std::pin::pin!(cluster.shut_down());
        loop {
            tokio::select! {
                biased; // all lines that were printed before the end
                Some(line) = lines.recv() => terminal.pod(&line),
                () = &mut ended => return,
            }
        }
    };
    let ended = stop.finish(ending).await;
    if watch.is_over() {
        bail!("gave up: the command was never ready, and no request is held for it");
    }
    Ok(if has_failed { ExitCode::FAILURE } else { ended })
}

/// Returns one error that says all faults, each in lines of its own.
fn all_of(faults: &[ConfigError]) -> anyhow::Error {
    let words = |fault: &ConfigError| match fault.source() {
        Some(source) => format!("{fault}: {source}"),
        None => fault.to_string(),
    };
    anyhow::Error::msg(faults.iter().map(words).collect::<Vec<_>>().join("\n"))
}

/// Returns warnings about settings for the gateway that have no effect.
fn of_exposure(exposure: &Exposure, is_there: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if !exposure.hosts.is_empty() && !is_there {
        let text =
            "has no effect without a gateway: add a port for it to the file of `ebb up`, gateway: 8080";
        warnings.push(format!("{}: {text}", keys::HOSTS.name));
    }
    if exposure.tls_secret.is_some() {
        warnings.push(format!("{}: has no effect here: one machine has no Secrets", keys::TLS_SECRET.name));
    }
    warnings
}

fn describe(understood: &Understood) -> String {
    let what = match &understood.role {
        Role::Pods(spec) => describe_pods(&understood.service, spec),
        Role::Route(route) => describe_route(route),
    };
    let hosts: Vec<&str> = understood.exposure.hosts.iter().map(Host::as_str).collect();
    if hosts.is_empty() { what } else { format!("{what}; hosts {}", hosts.join(", ")) }
}

/// Describes the targets of a route, each with its share in percent.
fn describe_route(route: &RouteSpec) -> String {
    let sum: f64 = route.split.iter().map(|share| f64::from(share.weight)).sum();
    let percent = |share: &Share| (f64::from(share.weight) / sum * 1e4).round() / 1e2;
    let parts: Vec<String> =
        route.split.iter().map(|share| format!("{} {} %", share.service, percent(share))).collect();
    let by = route.by.text().map_or(String::new(), |by| format!(", by {by}"));
    format!("{}{by}", parts.join(", "))
}

fn describe_pods(service: &Service, spec: &ScalingSpec) -> String {
    let most = spec.max_scale.map_or_else(|| "any number of".to_owned(), |max| max.to_string());
    let unit = match spec.metric {
        Metric::Concurrency => "requests in flight",
        Metric::Rps => "requests per second",
    };
    format!(
        "{}; {} to {most} pods, {} {unit} each",
        service
            .container
            .as_ref()
            .map_or_else(|| format!("`{}`", service.command.join(" ")), Container::summary),
        spec.lower_bound(true),
        spec.target
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_after_its_command_if_nothing_else_names_it() {
        let named = |program: &str| name_of_command(&[program.to_owned()]);
        assert_eq!(named("./target/my_server"), "my-server");
        assert_eq!(named("python3"), "python3");
        assert_eq!(named("./__"), "app");
    }

    #[test]
    fn set_takes_short_and_full_keys() {
        assert_eq!(key_value("target=10"), Ok(("autoscaling.knative.dev/target".into(), "10".into())));
        assert_eq!(key_value("ebb.dev/queue-depth=5"), Ok(("ebb.dev/queue-depth".into(), "5".into())));
        assert!(key_value("target").is_err());
        assert!(key_value("=1").is_err());
    }
}
