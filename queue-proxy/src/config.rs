//! The configuration, read once from the environment. The names are the reference's (`docs/programs.md` lists them
//! with units).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use ebb_core::{
    AppProtocol, LateResponse,
    announce::Announcement,
    environment::{Environment, Fault},
};
use ebb_proxy::{ConnectionLimits, Quiet};

use crate::{
    announce::{Announcing, ReadyBy},
    readiness::{self, Probe},
};

/// Maximum number of pending requests in a pod, for each request that may execute.
const QUEUE_DEPTH_PER_SLOT: usize = 10;

/// The configuration of the sidecar.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address for requests.
    pub serving: SocketAddr,
    /// Address for scrapes: the `Stat`, or metrics as text.
    pub stats: SocketAddr,
    /// Address for `/wait-for-drain` and `/drain`.
    pub admin: SocketAddr,
    /// Address of the app.
    pub app: SocketAddr,
    /// The pod's name in its reports.
    pub pod: String,
    /// Maximum number of requests that the app executes at once; `None` is unlimited.
    pub container_concurrency: Option<NonZeroUsize>,
    /// Time from a request's arrival to the last byte of its response.
    pub request_timeout: Duration,
    /// Time from a request's arrival to the head of its response; `None` is off.
    pub response_start_timeout: Option<Duration>,
    /// The version of HTTP in which the app gets its requests; `None`: that in which they came.
    pub app_protocol: Option<AppProtocol>,
    /// Longest gap between two frames of a response; `None` is off.
    pub idle_timeout: Option<Duration>,
    /// What becomes of a response that has begun when its time is over.
    pub late_response: LateResponse,
    /// How long clients' connections may last.
    pub connections: ConnectionLimits,
    /// The probes that find out whether the app is ready.
    pub probes: Vec<Probe>,
    /// A request with this nonce speaks for Ebb. Without a nonce, headers about the origin of a request are trusted
    /// from everyone, as by the reference.
    pub nonce: Option<String>,
    /// What to announce, and to which autoscaler; `None` announces nothing, as the reference does.
    pub announce: Option<Announcing>,
    /// How to drain.
    pub drain: Quiet,
}

impl Config {
    /// Returns the maximum number of pending requests if `slots` requests may execute at once.
    pub fn queue_depth(slots: NonZeroUsize) -> usize {
        slots.get().saturating_mul(QUEUE_DEPTH_PER_SLOT)
    }

    /// Reads the environment through `lookup`.
    ///
    /// # Errors
    ///
    /// Returns all faults at once.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        let mut env = Environment::new(lookup);
        let everywhere = |port: u16| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let concurrency: i64 = env.read("CONTAINER_CONCURRENCY", 0, "a whole number; below 1 is unlimited");
        let seconds = "whole seconds";
        let request_timeout: u64 = env.read("REVISION_TIMEOUT_SECONDS", 300, seconds);
        let response_start: u64 = env.read("REVISION_RESPONSE_START_TIMEOUT_SECONDS", 0, seconds);
        let idle: u64 = env.read("REVISION_IDLE_TIMEOUT_SECONDS", 0, seconds);
        let max_age: u64 = env.read("EBB_MAX_CONNECTION_AGE_SECONDS", 0, seconds);
        let tunnel_idle: u64 = env.read("EBB_TUNNEL_IDLE_TIMEOUT_SECONDS", 0, seconds);
        let nonce = env.text("EBB_POD_NONCE");
        // Without a nonce, somebody else injected this sidecar and expects what the reference does.
        let late = if nonce.is_some() { LateResponse::Cut } else { LateResponse::End };
        let late_response = env.read("EBB_LATE_RESPONSE", late, "cut or end");
        let app = env.port("USER_PORT", None);
        let app_protocol = env
            .text("EBB_APP_PROTOCOL")
            .map(|_| env.read("EBB_APP_PROTOCOL", AppProtocol::Http1, "http1 or h2c, or nothing"));
        let quiet: u64 = env.read("EBB_DRAIN_QUIET_SECONDS", 10, seconds);
        let limit: u64 = env.read("EBB_DRAIN_LIMIT_SECONDS", request_timeout.saturating_add(quiet), seconds);
        let serving = env.port("QUEUE_SERVING_PORT", Some(8012));
        let stats = env.port("EBB_STATS_PORT", Some(9090));
        let config = Self {
            serving: everywhere(serving),
            stats: everywhere(stats),
            admin: everywhere(env.port("EBB_ADMIN_PORT", Some(8022))),
            app: (Ipv4Addr::LOCALHOST, app).into(),
            pod: env.required("SERVING_POD", String::new(), "the pod's name"),
            container_concurrency: usize::try_from(concurrency).ok().and_then(NonZeroUsize::new),
            request_timeout: Duration::from_secs(request_timeout),
            response_start_timeout: limit_of(response_start),
            app_protocol,
            idle_timeout: limit_of(idle),
            late_response,
            connections: ConnectionLimits {
                max_age: limit_of(max_age),
                tunnel_idle: limit_of(tunnel_idle),
                renewed_at: None,
            },
            probes: probes(&mut env),
            nonce,
            announce: announcing(&mut env, serving, stats),
            drain: Quiet { quiet: Duration::from_secs(quiet), limit: Duration::from_secs(limit) },
        };
        if request_timeout == 0 {
            env.fault("REVISION_TIMEOUT_SECONDS", "0", "want at least 1".into());
        }
        for (name, value) in [
            ("REVISION_RESPONSE_START_TIMEOUT_SECONDS", response_start),
            ("REVISION_IDLE_TIMEOUT_SECONDS", idle),
        ] {
            if value > request_timeout {
                let problem =
                    format!("exceeds REVISION_TIMEOUT_SECONDS={request_timeout}; want less, or 0 for off");
                env.fault(name, &value.to_string(), problem);
            }
        }
        env.finish(config)
    }
}

