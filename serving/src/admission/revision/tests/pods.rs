use super::*;
use crate::config::SecureDefaults;

#[test]
fn numbers_of_requests_have_bounds() {
    for (fields, text) in [
        (json!({}), ""),
        (json!({"timeoutSeconds": 0}), ""),
        (json!({"timeoutSeconds": 600, "responseStartTimeoutSeconds": 600, "idleTimeoutSeconds": 0}), ""),
        (json!({"timeoutSeconds": 10, "responseStartTimeoutSeconds": 300}), ""),
        (json!({"timeoutSeconds": 601}), "expected 0 <= 601 <= 600: timeoutSeconds"),
        (json!({"timeoutSeconds": -1}), "expected 0 <= -1 <= 600: timeoutSeconds"),
        (json!({"responseStartTimeoutSeconds": -1}), "expected 0 <= -1 <= 600: responseStartTimeoutSeconds"),
        (json!({"idleTimeoutSeconds": 601}), "expected 0 <= 601 <= 600: idleTimeoutSeconds"),
        (json!({"containerConcurrency": 0}), ""),
        (json!({"containerConcurrency": 1000}), ""),
        (json!({"containerConcurrency": 1001}), "expected 0 <= 1001 <= 1000: containerConcurrency"),
        (json!({"containerConcurrency": -5}), "expected 0 <= -5 <= 1000: containerConcurrency"),
    ] {
        assert_eq!(wrong(beside(fields.clone()), &config(&[])), text, "{fields}");
    }
    let mut bounded = Config::default();
    bounded.defaults.allow_container_concurrency_zero = false;
    let text = "expected 1 <= 0 <= 1000: containerConcurrency";
    assert_eq!(wrong(beside(json!({"containerConcurrency": 0})), &bounded), text);
}

#[test]
fn the_account_has_a_name_and_gives_no_token_unless_it_may() {
    let words = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
        start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let named = |name| beside(json!({ "serviceAccountName": name }));
    let text = format!("invalid value: foo@bar.baz: serviceAccountName\n{words}");
    assert_eq!(wrong(named("foo@bar.baz"), &config(&[])), text);
    assert_eq!(wrong(named("foo.bar-baz"), &config(&[])), "");
    assert_eq!(wrong(named(""), &config(&[])), "");
    let token = |mount| beside(json!({ "automountServiceAccountToken": mount }));
    assert_eq!(wrong(token(false), &config(&[])), "");
    let text = "must not set the field(s): automountServiceAccountToken";
    assert_eq!(wrong(token(true), &config(&[])), text);
}

#[test]
fn fields_behind_flags_are_refused_together_and_allowed_one_by_one() {
    let fields = [
        ("affinity", json!({}), Feature::Affinity),
        ("dnsConfig", json!({}), Feature::DnsConfig),
        ("dnsPolicy", json!("Default"), Feature::DnsPolicy),
        ("hostAliases", json!([{"ip": "10.0.0.1"}]), Feature::HostAliases),
        ("hostIPC", json!(true), Feature::HostIpc),
        ("hostNetwork", json!(true), Feature::HostNetwork),
        ("hostPID", json!(true), Feature::HostPid),
        ("nodeSelector", json!({"a": "b"}), Feature::NodeSelector),
        ("priorityClassName", json!("high"), Feature::PriorityClassName),
        ("runtimeClassName", json!("kata"), Feature::RuntimeClassName),
        ("schedulerName", json!("mine"), Feature::SchedulerName),
        ("securityContext", json!({}), Feature::SecurityContext),
        ("shareProcessNamespace", json!(false), Feature::ShareProcessNamespace),
        ("tolerations", json!([{"key": "a"}]), Feature::Tolerations),
        ("topologySpreadConstraints", json!([{"maxSkew": 1}]), Feature::TopologySpread),
    ];
    let all = fields.iter().fold(json!({}), |all, (name, value, _)| merged(all, json!({ *name: value })));
    let names: Vec<&str> = fields.iter().map(|(name, ..)| *name).collect();
    let text = format!("must not set the field(s): {}", names.join(", "));
    assert_eq!(wrong(beside(all), &config(&[])), text);
    for (name, value, feature) in fields {
        let spec = beside(json!({ name: value }));
        for flag in [Flag::Allowed, Flag::Enabled] {
            assert_eq!(wrong(spec.clone(), &config(&[(feature, flag)])), "", "{name}");
        }
        assert_eq!(wrong(spec, &config(&[])), format!("must not set the field(s): {name}"));
    }
}

