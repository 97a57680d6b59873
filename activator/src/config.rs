//! The configuration of the program, read from the environment once.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ebb_core::environment::{Environment, Fault};
use ebb_proxy::Quiet;

use crate::gateway::Trusted;

/// The configuration of an activator.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this activator, unique among activators.
    pub name: String,
    /// The address at which pods and clients reach it. It is reported to the autoscaler.
    pub advertised: IpAddr,
    /// The address on which it listens, on each service's port.
    pub listen: IpAddr,
    /// The address of an autoscaler, which names the others.
    pub autoscaler: SocketAddr,
    /// The file with the token that is sent to autoscalers; `None` if they require none.
    pub token_file: Option<PathBuf>,
    /// Bytes of memory for requests. `None` means half of the container's memory limit.
    pub request_memory: Option<u64>,
    /// The address that serves `/metrics` and `/healthz`; `None` if nothing does.
    pub metrics: Option<SocketAddr>,
    /// The configuration of the gateway; `None` if this activator is not a gateway.
    pub gateway: Option<GatewayConfig>,
    /// How long the activator drains before it exits.
    pub drain: Quiet,
}

/// The configuration of the gateway, which serves all services by the host that a request names.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The address for HTTP.
    pub http: SocketAddr,
    /// The address for HTTP over TLS; `None` if TLS is off.
    pub https: Option<SocketAddr>,
    /// The proxies whose forwarding headers are trusted.
    pub trusted: Trusted,
}

impl Config {
    /// Reads the environment through `lookup`: `POD_NAME`, `POD_IP`, `EBB_AUTOSCALER` (`ip:port`; by default
    /// the Service `ebb-autoscaler`, from the variables that the kubelet sets), `EBB_TOKEN_FILE`,
    /// `EBB_REQUEST_MEMORY_BYTES` (default half of the container's limit), `EBB_METRICS_PORT` (default 9090),
    /// `EBB_GATEWAY_HTTP_PORT` (unset: no gateway), `EBB_GATEWAY_HTTPS_PORT` (unset: no TLS),
    /// `EBB_GATEWAY_TRUSTED_PROXIES` (comma-separated addresses and networks; default none),
    /// `EBB_DRAIN_QUIET_SECONDS` (default 10) and `EBB_DRAIN_LIMIT_SECONDS` (default 300).
    ///
    /// # Errors
    ///
    /// Returns all faults at once.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let mut env = Environment::new(lookup);
        let everywhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let seconds = "whole seconds";
        let config = Self {
            name: env.required("POD_NAME", String::new(), "the pod's name"),
            advertised: env.required("POD_IP", everywhere, "the pod's IP address"),
            listen: everywhere,
            autoscaler: autoscaler(&mut env),
            token_file: env.text("EBB_TOKEN_FILE").map(PathBuf::from),
            request_memory: Some(env.read("EBB_REQUEST_MEMORY_BYTES", 0, "whole bytes"))
                .filter(|bytes| *bytes > 0),
            metrics: Some(SocketAddr::new(everywhere, env.port("EBB_METRICS_PORT", Some(9090)))),
            gateway: gateway(&mut env),
            drain: Quiet {
                quiet: Duration::from_secs(env.read("EBB_DRAIN_QUIET_SECONDS", 10, seconds)),
                limit: Duration::from_secs(env.read("EBB_DRAIN_LIMIT_SECONDS", 300, seconds)),
            },
        };
        env.finish(config)
    }
}

fn gateway(env: &mut Environment<impl Fn(&str) -> Option<String>>) -> Option<GatewayConfig> {
    // Not EBB_GATEWAY_PORT: the kubelet sets that for the Service `ebb-gateway`.
    env.text("EBB_GATEWAY_HTTP_PORT")?;
    let at = |port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let http = at(env.port("EBB_GATEWAY_HTTP_PORT", None));
    let https = env.text("EBB_GATEWAY_HTTPS_PORT").map(|_| at(env.port("EBB_GATEWAY_HTTPS_PORT", None)));
    let trusted = env.read(
        "EBB_GATEWAY_TRUSTED_PROXIES",
        Trusted::default(),
        "addresses or networks, separated by commas",
    );
    Some(GatewayConfig { http, https, trusted })
}

