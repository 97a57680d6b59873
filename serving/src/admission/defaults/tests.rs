use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    admission,
    config::{Feature, Flag, SecureDefaults},
};

fn maybe(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    proptest::option::of(value)
}

fn object(fields: Vec<(&'static str, Option<Value>)>) -> Value {
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn one_of(values: &'static str) -> impl Strategy<Value = Value> {
    let values: Vec<Value> = serde_json::from_str(values).unwrap();
    proptest::sample::select(values)
}

/// Any container, also one that is refused.
fn container() -> impl Strategy<Value = Value> {
    let probe = one_of(
        r#"[{}, {"periodSeconds": 3}, {"grpc": {}}, {"httpGet": {"port": "x"}, "failureThreshold": 0}, {"exec": {}}]"#,
    );
    let security = one_of(
        r#"[{}, {"capabilities": {}}, {"seccompProfile": {"type": ""}}, {"runAsNonRoot": false, "runAsUser": -1}]"#,
    );
    let mounts = one_of(
        r#"[[{"name": "v", "mountPath": "/a"}], [{"name": "w", "mountPath": "", "readOnly": false}]]"#,
    );
    (
        maybe(one_of(r#"["", "a", "user-container", "user-container-0", "ä"]"#)),
        maybe(one_of(r#"[[], [{}], [{"containerPort": 80}], [{"name": "h2c", "containerPort": 0}, {}]]"#)),
        maybe(one_of(r#"[{}, {"requests": {"cpu": "1"}}, {"limits": {"memory": 0}}]"#)),
        (maybe(probe), maybe(security), maybe(mounts)),
    )
        .prop_map(|(name, ports, resources, (probe, security, mounts))| {
            object(vec![
                ("name", name),
                ("ports", ports),
                ("resources", resources),
                ("readinessProbe", probe),
                ("securityContext", security),
                ("volumeMounts", mounts),
            ])
        })
}

fn template() -> impl Strategy<Value = Value> {
    let seconds = || maybe(one_of("[0, 1, 299, 300, -1, 9223372036854775807]"));
    let spec = (
        (seconds(), seconds(), seconds(), seconds()),
        proptest::collection::vec(container(), 0..4),
        proptest::collection::vec(container(), 0..2),
        maybe(one_of(r#"[{}, {"runAsNonRoot": true}, {"seccompProfile": {"type": "Unconfined"}}]"#)),
        maybe(one_of(r#"[[{"name": "v", "secret": {}}], [{"name": "v", "emptyDir": {}}, {"name": "w"}]]"#)),
    )
        .prop_map(|((timeout, idle, start, concurrency), containers, init, security, volumes)| {
            object(vec![
                ("timeoutSeconds", timeout),
                ("idleTimeoutSeconds", idle),
                ("responseStartTimeoutSeconds", start),
                ("containerConcurrency", concurrency),
                ("containers", Some(json!(containers))),
                ("initContainers", Some(json!(init))),
                ("securityContext", security),
                ("volumes", volumes),
            ])
        });
    let metadata =
        one_of(r#"[{}, {"name": ""}, {"name": "hello-one"}, {"labels": {"a": "b"}, "generateName": "h-"}]"#);
    (maybe(metadata), maybe(spec))
        .prop_map(|(metadata, spec)| object(vec![("metadata", metadata), ("spec", spec)]))
}

fn traffic() -> impl Strategy<Value = Value> {
    let target = one_of(
        r#"[{}, {"percent": 100}, {"revisionName": "r"}, {"revisionName": "", "latestRevision": false},
            {"tag": "t", "percent": -9223372036854775808}, {"configurationName": "c", "url": "u"}]"#,
    );
    proptest::collection::vec(target, 0..4).prop_map(|targets| json!(targets))
}

fn ksvc() -> impl Strategy<Value = Service> {
    (maybe(template()), traffic()).prop_map(|(template, traffic)| {
        let spec = object(vec![("template", template), ("traffic", Some(traffic))]);
        serde_json::from_value(json!({"metadata": {"name": "hello", "namespace": "shop"}, "spec": spec}))
            .unwrap()
    })
}

fn config() -> impl Strategy<Value = Config> {
    let modes = [SecureDefaults::Disabled, SecureDefaults::AllowRootBounded, SecureDefaults::Enabled];
    (proptest::sample::select(modes.to_vec()), 0..400_i64, any::<bool>()).prop_map(
        |(mode, idle, has_resources)| {
            let mut config = Config::default();
            config.features.secure_defaults = mode;
            config.defaults.idle_timeout_seconds = idle;
            if has_resources {
                config.defaults.requests.insert("cpu".to_owned(), "100m".to_owned());
                config.defaults.limits.insert("memory".to_owned(), "1Gi".to_owned());
            }
            config
        },
    )
}

proptest! {
    #[test]
    fn what_is_filled_in_stays_as_it_is(ksvc in ksvc(), config in config()) {
        let mut once = ksvc;
        service(&mut once, &config);
        let mut twice = once.clone();
        service(&mut twice, &config);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn a_write_without_a_change_changes_nothing(ksvc in ksvc(), config in config()) {
        let mut stored = ksvc;
        written::service(&mut stored, None, "alice", &config);
        let mut again = stored.clone();
        written::service(&mut again, Some(&stored), "bob", &config);
        prop_assert_eq!(again, stored);
    }

    #[test]
    fn a_template_that_keeps_its_name_is_left_alone(ksvc in ksvc(), config in config()) {
        let mut stored = ksvc;
        let named = stored.spec.template.get_or_insert_default();
        named.metadata.get_or_insert_default().name = Some("hello-one".to_owned());
        let mut sent = stored.clone();
        written::service(&mut sent, Some(&stored), "alice", &config);
        prop_assert_eq!(sent.spec.template, stored.spec.template);
    }

    #[test]
    fn nothing_makes_an_examination_panic(ksvc in ksvc(), old in ksvc(), config in config()) {
        let (mut new, mut old) = (ksvc, old);
        let _ = admission::service::faults(&new, Some(&old), &config);
        service(&mut new, &config);
        service(&mut old, &config);
        let faults = admission::service::faults(&new, Some(&old), &config);
        prop_assert_eq!(faults.is_empty(), faults.text().is_none() && faults.warnings().is_empty());
    }
}

/// Every shape that conformance needs, as its author writes it.
fn valid_templates() -> impl Strategy<Value = Value> {
    let container = one_of(
        r#"[{}, {"name": "a"}, {"ports": [{"containerPort": 80}]}, {"ports": [{"name": "h2c"}]}, {"ports": [{}]},
            {"readinessProbe": {"httpGet": {"path": "/"}}}, {"readinessProbe": {"exec": {"command": ["true"]}}},
            {"livenessProbe": {"httpGet": {"path": "/"}, "periodSeconds": 1}}, {"securityContext": {"runAsUser": 2020}},
            {"readinessProbe": {"tcpSocket": {}, "periodSeconds": 10}}, {"resources": {"limits": {"memory": "350Mi"}}},
            {"env": [{"name": "A", "value": "b"}], "workingDir": "/tmp", "command": ["sh"], "args": ["-c"]}]"#,
    );
    let named = |mut template: Value| {
        template["spec"]["containers"][0]["image"] = json!("example.com/app");
        template
    };
    let more = one_of(
        r#"[{}, {"timeoutSeconds": 0}, {"timeoutSeconds": 10}, {"containerConcurrency": 1}, {"serviceAccountName": "a"},
            {"timeoutSeconds": 600, "enableServiceLinks": true}]"#,
    );
    (container, more).prop_map(move |(container, mut spec)| {
        spec["containers"] = json!([container]);
        named(json!({"spec": spec}))
    })
}

proptest! {
    #[test]
    fn a_valid_object_with_its_defaults_has_no_faults(template in valid_templates(), config in config()) {
        let mut config = config;
        config.features.set(Feature::AddCapabilities, Flag::Enabled);
        let new = json!({"metadata": {"name": "hello"}, "spec": {"template": template}});
        let mut new: Service = serde_json::from_value(new).unwrap();
        written::service(&mut new, None, "alice", &config);
        prop_assert_eq!(admission::service::faults(&new, None, &config).text(), None);
        let old = new.clone();
        written::service(&mut new, Some(&old), "bob", &config);
        prop_assert!(admission::service::faults(&new, Some(&old), &config).is_empty());
    }
}
