//! How Go's types spell fields, and which of their values are as good as none.

use serde_json::Value;

/// What has fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A template of revisions.
    Template,
    /// The spec of a revision, into which the pod's is embedded.
    Spec,
    /// A volume, into which its source is embedded.
    Volume,
    /// A probe, into which its way to check is embedded.
    Probe,
    /// A map with any keys.
    Map,
    /// A map with resources and how much of them.
    Quantities,
    /// Anything else.
    Other,
}

/// The fields of a revision's spec that are its own.
const OF_SPEC: [&str; 4] =
    ["containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"];
/// The ways to check.
const WAYS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];
/// The fields that refer to an object by its name, which is embedded into them.
const REFERENCES: [&str; 6] =
    ["configMapKeyRef", "secretKeyRef", "configMapRef", "secretRef", "configMap", "secret"];
/// The fields that are false if they are missing.
const FALSE_BY_DEFAULT: [&str; 4] = ["readOnly", "hostIPC", "hostNetwork", "hostPID"];
/// The fields that are never missing, but have no fields themselves.
const NEVER_MISSING: [&str; 3] = ["metadata", "resources", "spec"];
/// The fields that are not spelled as in JSON with an upper-case letter.
const INITIALISMS: [(&str, &str); 11] = [
    ("csi", "CSI"),
    ("dnsConfig", "DNSConfig"),
    ("dnsPolicy", "DNSPolicy"),
    ("fsGroup", "FSGroup"),
    ("grpc", "GRPC"),
    ("httpGet", "HTTPGet"),
    ("httpHeaders", "HTTPHeaders"),
    ("metadata", "ObjectMeta"),
    ("seLinuxOptions", "SELinuxOptions"),
    ("tcpSocket", "TCPSocket"),
    ("fsType", "FSType"),
];

impl Kind {
    /// Returns what the field `name` is.
    pub(super) fn of_field(self, name: &str) -> Self {
        match (self, name) {
            (Self::Map | Self::Quantities, _) => Self::Other,
            (Self::Template, "spec") => Self::Spec,
            (Self::Spec, "volumes") => Self::Volume,
            (_, "livenessProbe" | "readinessProbe" | "startupProbe") => Self::Probe,
            (_, "annotations" | "labels" | "matchLabels" | "nodeSelector") => Self::Map,
            (_, "limits" | "requests") => Self::Quantities,
            _ => Self::Other,
        }
    }

    /// Returns the way to the field `name` of an object that is the field `of` itself, as `.PodSpec.Containers`.
    pub(super) fn step(self, of: &str, name: &str) -> String {
        let embedded = match self {
            Self::Map | Self::Quantities => return format!("[{name:?}]"),
            Self::Spec if !OF_SPEC.contains(&name) => ".PodSpec",
            Self::Volume if name != "name" => ".VolumeSource",
            Self::Probe if WAYS.contains(&name) => ".ProbeHandler",
            Self::Other if name == "name" && REFERENCES.contains(&of) => ".LocalObjectReference",
            _ => "",
        };
        format!("{embedded}.{}", go(name))
    }

    /// Returns whether the field `name` means the same with `value` as without one.
    pub(super) fn is_unset(self, name: &str, value: &Value) -> bool {
        let is_number_by_default = self == Self::Probe || name == "containerPort";
        match value {
            Value::Null => true,
            Value::Bool(flag) => !flag && FALSE_BY_DEFAULT.contains(&name),
            Value::Number(number) => is_number_by_default && number.as_i64() == Some(0),
            Value::String(text) => text.is_empty() && !matches!(self, Self::Map | Self::Quantities),
            Value::Array(items) => items.is_empty(),
            Value::Object(_) => false,
        }
    }
}

/// Returns whether an object that has the field `name` always has it.
pub(super) fn is_never_missing(name: &str) -> bool {
    NEVER_MISSING.contains(&name)
}

/// Returns a field as Go spells it.
fn go(name: &str) -> String {
    if let Some((_, spelled)) = INITIALISMS.iter().find(|(json, _)| *json == name) {
        return (*spelled).to_owned();
    }
    let mut rest = name.chars();
    let first = rest.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}
