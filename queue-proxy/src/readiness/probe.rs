//! How the app is asked, from the pod's own readiness probe as `SERVING_READINESS_PROBE` carries it.

use std::time::Duration;

use ebb_core::probe::{self, InvalidProbe};

/// One way to ask the app whether it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How it is asked.
    pub kind: ProbeKind,
    /// An answer that takes longer is none.
    pub timeout: Duration,
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
        /// Headers to send.
        headers: Vec<(String, String)>,
    },
}

impl Probe {
    /// A connection can be made within a second.
    pub const fn tcp() -> Self {
        Self { kind: ProbeKind::Tcp, timeout: Duration::from_secs(1) }
    }

    /// `GET path` is answered with success within a second.
    pub fn http(path: impl Into<String>) -> Self {
        Self {
            kind: ProbeKind::Http { path: path.into(), headers: Vec::new() },
            timeout: Duration::from_secs(1),
        }
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

/// gRPC and exec probes are tried as TCP: that the port accepts is what a sidecar can see of them. A time-out
/// of 0 is Kubernetes' second.
impl From<probe::Probe> for Probe {
    fn from(probe: probe::Probe) -> Self {
        let kind = probe.http_get.map_or(ProbeKind::Tcp, |get| ProbeKind::Http {
            path: if get.path.starts_with('/') { get.path } else { format!("/{}", get.path) },
            headers: get.http_headers.into_iter().map(|header| (header.name, header.value)).collect(),
        });
        let timeout = u64::try_from(probe.timeout_seconds).unwrap_or(0).max(1);
        Self { kind, timeout: Duration::from_secs(timeout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_references_probes_are_understood() {
        let http = r#"{"httpGet":{"path":"/ok","port":8080,"host":"127.0.0.1","scheme":"HTTP",
            "httpHeaders":[{"name":"A","value":"b"}]},"timeoutSeconds":3,"successThreshold":1}"#;
        let want = Probe {
            kind: ProbeKind::Http { path: "/ok".into(), headers: vec![("A".into(), "b".into())] },
            timeout: Duration::from_secs(3),
        };
        assert_eq!(decode(http).unwrap(), [want]);
        let tcp = r#"{"tcpSocket":{"port":8080,"host":"127.0.0.1"},"successThreshold":1}"#;
        assert_eq!(decode(tcp).unwrap(), [Probe::tcp()]);
        assert_eq!(decode(&format!(" [{tcp},null,{tcp}]")).unwrap(), [Probe::tcp(), Probe::tcp()]);
        for untimed in
            [r#"{"grpc":{"port":8080},"timeoutSeconds":-1}"#, r#"{"exec":{},"timeoutSeconds":null}"#]
        {
            assert_eq!(decode(untimed).unwrap(), [Probe::tcp()], "{untimed}");
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
