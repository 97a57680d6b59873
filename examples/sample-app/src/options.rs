//! What the sample app can be told, as types and as command-line flags.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

/// How the sample app behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The address to listen on: loopback, where nothing but this machine is to reach it.
    pub address: IpAddr,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Passes before the port is bound.
    pub startup_delay: Duration,
    /// How long one request is worked on. The timer ticks in milliseconds and rounds up.
    pub service_time: Duration,
    /// The service time varies by up to this much to both sides, uniformly, and never below zero.
    pub jitter: Duration,
    /// How many requests are worked on at once; the others wait inside, oldest first. `None`: no limit.
    pub concurrency: Option<NonZeroUsize>,
    /// What goes wrong at the start, if anything.
    pub fail: Option<Failure>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            startup_delay: Duration::ZERO,
            service_time: Duration::ZERO,
            jitter: Duration::ZERO,
            concurrency: None,
            fail: None,
        }
    }
}

/// A way to fail at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Failure {
    /// Prints a line to standard error and exits with status 3, after the startup delay.
    Crash,
    /// Keeps running, and never listens.
    NeverListen,
}

/// The command-line flags of the sample app; times are in milliseconds.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; in a pod 0.0.0.0 or ::, so that the kubelet's probes reach it
    #[arg(long, env = "ADDRESS", default_value_t = IpAddr::from(Ipv4Addr::LOCALHOST))]
    pub address: IpAddr,

    /// Port to listen on; 0 lets the system choose
    #[arg(long, env = "PORT", default_value_t = 8080)]
    pub port: u16,

    /// Milliseconds before the port is bound
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub startup_ms: u32,

    /// Milliseconds that one request is worked on
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub service_ms: u32,

    /// Milliseconds by which the service time varies, to both sides
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub jitter_ms: u32,

    /// Requests worked on at once; without it there is no limit
    #[arg(long, value_name = "REQUESTS")]
    pub concurrency: Option<NonZeroUsize>,

    /// What goes wrong at the start
    #[arg(long, value_enum)]
    pub fail: Option<Failure>,
}

impl From<Args> for Options {
    fn from(args: Args) -> Self {
        let millis = |count: u32| Duration::from_millis(u64::from(count));
        Self {
            address: args.address,
            port: args.port,
            startup_delay: millis(args.startup_ms),
            service_time: millis(args.service_ms),
            jitter: millis(args.jitter_ms),
            concurrency: args.concurrency,
            fail: args.fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn flags_become_options() {
        let line = "app --address 0.0.0.0 --port 0 --startup-ms 40 --service-ms 30 --jitter-ms 5 \
                    --concurrency 2 --fail never-listen";
        let program = Program::try_parse_from(line.split(' ')).unwrap();
        let expected = Options {
            address: Ipv4Addr::UNSPECIFIED.into(),
            port: 0,
            startup_delay: Duration::from_millis(40),
            service_time: Duration::from_millis(30),
            jitter: Duration::from_millis(5),
            concurrency: NonZeroUsize::new(2),
            fail: Some(Failure::NeverListen),
        };
        assert_eq!(Options::from(program.args), expected);
    }

    #[test]
    fn nobody_else_reaches_it_unless_it_is_told_otherwise() {
        let program = Program::try_parse_from(["app"]).unwrap();
        let expected = Options { port: 8080, ..Options::default() };
        assert_eq!(Options::from(program.args), expected);
    }

    #[test]
    fn a_concurrency_of_zero_is_refused() {
        assert!(Program::try_parse_from(["app", "--concurrency", "0"]).is_err());
    }
}
