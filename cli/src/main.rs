//! `ebb`: the whole system on one machine, with processes as pods, and the operator's tool for a cluster.

mod cluster;
mod demo;
mod explain;
mod load;
mod open_files;
mod rollout_lines;
mod run;
mod stop;
mod terminal;

use std::{
    ffi::OsString,
    io::{self, IsTerminal},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use ebb_local::process;
use ebb_proxy::program::LOOKS_AFTER;
use ebb_sample_app as sample_app;
use tokio::runtime::{Builder, Runtime};
use tracing::level_filters::LevelFilter;

/// Request-driven autoscaling, down to zero and back
#[derive(Parser)]
#[command(name = "ebb", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Scale a sample app from zero to N and back, under load
    Demo(demo::Args),
    /// Run a command as a service that scales from zero to N and back
    Run(run::Args),
    /// Run the services of an ebb.yaml, or Services of Knative Serving
    Up(run::UpArgs),
    /// Install Ebb on a Kubernetes cluster
    Install(cluster::InstallArgs),
    /// Uninstall Ebb from a Kubernetes cluster, without an outage of its services
    Uninstall(cluster::UninstallArgs),
    /// Check Ebb on a cluster: versions, rights, webhooks, reachability, each Service
    Check(cluster::check::Args),
    /// Show why a service has its current number of pods: its last decisions and the data behind them
    Explain(explain::Args),
    /// Show the rollout of a route on a cluster, pause it, resume it or undo it
    Rollout(cluster::RolloutArgs),
    /// The app of the demo: an HTTP server with a configurable start-up and response time
    #[command(hide = true)]
    SampleApp(sample_app::Args),
}

fn main() -> ExitCode {
    // Pods and the guardian first: they are this program run again, and should start at once.
    if let Some(code) = process::reexec(std::env::args_os()) {
        return code;
    }
    // rustls and kube leave the choice of provider to the program; a second installation would only fail.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let line: Vec<OsString> = std::env::args_os().collect();
    let cli = Cli::try_parse_from(&line).unwrap_or_else(|error| run::missing_dashes(error, &line).exit());
    match execute(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ebb: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => {
            log(LevelFilter::ERROR);
            runtime()?.block_on(demo::demo(&args))
        }
        Command::Run(args) => {
            log(args.common.level());
            runtime()?.block_on(run::run(args))
        }
        Command::Up(args) => {
            log(args.common.level());
            runtime()?.block_on(run::up(args))
        }
        Command::Install(args) => runtime()?.block_on(cluster::install(&args)),
        Command::Uninstall(args) => runtime()?.block_on(cluster::uninstall(&args)),
        Command::Check(args) => runtime()?.block_on(cluster::check::check(&args)),
        Command::Explain(args) => runtime()?.block_on(explain::explain(&args)),
        Command::Rollout(args) => runtime()?.block_on(cluster::rollout(&args)),
        Command::SampleApp(args) => {
            let app = Builder::new_current_thread().enable_all().build()?;
            Ok(app.block_on(sample_app::run(args.into()))?)
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread().enable_all().event_interval(LOOKS_AFTER).build()
}

fn log(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .with_target(false)
        .without_time()
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_goes_together_is_taken_and_what_does_not_is_refused() {
        let takes =
            |line: &str| Cli::try_parse_from(line.split(' ')).map(drop).map_err(|error| error.to_string());
        for line in [
            "ebb install --single --image-registry r.example/team --queue-proxy-image q:1 --no-wait --dry-run",
            "ebb install --wait --timeout 90s --context kind",
            "ebb install --gateway --serving",
            "ebb uninstall --serving --keep-pods --dry-run",
            "ebb uninstall --delete-ksvcs",
            "ebb uninstall --keep-namespace --kubeconfig /k --timeout 5m",
            "ebb check --json -n shop",
            "ebb explain shop/hello",
            "ebb explain hello -n shop --context kind --json",
            "ebb explain hello --api 127.0.0.1:9",
            "ebb rollout hello",
            "ebb rollout shop/hello --json --context kind",
            "ebb rollout hello -n shop --undo",
            "ebb run --host 0.0.0.0 --port 80 -- python3 app.py --port 5",
            "ebb up --host ::1",
            "ebb up -f a.yaml -f b.yaml --gateway 8080 --port 9000 --domain localhost --images",
        ] {
            assert_eq!(takes(line), Ok(()), "{line}");
        }
        for (line, why) in [
            ("ebb explain hello --api 127.0.0.1:9 -n shop", "cannot be used with"),
            ("ebb explain hello --api 127.0.0.1:9 --context kind", "cannot be used with"),
            ("ebb explain", "required"),
            ("ebb rollout hello --pause --undo", "cannot be used with"),
            ("ebb rollout hello --resume --json", "cannot be used with"),
            ("ebb install --timeout 0s", "want a duration above 0"),
            ("ebb uninstall --keep-pods --delete-ksvcs", "cannot be used with"),
            ("ebb uninstall --serving --keep-namespace", "cannot be used with"),
            ("ebb uninstall --timeout soon", "want a duration above 0"),
            ("ebb run --host everywhere -- x", "invalid IP address"),
        ] {
            assert!(takes(line).unwrap_err().contains(why), "{line}");
        }
    }

    #[test]
    fn a_command_without_its_dashes_is_answered_with_the_line_that_was_meant() {
        let said = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let Err(error) = Cli::try_parse_from(&words) else { panic!("{line} is taken") };
            run::missing_dashes(error, &words).to_string()
        };
        for (line, meant) in [
            ("ebb run python3 app.py", "ebb run -- python3 app.py\n"),
            ("ebb run --port 80 ./app --port 5", "ebb run --port 80 -- ./app --port 5\n"),
            ("ebb run -f a.yaml app -x", "ebb run -f a.yaml -- app -x\n"),
        ] {
            let tip = format!("tip: put the command of a pod after `--`: {meant}");
            assert!(said(line).contains(&tip), "{}", said(line));
        }
        for line in ["ebb run", "ebb run --prot 80 app", "ebb run more -- app", "ebb up app"] {
            assert!(!said(line).contains("put the command"), "{}", said(line));
        }
    }
}
