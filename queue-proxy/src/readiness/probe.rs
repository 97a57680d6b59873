//! The readiness probes of the app, decoded from `SERVING_READINESS_PROBE`.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use ebb_core::probe::{self, HttpGet, InvalidProbe, Port};

/// One probe of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What to try.
    pub kind: ProbeKind,
    /// The host; `None` is the host on which the app takes requests.
    pub host: Option<IpAddr>,
    /// The port; `None` is the port on which the app takes requests.
    pub port: Option<NonZeroU16>,
    /// Time limit for the response.
    pub timeout: Duration,
    /// Number of successes in a row that make the app ready.
    pub successes: NonZeroU32,
}

/// What a probe tries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Connect.
    Tcp,
    /// `GET path` must be answered with a status of 200 to 399.
    Http {
        /// Path and query.
        path: String,
        /// Headers to send, in order.
        headers: Vec<(String, String)>,
    },
    /// gRPC's health check must be answered with `SERVING`.
    Grpc {
        /// The service to check; empty for the whole server.
        service: String,
    },
}

impl Probe {
    /// Returns a probe that connects within a second.
    pub const fn tcp() -> Self {
        Self::of(ProbeKind::Tcp)
    }

    /// Returns a probe that sends `GET path` and waits a second for success.
    pub fn http(path: impl Into<String>) -> Self {
        Self::of(ProbeKind::Http { path: path.into(), headers: Vec::new() })
    }

    /// Returns a probe that waits a second for gRPC's health check of `service`.
    pub fn grpc(service: impl Into<String>) -> Self {
        Self::of(ProbeKind::Grpc { service: service.into() })
    }

    const fn of(kind: ProbeKind) -> Self {
        let timeout = Duration::from_secs(1);
        Self { kind, host: None, port: None, timeout, successes: NonZeroU32::MIN }
    }

    /// Returns the address to probe, if the app takes requests at `app`.
    pub(super) fn address(&self, app: SocketAddr) -> SocketAddr {
        let port = self.port.map_or(app.port(), NonZeroU16::get);
        SocketAddr::new(self.host.unwrap_or(app.ip()), port)
    }
}

/// Decodes one probe or a list. Empty text, `null` and empty lists mean no probe: the app counts as ready.
///
/// The reference has a second variable that says which of the two it is; here, the text itself decides.
///
/// # Errors
///
/// Returns [`InvalidProbe`], which says where the fault is.
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

/// A sidecar cannot try commands and HTTPS; instead, it checks that the port accepts connections. A timeout of 0
/// means Kubernetes' default of a second, and a threshold of 0 its default of 1.
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

/// Returns the path as it can be sent in a request, without the fragment.
fn escaped(path: &str) -> String {
    let path = path.split('#').next().unwrap_or_default();
    let sendable = |byte: u8| byte.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&byte);
    path.bytes()
        .map(|byte| if sendable(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Names are not looked up: the app is in the sidecar's own pod.
fn host(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Port names are resolved by the injector, because only the pod's spec contains them. Like the kubelet, this accepts
/// a number that is written as a string.
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
