//! `config-network`: how Routes are reached.

use std::time::Duration;

use super::Template;

/// How Routes are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// `domain-template`: the host of a Route.
    pub domain: Template,
    /// `tag-template`: the name of a tag.
    pub tag: Template,
    /// `default-external-scheme`.
    pub external_scheme: Scheme,
    /// `http-protocol`.
    pub http_protocol: HttpProtocol,
    /// `rollout-duration`, in whole seconds; 0 is at once.
    pub rollout_duration: Duration,
    /// `autocreate-cluster-domain-claims`.
    pub autocreate_claims: bool,
    /// `external-domain-tls`.
    pub external_domain_tls: bool,
}

/// The scheme of public URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// `http`.
    #[default]
    Http,
    /// `https`.
    Https,
}

/// What happens to requests without TLS, where there is TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpProtocol {
    /// They are served.
    #[default]
    Enabled,
    /// They are redirected.
    Redirected,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            domain: Template::text("{{.Name}}.{{.Namespace}}.{{.Domain}}"),
            tag: Template::text("{{.Tag}}-{{.Name}}"),
            external_scheme: Scheme::Http,
            http_protocol: HttpProtocol::Enabled,
            rollout_duration: Duration::ZERO,
            autocreate_claims: false,
            external_domain_tls: false,
        }
    }
}
