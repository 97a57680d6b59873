//! The annotations of a Kubernetes Service manifest, so that one file serves the laptop and the cluster.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::ConfigError;

/// What a manifest says of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// `metadata.name`.
    pub name: Option<String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Object {
    kind: Option<String>,
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
struct Metadata {
    name: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads the one Service of the manifest at `path`, which may hold other objects beside it.
///
/// # Errors
///
/// If the file cannot be read, is no YAML, or has not exactly one `v1` Service.
pub fn read(path: &Path) -> Result<Manifest, ConfigError> {
    let text = super::text::read(path)?;
    parse(&text).map_err(|problem| ConfigError::Malformed { path: path.to_owned(), problem })
}

fn parse(text: &str) -> Result<Manifest, String> {
    let objects: Vec<Option<Object>> =
        serde_saphyr::from_multiple(text).map_err(|error| super::file::one_line(&error.to_string()))?;
    let mut services: Vec<Object> = objects
        .into_iter()
        .flatten()
        .filter(|object| {
            object.kind.as_deref() == Some("Service") && object.api_version.as_deref() == Some("v1")
        })
        .collect();
    match (services.pop(), services.len()) {
        (Some(service), 0) => Ok(Manifest {
            name: service.metadata.name,
            annotations: service.metadata.annotations.unwrap_or_default(),
        }),
        (None, _) => Err("no object with `apiVersion: v1` and `kind: Service`".to_owned()),
        (Some(_), more) => Err(format!("{} Services; want exactly one", more + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata:
  name: hello
  annotations:
    autoscaling.knative.dev/target: \"10\"
spec:
  selector: {app: hello}
  ports: [{port: 80}]
";

    #[test]
    fn the_service_is_found_among_other_objects() {
        let text = format!("{SERVICE}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: x}}\n");
        let manifest = parse(&text).unwrap();
        assert_eq!(manifest.name.as_deref(), Some("hello"));
        assert_eq!(manifest.annotations["autoscaling.knative.dev/target"], "10");
    }

    #[test]
    fn a_manifest_without_exactly_one_service_is_refused() {
        assert!(parse("kind: ConfigMap\n").unwrap_err().contains("no object"));
        assert!(parse(&format!("{SERVICE}---{SERVICE}")).unwrap_err().contains("2 Services"));
        assert!(!parse("a: [").unwrap_err().contains('\n'), "one line");
    }
}
