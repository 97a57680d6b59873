//! How the app is asked, from the pod's own readiness probe as `SERVING_READINESS_PROBE` carries it.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use ebb_core::probe::{self, HttpGet, InvalidProbe, Port};

/// One way to ask the app whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How it is asked.
    pub kind: ProbeKind,
    /// Where; `None` is where the app takes requests.
    pub host: Option<IpAddr>,
    /// On which port; `None` is the one on which the app takes requests.
    pub port: Option<NonZeroU16>,
    /// An answer that takes longer is none.
    pub timeout: Duration,
    /// So many successes in a row make it ready.
    pub successes: NonZeroU32,
}

/// How the app is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// A connection can be made.
    Tcp,
    /// `GET path` is answered with a status of 200 to 399.
    Http {
        /// Path and query.
        path: String,
        /// Headers to send, in order.
        headers: Vec<(String, String)>,
    },
    /// gRPC's health check is answered with `SERVING`.
    Grpc {
        /// Of which service; empty is of the whole server.
        service: String,
    },
}

impl Probe {
    /// A connection can be made within a second.
    pub const fn tcp() -> Self {
        Self::of(ProbeKind::Tcp)
    }

    /// `GET path` is answered with success within a second.
    pub fn http(path: impl Into<String>) -> Self {
        Self::of(ProbeKind::Http { path: path.into(), headers: Vec::new() })
    }

    /// gRPC's health check of `service` is answered with `SERVING` within a second.
    pub fn grpc(service: impl Into<String>) -> Self {
        Self::of(ProbeKind::Grpc { service: service.into() })
    }

    const fn of(kind: ProbeKind) -> Self {
        let timeout = Duration::from_secs(1);
        Self { kind, host: None, port: None, timeout, successes: NonZeroU32::MIN }
    }

    /// Where it asks, if `app` is where the app takes requests.
    pub(super) fn address(&self, app: SocketAddr) -> SocketAddr {
        let port = self.port.map_or(app.port(), NonZeroU16::get);
        SocketAddr::new(self.host.unwrap_or(app.ip()), port)
    }
}

/// Reads one probe or a list. Empty text, `null` and empty lists are no probe: the app counts as ready.
///
/// The reference has a second variable that tells which of the two it is; the text itself tells as well.
///
/// # Errors
///
/// [`InvalidProbe`], which says where the fault is.
pub fn decode(text: &str) -> Result<Vec<Probe>, InvalidProbe> {
    let text = text.trim();
    let probes = if text.is_empty() {
        Vec::new()
    } else if text.starts_with('[') {
        probe::Probe::decode_multiple(text)?
    } else {
        vec![probe::Probe::decode(text)?]
    };
    Ok(probes.into_iter().flatten().map(Probe::from).collect())
}

/// A command and HTTPS are not for a sidecar to try: that the port accepts is what it can see of them. A time-out
/// of 0 is Kubernetes' second, a threshold of 0 its one.
impl From<probe::Probe> for Probe {
    fn from(probe: probe::Probe) -> Self {
        let (kind, host, port) = if let Some(get) = probe.http_get {
            (http(&get), host(&get.host), port(&get.port))
        } else if let Some(socket) = probe.tcp_socket {
            (ProbeKind::Tcp, host(&socket.host), port(&socket.port))
        } else if let Some(grpc) = probe.grpc {
            let service = grpc.service.unwrap_or_default();
            (ProbeKind::Grpc { service }, None, port(&Port::Number(grpc.port)))
        } else {
            (ProbeKind::Tcp, None, None)
        };
        let timeout = u64::try_from(probe.timeout_seconds).unwrap_or(0).max(1);
        let successes = u32::try_from(probe.success_threshold).ok().and_then(NonZeroU32::new);
        Self {
            kind,
            host,
            port,
            timeout: Duration::from_secs(timeout),
            successes: successes.unwrap_or(NonZeroU32::MIN),
        }
    }
}

fn http(get: &HttpGet) -> ProbeKind {
    if get.scheme.eq_ignore_ascii_case("https") {
        return ProbeKind::Tcp;
    }
    let slash = if get.path.starts_with('/') { "" } else { "/" };
    ProbeKind::Http {
        path: escaped(&format!("{slash}{}", get.path)),
        headers: get.http_headers.iter().map(|header| (header.name.clone(), header.value.clone())).collect(),
    }
}

