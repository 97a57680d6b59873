//! `config-network`: how Routes are reached.

use std::{collections::BTreeMap, time::Duration};

use super::{Fault, Map, Template, reader::Reader, setting::Setting, template::trial};

const DOMAIN_TEMPLATE: Setting = Setting::new("domain-template").or(&["domainTemplate"]);
const TAG_TEMPLATE: Setting = Setting::new("tag-template").or(&["tagTemplate"]);
const EXTERNAL_SCHEME: Setting = Setting::new("default-external-scheme").or(&["defaultExternalScheme"]);
const HTTP_PROTOCOL: Setting = Setting::new("http-protocol").or(&["httpProtocol"]);
const ROLLOUT_DURATION: Setting = Setting::new("rollout-duration").or(&["rolloutDuration"]);
const AUTOCREATE_CLAIMS: Setting =
    Setting::new("autocreate-cluster-domain-claims").or(&["autocreateClusterDomainClaims"]);
const EXTERNAL_DOMAIN_TLS: Setting = Setting::new("external-domain-tls").or(&["auto-tls", "autoTLS"]);
const CLUSTER_LOCAL_TLS: Setting = Setting::new("cluster-local-domain-tls").idle(DISABLED);
const SYSTEM_INTERNAL_TLS: Setting = Setting::new("system-internal-tls").idle(DISABLED);
const INTERNAL_ENCRYPTION: Setting = Setting::new("internal-encryption").idle("false");
const MESH_ADDRESSABILITY: Setting = Setting::new("enable-mesh-pod-addressability").idle("false");
const MESH_MODE: Setting = Setting::new("mesh-compatibility-mode").idle("auto");

/// The keys of the map.
pub(super) const SETTINGS: &[Setting] = &[
    DOMAIN_TEMPLATE,
    TAG_TEMPLATE,
    EXTERNAL_SCHEME,
    HTTP_PROTOCOL,
    ROLLOUT_DURATION,
    AUTOCREATE_CLAIMS,
    EXTERNAL_DOMAIN_TLS,
    CLUSTER_LOCAL_TLS,
    SYSTEM_INTERNAL_TLS,
    INTERNAL_ENCRYPTION,
    MESH_ADDRESSABILITY,
    MESH_MODE,
    Setting::new("ingress-class").or(&["ingress.class"]).idle(""),
    Setting::new("certificate-class").or(&["certificate.class"]).idle(""),
    Setting::new("namespace-wildcard-cert-selector").idle(""),
];

const ENABLED: &str = "Enabled";
const DISABLED: &str = "Disabled";

/// The longest rollout, in seconds: 68 years, so that no time overflows.
const LONGEST_ROLLOUT: i64 = i32::MAX as i64;

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

impl Network {
    /// Reads the map; absent keys have their defaults, and unknown ones are ignored.
    ///
    /// # Errors
    ///
    /// Returns everything that is wrong with it.
    pub fn read(data: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let mut read = Self::default();
        let mut from = Reader::new(Map::Network, data);
        let host = "the template of a host, as {{.Name}}.{{.Namespace}}.{{.Domain}}";
        from.template(&DOMAIN_TEMPLATE, &mut read.domain, host, trial::host);
        let name = "the template of a Service's name, as {{.Tag}}-{{.Name}}";
        from.template(&TAG_TEMPLATE, &mut read.tag, name, trial::tag);
        let schemes = [("http", Scheme::Http), ("https", Scheme::Https)];
        from.word(&EXTERNAL_SCHEME, &mut read.external_scheme, &schemes);
        // The reference has deprecated the last one; whoever wrote it wants no plain HTTP.
        let protocols = [
            (ENABLED, HttpProtocol::Enabled),
            ("Redirected", HttpProtocol::Redirected),
            (DISABLED, HttpProtocol::Redirected),
        ];
        from.word(&HTTP_PROTOCOL, &mut read.http_protocol, &protocols);
        let mut rollout = 0;
        from.integer(&ROLLOUT_DURATION, &mut rollout, 0..=LONGEST_ROLLOUT);
        read.rollout_duration = Duration::from_secs(rollout.unsigned_abs());
        from.boolean(&AUTOCREATE_CLAIMS, &mut read.autocreate_claims);
        let switch = [(ENABLED, true), (DISABLED, false)];
        from.word(&EXTERNAL_DOMAIN_TLS, &mut read.external_domain_tls, &switch);
        check_idle(&mut from);
        from.finish(read)
    }
}