/// The variables that the kubelet sets for the Service `ebb-autoscaler`.
const SERVICE_HOST: &str = "EBB_AUTOSCALER_SERVICE_HOST";
const SERVICE_PORTS: [&str; 2] = ["EBB_AUTOSCALER_SERVICE_PORT_LINK", "EBB_AUTOSCALER_SERVICE_PORT"];

/// Returns the address from our own variable, or else from the kubelet's. It looks up no name, because there
/// may be no resolver.
fn autoscaler(env: &mut Environment<impl Fn(&str) -> Option<String>>) -> SocketAddr {
    let nowhere = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    if env.text("EBB_AUTOSCALER").is_some() || env.text(SERVICE_HOST).is_none() {
        let want = "the autoscaler's ip:port, or the Service ebb-autoscaler in the pod's namespace";
        return env.required("EBB_AUTOSCALER", SocketAddr::new(nowhere, 0), want);
    }
    let host = env.read(SERVICE_HOST, nowhere, "an IP address");
    let [link, first] = SERVICE_PORTS;
    let name = if env.text(link).is_some() { link } else { first };
    SocketAddr::new(host, env.port(name, None))
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

    /// Variables, and the autoscaler's address that they give or the name of the faulty variable.
    type Case<'a> = (&'a [(&'a str, &'a str)], Result<&'a str, &'a str>);

    #[test]
    fn the_autoscaler_is_where_we_are_told_else_where_the_kubelet_says() {
        let own = ("EBB_AUTOSCALER", "10.0.0.2:8080");
        let host = ("EBB_AUTOSCALER_SERVICE_HOST", "10.96.0.7");
        let link = ("EBB_AUTOSCALER_SERVICE_PORT_LINK", "8081");
        let port = ("EBB_AUTOSCALER_SERVICE_PORT", "8082");
        let cases: [Case; 6] = [
            (&[own, host, link, port], Ok("10.0.0.2:8080")),
            (&[host, link, port], Ok("10.96.0.7:8081")),
            (&[host, port], Ok("10.96.0.7:8082")),
            (&[host], Err("EBB_AUTOSCALER_SERVICE_PORT")),
            (&[link], Err("EBB_AUTOSCALER")),
            (&[("EBB_AUTOSCALER_SERVICE_HOST", "fd00::7"), link], Ok("[fd00::7]:8081")),
        ];
        for (vars, want) in cases {
            let all = [&[("POD_NAME", "a"), ("POD_IP", "10.0.0.1")], vars].concat();
            let config = from(&all).map(|config| config.autoscaler.to_string());
            let found = config.map_err(|faults| faults[0].name);
            assert_eq!(found, want.map(str::to_owned), "{vars:?}");
        }
    }

    #[test]
    fn there_is_a_gateway_where_its_port_is_said() {
        let own = [("POD_NAME", "a"), ("POD_IP", "10.0.0.1"), ("EBB_AUTOSCALER", "10.0.0.2:8080")];
        assert!(from(&own).unwrap().gateway.is_none());
        // The kubelet's word for the Service `ebb-gateway`, in whose namespace this runs.
        let link = ("EBB_GATEWAY_PORT", "tcp://10.96.0.9:80");
        assert!(from(&[&own[..], &[link]].concat()).unwrap().gateway.is_none());
        let with = |more: &[(&'static str, &'static str)]| from(&[&own[..], more].concat());
        let gateway = with(&[("EBB_GATEWAY_HTTP_PORT", "8080")]).unwrap().gateway.unwrap();
        assert_eq!((gateway.http.port(), gateway.trusted), (8080, Trusted::default()));
        let trusted = [("EBB_GATEWAY_HTTP_PORT", "8080"), ("EBB_GATEWAY_TRUSTED_PROXIES", "10.0.0.0/8")];
        assert_ne!(with(&trusted).unwrap().gateway.unwrap().trusted, Trusted::default());
        let faults =
            with(&[("EBB_GATEWAY_HTTP_PORT", "http"), ("EBB_GATEWAY_TRUSTED_PROXIES", "here")]).unwrap_err();
        let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        assert_eq!(names, ["EBB_GATEWAY_HTTP_PORT", "EBB_GATEWAY_TRUSTED_PROXIES"]);
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let config =
            from(&[("POD_NAME", "a"), ("POD_IP", "10.0.0.1"), ("EBB_AUTOSCALER", "10.0.0.2:8080")]).unwrap();
        assert_eq!(config.metrics.map(|address| address.port()), Some(9090));
        assert_eq!(config.drain.quiet, Duration::from_secs(10));
    }
}
