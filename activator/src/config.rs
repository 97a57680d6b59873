//! The environment of the program, read once.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use ebb_proxy::Quiet;
use thiserror::Error;

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

/// A variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}={value:?}: want {want}")]
pub struct Fault {
    /// The variable.
    pub name: &'static str,
    /// What it says; empty if it is not set.
    pub value: String,
    /// What would be right.
    pub want: &'static str,
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
        let mut faults = Vec::new();
        let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let seconds = "whole seconds";
        let name = read(&lookup, "POD_NAME", None, "the pod's name", &mut faults);
        let advertised = read(&lookup, "POD_IP", None, "the pod's IP address", &mut faults);
        let autoscaler = read(&lookup, "EBB_AUTOSCALER", None, "the autoscaler's ip:port", &mut faults);
        let metrics = read(&lookup, "EBB_METRICS_PORT", Some(9090_u16), "a port number", &mut faults);
        let quiet = read(&lookup, "EBB_DRAIN_QUIET_SECONDS", Some(10), seconds, &mut faults);
        let limit = read(&lookup, "EBB_DRAIN_LIMIT_SECONDS", Some(300), seconds, &mut faults);
        match (name, advertised, autoscaler, metrics, quiet, limit) {
            (Some(name), Some(advertised), Some(autoscaler), Some(metrics), Some(quiet), Some(limit)) => {
                Ok(Self {
                    name,
                    advertised,
                    listen: everywhere,
                    autoscaler,
                    metrics: Some(SocketAddr::new(everywhere, metrics)),
                    drain: Quiet { quiet: Duration::from_secs(quiet), limit: Duration::from_secs(limit) },
                })
            }
            _ => Err(faults),
        }
    }
}

fn read<T: FromStr>(
    lookup: &impl Fn(&str) -> Option<String>,
    name: &'static str,
    default: Option<T>,
    want: &'static str,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    let value = lookup(name).unwrap_or_default();
    let read = if value.is_empty() { default } else { value.parse().ok() };
    if read.is_none() {
        faults.push(Fault { name, value, want });
    }
    read
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
