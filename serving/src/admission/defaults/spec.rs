//! Defaults of what a revision runs.

use kube::core::ObjectMeta;

use crate::{
    api::{RevisionSpec, RevisionTemplate},
    config::Config,
};

use super::{containers, security, zeros};

/// Fills in the template of `parent`.
pub fn default_template(template: &mut RevisionTemplate, parent: &ObjectMeta, config: &Config) {
    zeros::spell_metadata(template.metadata.get_or_insert_default());
    if let Some(spec) = &mut template.spec {
        default_spec(spec, parent, config);
    }
}

/// Fills in the spec of a revision. Names of containers may refer to `parent`, whose template it is.
pub fn default_spec(spec: &mut RevisionSpec, parent: &ObjectMeta, config: &Config) {
    let defaults = &config.defaults;
    if spec.timeout_seconds.unwrap_or(0) == 0 {
        spec.timeout_seconds = Some(defaults.timeout_seconds);
    }
    let timeout = spec.timeout_seconds.unwrap_or(0);
    // A limit that is not shorter than the whole request limits nothing.
    let shorter = |seconds: i64| (seconds != 0 && seconds < timeout).then_some(seconds);
    spec.idle_timeout_seconds = spec.idle_timeout_seconds.or(shorter(defaults.idle_timeout_seconds));
    spec.response_start_timeout_seconds =
        spec.response_start_timeout_seconds.or(shorter(defaults.response_start_timeout_seconds));
    spec.container_concurrency = spec.container_concurrency.or(Some(defaults.container_concurrency));
    containers::name(spec, parent, defaults);
    containers::fill(spec, defaults);
    security::secure(spec, config.features.secure_defaults);
    zeros::spell(spec);
}

/// Fills in whether variables name the namespace's Services. Only a new object gets it, so that an old one, which got
/// the default of Kubernetes, does not change.
pub(super) fn default_service_links(template: &mut RevisionTemplate, config: &Config) {
    if let Some(spec) = &mut template.spec {
        spec.enable_service_links = spec.enable_service_links.or(config.defaults.enable_service_links);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn filled(spec: Value, change: impl FnOnce(&mut Config)) -> Value {
        let (mut spec, mut config) = (serde_json::from_value(spec).unwrap(), Config::default());
        change(&mut config);
        default_spec(&mut spec, &ObjectMeta::default(), &config);
        serde_json::to_value(&spec).unwrap()
    }

    fn container(name: &str) -> Value {
        json!({"name": name, "readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1}, "resources": {}})
    }

    #[test]
    fn a_revision_gets_its_limits() {
        assert_eq!(
            filled(json!({"containers": [{}]}), |_| ()),
            json!({"timeoutSeconds": 300, "containerConcurrency": 0, "containers": [container("user-container")]})
        );
        let own = json!({
            "timeoutSeconds": 20, "idleTimeoutSeconds": 0, "responseStartTimeoutSeconds": 5, "containerConcurrency": 3,
            "containers": [container("mine")],
        });
        assert_eq!(filled(own.clone(), |config| config.defaults.idle_timeout_seconds = 10), own);
    }

    #[test]
    fn limits_within_a_request_are_given_only_if_they_are_shorter_than_it() {
        for (timeout, idle, start, wanted) in [
            (json!(0), 10, 300, [json!(300), json!(10), Value::Null]),
            (json!(400), 0, 300, [json!(400), Value::Null, json!(300)]),
            (json!(10), 10, 9, [json!(10), Value::Null, json!(9)]),
            (json!(-1), 10, 300, [json!(-1), Value::Null, Value::Null]),
        ] {
            let spec = filled(json!({"timeoutSeconds": timeout, "containers": []}), |config| {
                config.defaults.idle_timeout_seconds = idle;
                config.defaults.response_start_timeout_seconds = start;
            });
            let keys = ["timeoutSeconds", "idleTimeoutSeconds", "responseStartTimeoutSeconds"];
            assert_eq!(keys.map(|key| spec.get(key).cloned().unwrap_or_default()), wanted);
        }
    }

    #[test]
    fn a_template_without_a_spec_stays_without() {
        let mut template = RevisionTemplate::default();
        default_template(&mut template, &ObjectMeta::default(), &Config::default());
        default_service_links(&mut template, &Config::default());
        assert_eq!(template.spec, None);
    }
}
