//! `ebb.yaml`: several services, each with a port, and a port for all of them.

use std::{
    collections::BTreeMap,
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use ebb_annotations::full_key;
use serde::Deserialize;

use super::{ConfigError, Service, manifest, yaml};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    services: BTreeMap<String, Entry>,
    #[serde(default)]
    gateway: Option<NonZeroU16>,
}

/// The content of an `ebb.yaml`.
#[derive(Clone, Debug)]
pub(super) struct Content {
    /// The services, sorted by name.
    pub(super) services: Vec<Service>,
    /// The port of the gateway; `None` if there is none.
    pub(super) gateway: Option<NonZeroU16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    port: NonZeroU16,
    #[serde(default)]
    command: Option<Vec<String>>,
    #[serde(default)]
    directory: Option<PathBuf>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// A Service manifest for annotations that `annotations` does not set.
    #[serde(default)]
    manifest: Option<PathBuf>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Reads the `text` of the `ebb.yaml` at `path`. Paths in it are relative to it.
///
/// # Errors
///
/// Returns an error if it has another form, or if a manifest cannot be read.
pub(super) fn read(path: &Path, text: &str) -> Result<Content, ConfigError> {
    let malformed = |problem| ConfigError::Malformed { path: path.to_owned(), problem };
    let file: File = serde_saphyr::from_str(text).map_err(|error| malformed(yaml::problem(&error)))?;
    if file.services.is_empty() {
        return Err(malformed("no services; want `services: {NAME: {port: …, command: […]}}`".to_owned()));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut services = Vec::new();
    let mut ports: BTreeMap<NonZeroU16, String> = BTreeMap::new();
    ports.extend(file.gateway.map(|port| (port, "the gateway".to_owned())));
    for (name, entry) in file.services {
        let this = format!("service {name}");
        if let Some(other) = ports.insert(entry.port, this.clone()) {
            return Err(malformed(format!("{other} and {this} both want port {}", entry.port)));
        }
        if entry.command.as_ref().is_some_and(Vec::is_empty) {
            return Err(malformed(format!(
                "service {name}: `command` is empty; want a program and its arguments"
            )));
        }
        services.push(service(folder, name, entry)?);
    }
    Ok(Content { services, gateway: file.gateway })
}

fn service(folder: &Path, name: String, entry: Entry) -> Result<Service, ConfigError> {
    let mut annotations = match &entry.manifest {
        Some(path) => manifest::read(&folder.join(path))?.annotations,
        None => BTreeMap::new(),
    };
    annotations.extend(entry.annotations.into_iter().map(|(key, value)| (full_key(&key), value)));
    Ok(Service {
        name,
        port: entry.port.get(),
        command: entry.command.unwrap_or_default(),
        directory: Some(folder.join(entry.directory.unwrap_or_default()))
            .filter(|path| !path.as_os_str().is_empty()),
        environment: entry.environment,
        container: None,
        annotations,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Content, String> {
        read(Path::new("/srv/ebb.yaml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn short_keys_become_annotations_and_paths_are_relative_to_the_file() {
        let Content { services, gateway } = read_text(
            "gateway: 8079\nservices:\n  web:\n    port: 8080\n    command: [./serve]\n    directory: app\n    annotations: {target: \"10\"}\n",
        )
        .unwrap();
        assert_eq!(gateway.map(NonZeroU16::get), Some(8079));
        assert_eq!(services[0].annotations["autoscaling.knative.dev/target"], "10");
        assert!(services[0].directory.as_ref().unwrap().ends_with("srv/app"));
    }

    #[test]
    fn what_cannot_be_is_said_in_one_line() {
        let cases = [
            ("empty", "services: {}", "no services"),
            (
                "twice",
                "services: {a: {port: 1, command: [x]}, b: {port: 1, command: [x]}}",
                "service a and service b both want port 1",
            ),
            (
                "gateway",
                "gateway: 1\nservices: {a: {port: 1, command: [x]}}",
                "the gateway and service a both want port 1",
            ),
            ("command", "services: {a: {port: 1, command: []}}", "`command` is empty"),
            ("unknown", "services: {a: {port: 1, command: [x], cmd: 3}}", "cmd"),
            ("port", "services: {a: {port: 0, command: [x]}}", "nonzero"),
            ("yaml", "services: [", "ebb.yaml"),
            (
                "key",
                "services:\n  a: {port: 1, command: [x]}\n  a: {port: 2, command: [x]}",
                "the key a stands here a second time; want each key once",
            ),
            ("place", "services: {a: {port: 1, port: 2, command: [x]}}", "line 1"),
        ];
        for (name, text, want) in cases {
            let error = read_text(text).unwrap_err();
            assert!(error.contains(want) && !error.contains('\n'), "{name}: {error:?}");
            assert!(!error.contains("Policy"), "words of the parser: {error:?}");
        }
    }
}
