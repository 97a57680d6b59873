//! The environment of the program, read once.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use ebb_core::environment::{Environment, Fault};
use ebb_proxy::Quiet;

/// Everything that an activator must know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name, unique among activators.
    pub name: String,
    /// The address by which pods and clients reach it, told to the autoscaler.
    pub advertised: IpAddr,
    /// The address on which it listens, on each service's port.
    pub listen: IpAddr,
    /// Where the autoscaler takes its stream.
    pub autoscaler: SocketAddr,
    /// Where it answers `/metrics` and `/healthz`; `None` where nobody asks.
    pub metrics: Option<SocketAddr>,
    /// How it leaves.
    pub drain: Quiet,
}

impl Config {
    /// Reads the environment through `lookup`: `POD_NAME`, `POD_IP`, `EBB_AUTOSCALER` (`ip:port`),
    /// `EBB_METRICS_PORT` (default 9090), `EBB_DRAIN_QUIET_SECONDS` (default 10) and
    /// `EBB_DRAIN_LIMIT_SECONDS` (default 300).
    ///
    /// # Errors
    ///
    /// All faults at once.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let mut env = Environment::new(lookup);
        let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let nowhere = SocketAddr::new(everywhere, 0);
        let seconds = "whole seconds";
        let config = Self {
            name: env.required("POD_NAME", String::new(), "the pod's name"),
            advertised: env.required("POD_IP", everywhere, "the pod's IP address"),
            listen: everywhere,
            autoscaler: env.required("EBB_AUTOSCALER", nowhere, "the autoscaler's ip:port"),
            metrics: Some(SocketAddr::new(everywhere, env.port("EBB_METRICS_PORT", Some(9090)))),
            drain: Quiet {
                quiet: Duration::from_secs(env.read("EBB_DRAIN_QUIET_SECONDS", 10, seconds)),
                limit: Duration::from_secs(env.read("EBB_DRAIN_LIMIT_SECONDS", 300, seconds)),
            },
        };
        env.finish(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
        Config::from_env(|name| {
            vars.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let faults = from(&[("POD_IP", "here"), ("EBB_METRICS_PORT", "99999")]).unwrap_err();
        let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        assert_eq!(names, ["POD_NAME", "POD_IP", "EBB_AUTOSCALER", "EBB_METRICS_PORT"]);
        assert_eq!(faults[1].to_string(), "POD_IP=\"here\": want the pod's IP address");
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let config =
            from(&[("POD_NAME", "a"), ("POD_IP", "10.0.0.1"), ("EBB_AUTOSCALER", "10.0.0.2:8080")]).unwrap();
        assert_eq!(config.metrics.map(|address| address.port()), Some(9090));
        assert_eq!(config.drain.quiet, Duration::from_secs(10));
    }
}