/// The path as it may stand in a request, without what a browser would keep for itself.
fn escaped(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let sendable = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
    path.bytes()
        .map(|byte| if sendable(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// No name is looked up: the app is in our own pod, and whoever wrote the probe for us knows that.
fn host(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Names are resolved by whoever makes the pod, because only the pod's spec knows them. The kubelet takes a number
/// that is written as text for a number.
fn port(port: &Port) -> Option<NonZeroU16> {
    match port {
        Port::Number(number) => u16::try_from(*number).ok().and_then(NonZeroU16::new),
        Port::Name(name) => name.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Probe {
        let mut probes = decode(text).unwrap();
        assert_eq!(probes.len(), 1, "{text}");
        probes.remove(0)
    }

    #[test]
    fn the_references_probes_are_understood() {
        let http = r#"{"httpGet":{"path":"/ok","port":8080,"host":"127.0.0.1","scheme":"HTTP",
            "httpHeaders":[{"name":"A","value":"b"}]},"timeoutSeconds":3,"successThreshold":2}"#;
        let want = Probe {
            kind: ProbeKind::Http { path: "/ok".into(), headers: vec![("A".into(), "b".into())] },
            host: Some([127, 0, 0, 1].into()),
            port: NonZeroU16::new(8080),
            timeout: Duration::from_secs(3),
            successes: NonZeroU32::new(2).unwrap(),
        };
        assert_eq!(one(http), want);
        let tcp = r#"{"tcpSocket":{"port":8080,"host":"127.0.0.1"},"successThreshold":1}"#;
        let want = Probe { host: Some([127, 0, 0, 1].into()), port: NonZeroU16::new(8080), ..Probe::tcp() };
        assert_eq!(one(tcp), want);
        assert_eq!(decode(&format!(" [{tcp},null,{tcp}]")).unwrap(), [want.clone(), want]);
        let grpc = Probe { port: NonZeroU16::new(9000), ..Probe::grpc("s") };
        assert_eq!(one(r#"{"grpc":{"port":9000,"service":"s"},"timeoutSeconds":-1}"#), grpc);
        assert_eq!(one(r#"{"grpc":{"port":9000}}"#), Probe { port: grpc.port, ..Probe::grpc("") });
    }

    #[test]
    fn what_a_sidecar_cannot_try_is_tried_as_a_connection() {
        assert_eq!(one(r#"{"exec":{},"timeoutSeconds":null}"#), Probe::tcp());
        let https = one(r#"{"httpGet":{"path":"/ok","port":8443,"scheme":"https"}}"#);
        assert_eq!(https, Probe { port: NonZeroU16::new(8443), ..Probe::tcp() });
    }

    #[test]
    fn a_probe_asks_where_it_says_and_else_where_the_app_takes_requests() {
        let app = "127.0.0.1:3000".parse().unwrap();
        for (text, want) in [
            (r#"{"tcpSocket":{"port":8081}}"#, "127.0.0.1:8081"),
            (r#"{"tcpSocket":{"port":"8081"}}"#, "127.0.0.1:8081"),
            (r#"{"tcpSocket":{"port":"web"}}"#, "127.0.0.1:3000"),
            (r#"{"tcpSocket":{}}"#, "127.0.0.1:3000"),
            (r#"{"tcpSocket":{"port":65536}}"#, "127.0.0.1:3000"),
            (r#"{"tcpSocket":{"port":-1}}"#, "127.0.0.1:3000"),
            (r#"{"tcpSocket":{"port":8081,"host":"::1"}}"#, "[::1]:8081"),
            (r#"{"httpGet":{"port":8081,"host":"127.0.0.2"}}"#, "127.0.0.2:8081"),
            (r#"{"httpGet":{"port":8081,"host":"shop.example"}}"#, "127.0.0.1:8081"),
            (r#"{"grpc":{"port":9000}}"#, "127.0.0.1:9000"),
            (r#"{"exec":{"command":["true"]}}"#, "127.0.0.1:3000"),
        ] {
            assert_eq!(one(text).address(app).to_string(), want, "{text}");
        }
    }

    #[test]
    fn a_path_becomes_one_that_can_be_sent() {
        for (path, want) in [
            ("", "/"),
            ("healthz?deep=1", "/healthz?deep=1"),
            ("/a b#c", "/a%20b"),
            ("/caf\u{e9}%20", "/caf%C3%A9%20"),
            ("/{x}", "/%7Bx%7D"),
        ] {
            let get = HttpGet { path: path.to_owned(), ..HttpGet::default() };
            assert_eq!(http(&get), ProbeKind::Http { path: want.to_owned(), headers: Vec::new() });
        }
    }

    #[test]
    fn no_threshold_is_one_success() {
        for threshold in ["null", "0", "-1", "1"] {
            let text = format!(r#"{{"tcpSocket":{{}},"successThreshold":{threshold}}}"#);
            assert_eq!(one(&text).successes.get(), 1, "{threshold}");
        }
    }

    #[test]
    fn no_probe_is_ready_at_once_and_nonsense_is_refused() {
        for none in ["", " ", "null", "[]", "[null]"] {
            assert_eq!(decode(none).unwrap(), [], "{none:?}");
        }
        for nonsense in ["{", "3", r#"{"httpGet":"x"}"#] {
            assert!(decode(nonsense).is_err(), "{nonsense:?}");
        }
    }
}
