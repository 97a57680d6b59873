//! Annotations of a Kubernetes Service manifest, so that one file works on the laptop and in the cluster.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use super::{ConfigError, yaml};

/// What is read of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// `metadata.name`.
    pub name: Option<String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// What is read of any object.
#[derive(Debug, Deserialize)]
pub(super) struct Object {
    pub(super) kind: Option<String>,
    #[serde(rename = "apiVersion")]
    pub(super) api_version: Option<String>,
    #[serde(default)]
    pub(super) metadata: Metadata,
}

#[derive(Debug, Deserialize, Default)]
pub(super) struct Metadata {
    pub(super) name: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads the only Service of the manifest at `path`, which may contain other objects.
///
/// # Errors
///
/// Returns an error if the file cannot be read, is not YAML, or does not contain exactly one `v1` Service.
pub fn read(path: &Path) -> Result<Manifest, ConfigError> {
    let text = super::text::read(path)?;
    parse(&text).map_err(|problem| ConfigError::Malformed { path: path.to_owned(), problem })
}

fn parse(text: &str) -> Result<Manifest, String> {
    let objects: Vec<Option<Object>> =
        serde_saphyr::from_multiple(text).map_err(|error| yaml::problem(&error))?;
    let (mut services, others): (Vec<Object>, Vec<Object>) =
        objects.into_iter().flatten().partition(|object| object.is("v1", "Service"));
    match (services.pop(), services.len()) {
        (Some(service), 0) => Ok(Manifest {
            name: service.metadata.name,
            annotations: service.metadata.annotations.unwrap_or_default(),
        }),
        (None, _) => Err(format!("no object with `apiVersion: v1` and `kind: Service`{}", hint(&others))),
        (Some(_), more) => Err(format!("{} Services; want exactly one", more + 1)),
    }
}

impl Object {
    /// Returns whether it is of `kind` in the API's `group`, of any version; `v1` is the group without a
    /// name.
    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        let version = self.api_version.as_deref().unwrap_or_default();
        let own_group = version.split_once('/').map_or(version, |(group, _)| group);
        self.kind.as_deref() == Some(kind) && own_group == group
    }
}

/// Returns a hint for a file of `objects`, none of them a Service, if it is nearly what is wanted.
fn hint(objects: &[Object]) -> &'static str {
    if objects.iter().any(|object| object.is("serving.knative.dev", "Service")) {
        "; this one is Knative's, which `ebb up -f FILE` runs. For another command, write a Service of `v1` with the \
         annotations of its spec.template.metadata, or give them with --set (docs/migration.md)"
    } else if objects.iter().any(|object| object.is("v1", "List")) {
        "; a List is not looked into: write its items one after the other, with a line `---` between them"
    } else {
        ""
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
        let twice = parse(&SERVICE.replace("  name: hello\n", "  name: hello\n  name: hello\n")).unwrap_err();
        assert_eq!(twice, "line 6 column 3: the key name stands here a second time; want each key once");
    }

    #[test]
    fn what_is_nearly_a_service_is_refused_with_what_to_do() {
        let no_service = "no object with `apiVersion: v1` and `kind: Service`";
        for (text, hint) in [
            (
                "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: x}\n",
                "; this one is Knative's, which `ebb up -f FILE` runs. ",
            ),
            (
                "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Service}]\n",
                "; a List is not looked into: ",
            ),
            ("apiVersion: serving.knative.dev/v1\nkind: Route\n", ""),
            ("kind: List\n", ""),
        ] {
            let refused = parse(text).unwrap_err();
            let rest = refused.strip_prefix(no_service).unwrap_or_else(|| panic!("{refused}"));
            assert!(rest.starts_with(hint) && (rest.is_empty() == hint.is_empty()), "{refused}");
        }
    }
}
