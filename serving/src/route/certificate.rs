//! Which certificate the gateway shows for public hosts, and what it does with requests without TLS.

use std::collections::BTreeMap;

use ebb_annotations::keys::TLS_SECRET;
use kube::ResourceExt;

use crate::{
    api::Route,
    conditions::{Conditions, Truth},
    config::{Config, HttpProtocol},
};

/// The condition about certificates.
pub(crate) const PROVISIONED: &str = "CertificateProvisioned";
/// What happens to requests without TLS, for one object; with the older spelling.
const HTTP_PROTOCOL: [&str; 2] =
    ["networking.knative.dev/http-protocol", "networking.knative.dev/httpOption"];
/// `"true"` wants no certificate for one object; with the older spellings.
const DISABLED: [&str; 3] = [
    "networking.knative.dev/disable-external-domain-tls",
    "networking.knative.dev/disableAutoTLS",
    "networking.knative.dev/disable-auto-tls",
];

/// Returns the Secret that a Route names for the certificate of its public hosts.
pub(super) fn secret(route: &Route) -> Option<&str> {
    route.annotations().get(TLS_SECRET.name).map(String::as_str).filter(|name| !name.is_empty())
}

/// Sets the condition about certificates. Nobody here has certificates issued: without a Secret, hosts are served
/// without TLS, and the condition says so.
pub(crate) fn provisioned(
    conditions: &mut Conditions,
    secret: Option<&str>,
    annotations: &BTreeMap<String, String>,
    config: &Config,
) {
    let is_declined =
        || DISABLED.iter().any(|key| annotations.get(*key).is_some_and(|value| value == "true"));
    let (reason, message) = if secret.is_some() {
        ("CertificateExternallyProvided", "TLS certificate was provided externally")
    } else if config.network.external_domain_tls && !is_declined() {
        ("HTTPDowngrade", "No Secret with a certificate is named, so requests are served without TLS.")
    } else {
        ("TLSNotEnabled", "external-domain-tls is not enabled")
    };
    conditions.set(PROVISIONED, Truth::True, reason, message);
}

/// Returns whether requests without TLS are redirected, where there is TLS.
///
/// # Errors
///
/// Returns an error if the object's annotation cannot be read.
pub(crate) fn redirects(annotations: &BTreeMap<String, String>, config: &Config) -> Result<bool, String> {
    let Some(text) = HTTP_PROTOCOL.iter().find_map(|key| annotations.get(*key)) else {
        return Ok(config.network.http_protocol == HttpProtocol::Redirected);
    };
    match text.to_ascii_lowercase().as_str() {
        "redirected" => Ok(true),
        "enabled" => Ok(false),
        _ => Err(format!("incorrect http-protocol annotation: {text}")),
    }
}
