//! Names of the user's own for what takes requests.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Addresses, Observed};

/// A domain, which is its name, and what takes its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "serving.knative.dev",
    version = "v1beta1",
    kind = "DomainMapping",
    plural = "domainmappings",
    namespaced,
    status = "DomainMappingStatus",
    shortname = "dm",
    category = "all",
    category = "knative",
    category = "serving",
    printcolumn = r#"{"name":"URL","type":"string","jsonPath":".status.url"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].reason"}"#
)]
#[kube(derive = "PartialEq")]
pub struct DomainMappingSpec {
    /// What takes its requests.
    #[serde(rename = "ref")]
    pub reference: Reference,
    /// Its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<MappingTls>,
}

/// An object that takes requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reference {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its namespace; by default the mapping's own, and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its group and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Refused; write `apiVersion`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The name of one of its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A certificate that the user provides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MappingTls {
    /// The Secret, of type `kubernetes.io/tls`.
    pub secret_name: String,
}

/// What is known of a `DomainMapping`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainMappingStatus {
    /// What every status has.
    #[serde(flatten)]
    pub observed: Observed,
    /// Its addresses.
    #[serde(flatten)]
    pub addresses: Addresses,
}

/// The namespace that may map a domain, which is the object's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, CustomResource, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.internal.knative.dev",
    version = "v1alpha1",
    kind = "ClusterDomainClaim",
    plural = "clusterdomainclaims",
    shortname = "cdc",
    category = "knative-internal",
    category = "networking"
)]
#[kube(derive = "PartialEq")]
pub struct ClusterDomainClaimSpec {
    /// The namespace.
    pub namespace: String,
}