/// Reads what `EBB_ANNOUNCE` requires; without it, nothing is announced.
fn announcing(
    env: &mut Environment<impl Fn(&str) -> Option<String>>,
    serving: u16,
    stats: u16,
) -> Option<Announcing> {
    let ready_by = env.read("EBB_READY_BY", ReadyBy::Sidecar, "kubelet, or nothing");
    env.text("EBB_ANNOUNCE")?;
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let autoscaler = env.read("EBB_ANNOUNCE", nowhere, "the autoscaler's ip:port");
    let services: String = env.required("EBB_SERVICES", String::new(), "names of services, comma separated");
    let address: IpAddr = env.required("SERVING_POD_IP", Ipv4Addr::LOCALHOST.into(), "the pod's IP address");
    let pod = Announcement {
        namespace: env.required("SERVING_NAMESPACE", String::new(), "the pod's namespace"),
        services: services.split(',').map(|name| name.trim().to_owned()).collect(),
        // If it is missing, the fault was already reported.
        pod: env.text("SERVING_POD").unwrap_or_default(),
        address: address.to_string(),
        serving_port: u32::from(serving),
        stats_port: u32::from(stats),
        nonce: env.required("EBB_POD_NONCE", String::new(), "the secret of this pod"),
        draining: false,
    };
    Some(Announcing { autoscaler, pod, ready_by })
}