#[test]
fn fields_that_say_nothing_need_no_flag() {
    for fields in [
        json!({"hostIPC": false, "hostNetwork": false, "hostPID": false}),
        json!({"dnsPolicy": "", "schedulerName": "", "priorityClassName": ""}),
        json!({"tolerations": [], "hostAliases": [], "nodeSelector": {}, "initContainers": []}),
        json!({"affinity": null, "securityContext": null}),
        json!({"enableServiceLinks": true, "imagePullSecrets": [{"name": "a"}]}),
    ] {
        assert_eq!(wrong(beside(fields.clone()), &config(&[])), "", "{fields}");
    }
}

#[test]
fn what_no_pod_can_be_made_of_is_told_with_its_place() {
    let config = enabled(&[Feature::Tolerations, Feature::Affinity]);
    let text = wrong(beside(json!({"tolerations": [{"key": "a"}, {"key": 7}]})), &config);
    assert!(text.starts_with("invalid value: {\"key\":7}: tolerations[1]\ninvalid type"), "{text}");
    let long = json!({"affinity": {"nodeAffinity": "x".repeat(1000)}});
    let text = wrong(beside(long), &config);
    assert!(
        text.starts_with("invalid value: {\"nodeAffinity\":\"xxx") && text.contains("x...: affinity"),
        "{text}"
    );
}

#[test]
fn the_pods_rights_have_bounds_and_a_mask() {
    let of = |context: Value| beside(json!({ "securityContext": context }));
    let flagged = config(&[(Feature::SecurityContext, Flag::Allowed)]);
    for (context, text) in [
        (
            json!({"runAsUser": 0, "runAsGroup": 1, "runAsNonRoot": true, "fsGroup": 2, "supplementalGroups": [3],
                "seccompProfile": {"type": "Localhost", "localhostProfile": "a"}}),
            "",
        ),
        (
            json!({"runAsUser": -10, "runAsGroup": -10, "fsGroup": -10, "supplementalGroups": [0, -10]}),
            "expected 0 <= -10 <= 2147483647: securityContext.fsGroup, securityContext.runAsGroup, \
             securityContext.runAsUser, securityContext.supplementalGroups[1]",
        ),
        (
            json!({"sysctls": [], "fsGroupChangePolicy": "Always", "seLinuxOptions": null}),
            "must not set the field(s): securityContext.fsGroupChangePolicy, securityContext.sysctls",
        ),
    ] {
        assert_eq!(wrong(of(context.clone()), &flagged), text, "{context}");
    }
    let text = wrong(of(json!({"runAsUser": "root"})), &flagged);
    assert!(text.starts_with("invalid value: {\"runAsUser\":\"root\"}: securityContext\n"), "{text}");
    let text = "must not set the field(s): securityContext, securityContext.runAsUser";
    assert_eq!(wrong(of(json!({"runAsUser": 1})), &config(&[])), text);
}

#[test]
fn with_secure_defaults_alone_the_pod_may_choose_an_ordinary_profile() {
    let of = |profile: Value| beside(json!({"securityContext": {"seccompProfile": profile}}));
    let mut secure = Config::default();
    secure.features.secure_defaults = SecureDefaults::AllowRootBounded;
    let refused = "must not set the field(s): securityContext.seccompProfile";
    for (profile, text) in [
        (json!({"type": "RuntimeDefault"}), ""),
        (json!({"type": "Unconfined"}), ""),
        (json!({"type": "Localhost"}), refused),
        (json!({"type": "RuntimeDefault", "localhostProfile": "a"}), refused),
    ] {
        assert_eq!(wrong(of(profile.clone()), &secure), text, "{profile}");
    }
}