/// Checks the keys that have no effect: a misspelled value is a mistake nevertheless.
fn check_idle(from: &mut Reader<'_>) {
    for setting in [CLUSTER_LOCAL_TLS, SYSTEM_INTERNAL_TLS] {
        from.word(&setting, &mut (), &[(ENABLED, ()), (DISABLED, ())]);
    }
    from.word(&MESH_MODE, &mut (), &[("enabled", ()), ("disabled", ()), ("auto", ())]);
    for setting in [INTERNAL_ENCRYPTION, MESH_ADDRESSABILITY] {
        from.boolean(&setting, &mut false);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixtures::{data, faults},
        *,
    };

    #[test]
    fn each_key_and_each_older_spelling_sets_its_field() {
        let default = Network::default();
        let domain =
            || Network { domain: Template::text("{{.Name}}-{{.Namespace}}.{{.Domain}}"), ..default.clone() };
        let tag = || Network { tag: Template::text("{{.Name}}-{{.Tag}}"), ..default.clone() };
        let https = || Network { external_scheme: Scheme::Https, ..default.clone() };
        let redirected = || Network { http_protocol: HttpProtocol::Redirected, ..default.clone() };
        let rollout = || Network { rollout_duration: Duration::from_secs(90), ..default.clone() };
        let claims = || Network { autocreate_claims: true, ..default.clone() };
        let tls = || Network { external_domain_tls: true, ..default.clone() };
        for (key, value, want) in [
            ("_example", "x", default.clone()),
            ("domain-template", "{{.Name}}-{{.Namespace}}.{{.Domain}}\n", domain()),
            ("domainTemplate", "{{.Name}}-{{.Namespace}}.{{.Domain}}", domain()),
            ("tag-template", "{{.Name}}-{{.Tag}}", tag()),
            ("tagTemplate", "{{.Name}}-{{.Tag}}", tag()),
            ("default-external-scheme", "https", https()),
            ("defaultExternalScheme", "HTTPS", https()),
            ("http-protocol", "redirected", redirected()),
            ("httpProtocol", "Redirected", redirected()),
            ("http-protocol", "", default.clone()),
            ("rollout-duration", "90", rollout()),
            ("rolloutDuration", "90", rollout()),
            ("autocreate-cluster-domain-claims", "true", claims()),
            ("autocreateClusterDomainClaims", "true", claims()),
            ("external-domain-tls", "Enabled", tls()),
            ("auto-tls", "enabled", tls()),
            ("autoTLS", "ENABLED", tls()),
            ("ingress-class", "kourier.ingress.networking.knative.dev", default.clone()),
            ("certificate.class", "x", default.clone()),
            ("mesh-compatibility-mode", "enabled", default.clone()),
            ("system-internal-tls", "Enabled", default.clone()),
        ] {
            assert_eq!(Network::read(&data(&[(key, value)])), Ok(want), "{key}: {value:?}");
        }
    }

    #[test]
    fn the_newest_spelling_wins() {
        let both = [("external-domain-tls", "Disabled"), ("auto-tls", "Enabled"), ("autoTLS", "Enabled")];
        assert_eq!(Network::read(&data(&both)), Ok(Network::default()));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let host = "want the template of a host, as {{.Name}}.{{.Namespace}}.{{.Domain}}";
        let name = "want the template of a Service's name, as {{.Tag}}-{{.Name}}";
        for (key, value, text) in [
            ("domain-template", "{{.Name}}/x", format!(r#"makes "foo/x", which is not valid; {host}"#)),
            (
                "domainTemplate",
                "{{.Name",
                format!("is not a template that can be used: {{{{ has no }}}}; {host}"),
            ),
            ("tag-template", "{{.Tag}}.{{.Name}}", format!(r#"makes "v2.foo", which is not valid; {name}"#)),
            ("default-external-scheme", "ftp", "is not supported; want http or https".to_owned()),
            ("rollout-duration", "10s", "is not an integer; want an integer from 0 to 2147483647".to_owned()),
            ("rollout-duration", "-1", "is out of range; want an integer from 0 to 2147483647".to_owned()),
            ("autocreate-cluster-domain-claims", "yes", "is not a boolean; want true or false".to_owned()),
            ("auto-tls", "on", "is not supported; want Enabled or Disabled".to_owned()),
            ("cluster-local-domain-tls", "on", "is not supported; want Enabled or Disabled".to_owned()),
            ("system-internal-tls", "on", "is not supported; want Enabled or Disabled".to_owned()),
            ("mesh-compatibility-mode", "on", "is not supported; want enabled, disabled or auto".to_owned()),
            ("internal-encryption", "on", "is not a boolean; want true or false".to_owned()),
            ("enable-mesh-pod-addressability", "on", "is not a boolean; want true or false".to_owned()),
        ] {
            assert_eq!(faults(Network::read(&data(&[(key, value)]))), [format!("{key}: {value:?} {text}")]);
        }
    }

    #[test]
    fn the_default_templates_are_templates() {
        let Network { domain, tag, .. } = Network::default();
        let none = BTreeMap::new();
        let values = super::super::Values {
            name: "hello",
            namespace: "default",
            domain: "example.com",
            tag: "blue",
            labels: &none,
            annotations: &none,
        };
        assert_eq!(domain.render(&values).as_deref(), Ok("hello.default.example.com"));
        assert_eq!(tag.render(&values).as_deref(), Ok("blue-hello"));
    }
}