fn limit_of(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// Returns the pod's own probes, or none if they are invalid, which is a fault.
fn probes(env: &mut Environment<impl Fn(&str) -> Option<String>>) -> Vec<Probe> {
    let name = "SERVING_READINESS_PROBE";
    let text = env.text(name).unwrap_or_default();
    readiness::decode(&text).unwrap_or_else(|error| {
        env.fault(name, &text, error.to_string());
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, Vec<Fault>> {
        Config::from_env(|name| {
            vars.iter().find(|(given, _)| *given == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_references_environment_is_understood() {
        let config = read(&[
            ("CONTAINER_CONCURRENCY", "7"),
            ("QUEUE_SERVING_PORT", "8013"),
            ("USER_PORT", "3000"),
            ("REVISION_TIMEOUT_SECONDS", "60"),
            ("REVISION_IDLE_TIMEOUT_SECONDS", "5"),
            ("SERVING_POD", "hello-1"),
            ("SERVING_READINESS_PROBE", r#"{"tcpSocket":{"port":3000,"host":"127.0.0.1"}}"#),
        ])
        .unwrap();
        assert_eq!(config.container_concurrency, NonZeroUsize::new(7));
        assert_eq!((config.serving.port(), config.app.port()), (8013, 3000));
        assert_eq!(config.idle_timeout, Some(Duration::from_secs(5)));
        assert_eq!(config.response_start_timeout, None);
        let probe =
            Probe { host: Some(Ipv4Addr::LOCALHOST.into()), port: NonZeroU16::new(3000), ..Probe::tcp() };
        assert_eq!(config.probes, [probe]);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let faults = read(&[
            ("CONTAINER_CONCURRENCY", "many"),
            ("REVISION_TIMEOUT_SECONDS", "5"),
            ("REVISION_IDLE_TIMEOUT_SECONDS", "6"),
            ("SERVING_READINESS_PROBE", "{"),
        ])
        .unwrap_err();
        let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        assert_eq!(
            names,
            [
                "CONTAINER_CONCURRENCY",
                "USER_PORT",
                "SERVING_POD",
                "SERVING_READINESS_PROBE",
                "REVISION_IDLE_TIMEOUT_SECONDS"
            ]
        );
        assert_eq!(
            faults[0].to_string(),
            "CONTAINER_CONCURRENCY=\"many\": want a whole number; below 1 is unlimited"
        );
    }

    #[test]
    fn a_pod_announces_itself_if_it_is_told_to_whom() {
        let plain = [("USER_PORT", "3000"), ("SERVING_POD", "web-1"), ("QUEUE_SERVING_PORT", "8013")];
        assert!(read(&plain).unwrap().announce.is_none());
        let told = [
            ("EBB_ANNOUNCE", "10.96.0.7:8080"),
            ("EBB_SERVICES", "web, web-internal"),
            ("EBB_POD_NONCE", "secret"),
            ("SERVING_NAMESPACE", "shop"),
            ("SERVING_POD_IP", "10.0.0.7"),
        ];
        let announcing = read(&[&plain[..], &told[..]].concat()).unwrap().announce.unwrap();
        assert_eq!(announcing.autoscaler, "10.96.0.7:8080".parse().unwrap());
        let said = announcing.pod.checked().unwrap();
        assert_eq!(
            said.services.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["shop/web", "shop/web-internal"]
        );
        assert_eq!((said.serving.to_string(), said.stats.port()), ("10.0.0.7:8013".into(), 9090));
        assert_eq!((&*said.pod, &*said.nonce, said.draining), ("web-1", "secret", false));

        assert_eq!(announcing.ready_by, ReadyBy::Sidecar);
        let by_kubelet = read(&[&plain[..], &told[..], &[("EBB_READY_BY", "kubelet")]].concat()).unwrap();
        assert_eq!(by_kubelet.announce.unwrap().ready_by, ReadyBy::Kubelet);
        let faults = read(&[&plain[..], &[("EBB_READY_BY", "itself")]].concat()).unwrap_err();
        assert_eq!(faults[0].to_string(), "EBB_READY_BY=\"itself\": want kubelet, or nothing");

        let faults = read(&[&plain[..], &[("EBB_ANNOUNCE", "ebb-autoscaler:8080")]].concat()).unwrap_err();
        let names: Vec<&str> = faults.iter().map(|fault| fault.name).collect();
        assert_eq!(
            names,
            ["EBB_ANNOUNCE", "EBB_SERVICES", "SERVING_POD_IP", "SERVING_NAMESPACE", "EBB_POD_NONCE"]
        );
    }

    #[test]
    fn connections_stay_for_as_long_as_they_like_unless_it_is_said() {
        let plain = [("USER_PORT", "3000"), ("SERVING_POD", "web-1")];
        assert_eq!(read(&plain).unwrap().connections, ConnectionLimits::default());
        let limits =
            |age, idle| [("EBB_MAX_CONNECTION_AGE_SECONDS", age), ("EBB_TUNNEL_IDLE_TIMEOUT_SECONDS", idle)];
        let seconds = Duration::from_secs;
        for (age, idle, max_age, tunnel_idle) in
            [("0", "0", None, None), ("3600", "0", Some(3600), None), ("0", "60", None, Some(60))]
        {
            let connections = read(&[&plain[..], &limits(age, idle)].concat()).unwrap().connections;
            let want = ConnectionLimits {
                max_age: max_age.map(seconds),
                tunnel_idle: tunnel_idle.map(seconds),
                renewed_at: None,
            };
            assert_eq!(connections, want);
        }
        let faults = read(&[&plain[..], &limits("1h", "-1")].concat()).unwrap_err();
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "EBB_MAX_CONNECTION_AGE_SECONDS=\"1h\": want whole seconds",
                "EBB_TUNNEL_IDLE_TIMEOUT_SECONDS=\"-1\": want whole seconds"
            ]
        );
    }

    #[test]
    fn below_one_is_unlimited() {
        for text in ["0", "-1"] {
            let vars = [("USER_PORT", "1"), ("SERVING_POD", "p"), ("CONTAINER_CONCURRENCY", text)];
            assert_eq!(read(&vars).unwrap().container_concurrency, None);
        }
    }
}
