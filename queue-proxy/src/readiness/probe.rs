//! The pod's own readiness probe, as `SERVING_READINESS_PROBE` carries it: a Kubernetes Probe in JSON.

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

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

/// A probe that cannot be read.
#[derive(Debug, Error)]
#[error("want a Kubernetes Probe as JSON, or a list of them: {0}")]
pub struct InvalidProbe(#[from] serde_json::Error);

/// Reads one probe or a list. Empty text, `null` and empty lists are no probe: the app counts as ready.
///
/// gRPC and exec probes are tried as TCP here: that the port accepts is what a sidecar can see of them.
///
/// # Errors
///
/// [`InvalidProbe`] with the place in the JSON.
pub fn decode(text: &str) -> Result<Vec<Probe>, InvalidProbe> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let wire = match serde_json::from_str::<OneOrMany>(text)? {
        OneOrMany::Many(list) => list,
        OneOrMany::One(one) => vec![one],
    };
    Ok(wire.into_iter().flatten().map(Probe::from).collect())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Option<WireProbe>>),
    One(Option<WireProbe>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireProbe {
    http_get: Option<WireHttpGet>,
    #[serde(default)]
    timeout_seconds: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireHttpGet {
    #[serde(default)]
    path: String,
    #[serde(default)]
    http_headers: Vec<WireHeader>,
}

#[derive(Deserialize)]
struct WireHeader {
    name: String,
    value: String,
}

impl From<WireProbe> for Probe {
    fn from(wire: WireProbe) -> Self {
        let kind = wire.http_get.map_or(ProbeKind::Tcp, |get| ProbeKind::Http {
            path: if get.path.starts_with('/') { get.path } else { format!("/{}", get.path) },
            headers: get.http_headers.into_iter().map(|header| (header.name, header.value)).collect(),
        });
        Self { kind, timeout: Duration::from_secs(u64::from(wire.timeout_seconds.max(1))) }
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
        assert_eq!(decode(&format!("[{tcp},null,{tcp}]")).unwrap(), [Probe::tcp(), Probe::tcp()]);
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
