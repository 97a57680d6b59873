use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ebb_annotations::{ClusterDefaults, Reachability, ScalingSpec, full_key, parse};
use ebb_core::ServiceKey;
use serde::Deserialize;
use thiserror::Error;

/// One service and its pods.
#[derive(Clone, Debug)]
pub struct FixedService {
    /// Its namespace and name.
    pub key: ServiceKey,
    /// How it is scaled and served.
    pub spec: Arc<ScalingSpec>,
    /// The port on which activators answer for it.
    pub port: u16,
    /// Its pods.
    pub pods: Vec<FixedPod>,
}

/// A pod at a fixed address.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedPod {
    /// Its name.
    pub name: String,
    /// Its queue-proxy's serving port, `ip:port`.
    pub serving: SocketAddr,
    /// Its queue-proxy's stats port, `ip:port`.
    pub stats: SocketAddr,
    /// The value of `EBB_POD_NONCE` of its queue-proxy; empty if none.
    #[serde(default)]
    pub nonce: String,
}

/// A file that cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It could not be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// It is malformed.
    #[error("{0}: {1}")]
    Malformed(PathBuf, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    port: u16,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    pods: Vec<FixedPod>,
}

/// Reads the services of the file at `path`, which looks like this:
///
/// ```yaml
/// services:
///   default/hello:
///     port: 8081
///     annotations: {target: "10"}
///     pods:
///       - {name: hello-1, serving: "10.0.0.7:8012", stats: "10.0.0.7:9090"}
/// ```
///
/// # Errors
///
/// Returns a [`FileError`], with all faults of all annotations.
pub fn read(path: &Path) -> Result<Vec<FixedService>, FileError> {
    let text = fs::read_to_string(path).map_err(|error| FileError::Unreadable(path.to_owned(), error))?;
    from_text(&text).map_err(|problem| FileError::Malformed(path.to_owned(), problem))
}

fn from_text(text: &str) -> Result<Vec<FixedService>, String> {
    let file: File = serde_saphyr::from_str(text)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
    let mut faults = Vec::new();
    let mut services = Vec::new();
    for (name, entry) in file.services {
        match service(&name, entry) {
            Ok(service) => services.push(service),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(services) } else { Err(faults.join("\n")) }
}

fn service(name: &str, entry: Entry) -> Result<FixedService, String> {
    let key: ServiceKey = name.parse().map_err(|error| format!("{error}"))?;
    let annotations = entry.annotations.into_iter().map(|(key, value)| (full_key(&key), value)).collect();
    let parsed =
        parse(&annotations, &ClusterDefaults::default(), Reachability::Reachable).map_err(|faults| {
            faults.iter().map(|fault| format!("service {key}: {fault}")).collect::<Vec<_>>().join("\n")
        })?;
    for warning in &parsed.warnings {
        tracing::warn!(service = %key, "{warning}");
    }
    Ok(FixedService { key, spec: Arc::new(parsed.spec), port: entry.port, pods: entry.pods })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_their_pods_are_read() {
        let services = from_text(
            "services:\n  default/hello:\n    port: 8081\n    annotations: {target: \"10\"}\n    pods:\n      - {name: hello-1, serving: \"10.0.0.7:8012\", stats: \"10.0.0.7:9090\"}\n",
        )
        .unwrap();
        assert_eq!(services[0].key, ServiceKey::new("default", "hello"));
        assert_eq!(services[0].spec.target, 7.0);
        assert_eq!(services[0].pods[0].stats.port(), 9090);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let faults = from_text(
            "services: {nowhere: {port: 1, pods: []}, a/b: {port: 1, annotations: {target: x, window: 1s}, pods: []}}",
        )
        .unwrap_err();
        assert_eq!(faults.lines().count(), 3, "{faults}");
        assert!(from_text("services: [").is_err());
    }
}
