use proptest::prelude::*;
use serde_json::from_value;

use super::*;
use crate::claim::fixtures::claim;

const NONCE: &str = "n0nce";

fn settings() -> Settings {
    Settings {
        image: "ebb/queue-proxy:1".to_owned(),
        pull_policy: Some(PullPolicy::IfNotPresent),
        announce: Some(([10, 96, 0, 9], 8080).into()),
    }
}

fn hello(annotations: &Value) -> Arc<Claim> {
    claim("shop", "hello", annotations, &json!({}))
}

/// Returns a pod of `app: hello` with one container `app`; `spec` is merged into its spec.
fn pod(spec: &Value) -> Value {
    let mut all = json!({
        "containers": [{"name": "app", "image": "hello:1", "resources": {}}],
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
    });
    for (key, value) in spec.as_object().unwrap() {
        all[key] = value.clone();
    }
    json!({"metadata": {"generateName": "hello-", "labels": {"app": "hello"}}, "spec": all})
}

/// Returns a pod with such an app.
fn of_app(app: &Value) -> Value {
    let mut all = json!({"name": "app", "image": "hello:1"});
    for (key, value) in app.as_object().unwrap() {
        all[key] = value.clone();
    }
    pod(&json!({"containers": [all]}))
}

fn try_inject(pod: &Value, claims: &[Arc<Claim>]) -> Result<Option<Injection>, Refusal> {
    inject(&from_value(pod.clone()).unwrap(), claims, &settings(), NONCE)
}

fn injected_with_warnings(pod: &Value, claims: &[Arc<Claim>]) -> (Value, Vec<String>) {
    let injection = try_inject(pod, claims).unwrap().expect("is injected");
    let mut after = pod.clone();
    json_patch::patch(&mut after, &injection.patch).unwrap();
    (after, injection.warnings)
}

fn injected(pod: &Value, claims: &[Arc<Claim>]) -> Value {
    let (after, warnings) = injected_with_warnings(pod, claims);
    assert_eq!(warnings, [""; 0]);
    after
}

fn sidecar(pod: &Value) -> &Value {
    pod["spec"]["containers"].as_array().unwrap().last().unwrap()
}

fn env<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let all = container["env"].as_array().unwrap();
    all.iter().find(|var| var["name"] == name)?["value"].as_str()
}

fn probe(pod: &Value) -> Value {
    serde_json::from_str(env(sidecar(pod), "SERVING_READINESS_PROBE").unwrap()).unwrap()
}

#[test]
fn the_sidecar_is_the_last_ordinary_container_and_brings_no_volume() {
    let before = pod(&json!({}));
    let after = injected(&before, &[hello(&json!({}))]);
    let containers = after["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 2);
    assert_eq!(containers[0]["image"], "hello:1");
    let sidecar = &containers[1];
    assert_eq!(
        (&sidecar["name"], &sidecar["image"], &sidecar["imagePullPolicy"]),
        (&json!("queue-proxy"), &json!("ebb/queue-proxy:1"), &json!("IfNotPresent"))
    );
    assert_eq!(sidecar.get("volumeMounts"), None);
    assert_eq!(sidecar.get("restartPolicy"), None);
    assert_eq!(sidecar.get("readinessProbe"), None, "the pod's own probes tell the kubelet");
    assert_eq!(after["spec"].get("volumes"), None);
    assert_eq!(after["spec"].get("initContainers"), None);
}

#[test]
fn the_sidecar_passes_the_restricted_standard() {
    let after = injected(&pod(&json!({"securityContext": {"runAsUser": 0}})), &[hello(&json!({}))]);
    assert_eq!(
        sidecar(&after)["securityContext"],
        json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
}

#[test]
fn the_environment_is_the_contract() {
    let asks = json!({
        "ebb.dev/container-concurrency": "7", "ebb.dev/request-timeout": "60500ms",
        "ebb.dev/response-start-timeout": "30s", "ebb.dev/idle-timeout": "5s",
        "ebb.dev/max-connection-age": "1h", "ebb.dev/tunnel-idle-timeout": "1500ms",
    });
    let after = injected(&pod(&json!({})), &[hello(&asks)]);
    let sidecar = sidecar(&after);
    for (name, value) in [
        ("CONTAINER_CONCURRENCY", Some("7")),
        ("USER_PORT", Some("8080")),
        ("QUEUE_SERVING_PORT", Some("8012")),
        ("EBB_STATS_PORT", Some("9090")),
        ("EBB_ADMIN_PORT", Some("8022")),
        ("REVISION_TIMEOUT_SECONDS", Some("61")),
        ("REVISION_RESPONSE_START_TIMEOUT_SECONDS", Some("30")),
        ("REVISION_IDLE_TIMEOUT_SECONDS", Some("5")),
        ("EBB_MAX_CONNECTION_AGE_SECONDS", Some("3600")),
        ("EBB_TUNNEL_IDLE_TIMEOUT_SECONDS", Some("2")),
        ("EBB_DRAIN_QUIET_SECONDS", Some("10")),
        ("EBB_DRAIN_LIMIT_SECONDS", Some("71")),
        ("EBB_POD_NONCE", Some(NONCE)),
        ("EBB_SERVICES", Some("hello")),
        ("EBB_ANNOUNCE", Some("10.96.0.9:8080")),
        ("EBB_READY_BY", None),
    ] {
        assert_eq!(env(sidecar, name), value, "{name}");
    }
    for (name, path) in [
        ("SERVING_NAMESPACE", "metadata.namespace"),
        ("SERVING_POD", "metadata.name"),
        ("SERVING_POD_IP", "status.podIP"),
    ] {
        let all = sidecar["env"].as_array().unwrap();
        let var = all.iter().find(|var| var["name"] == name).unwrap();
        assert_eq!(var["valueFrom"]["fieldRef"]["fieldPath"], path);
    }
    assert_eq!(after["spec"]["terminationGracePeriodSeconds"], 81);
}

#[test]
fn unlimited_is_zero_and_what_is_off_is_not_said() {
    let after = injected(&pod(&json!({})), &[hello(&json!({}))]);
    assert_eq!(env(sidecar(&after), "CONTAINER_CONCURRENCY"), Some("0"));
    for name in [
        "REVISION_IDLE_TIMEOUT_SECONDS",
        "REVISION_RESPONSE_START_TIMEOUT_SECONDS",
        "EBB_MAX_CONNECTION_AGE_SECONDS",
        "EBB_TUNNEL_IDLE_TIMEOUT_SECONDS",
    ] {
        assert_eq!(env(sidecar(&after), name), None, "{name}");
    }
}

#[test]
fn ports_that_others_have_are_left_to_them() {
    let names = |pod: &Value| {
        let ports = sidecar(pod)["ports"].as_array().unwrap().clone();
        let of =
            |name: &str| ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].clone();
        let env = |name| env(sidecar(pod), name).unwrap().parse::<u16>().unwrap();
        assert_eq!(of("ebb-http"), env("QUEUE_SERVING_PORT"));
        assert_eq!(of("ebb-stats"), env("EBB_STATS_PORT"));
        assert_eq!(of("ebb-admin"), env("EBB_ADMIN_PORT"));
        [of("ebb-http"), of("ebb-stats"), of("ebb-admin")]
    };
    let all = [hello(&json!({}))];
    for (app, want) in [
        (json!({}), [8012, 9090, 8022]),
        (json!({"ports": [{"containerPort": 8012}, {"containerPort": 9090}]}), [8013, 9091, 8022]),
        (json!({"ports": [{"containerPort": 9091}, {"containerPort": 9090}]}), [8012, 9092, 8022]),
        (json!({"livenessProbe": {"tcpSocket": {"port": 8022}}}), [8012, 9090, 8023]),
        (json!({"readinessProbe": {"grpc": {"port": 9090}}}), [8012, 9091, 8022]),
        (json!({"startupProbe": {"httpGet": {"port": 8012}}}), [8013, 9090, 8022]),
    ] {
        assert_eq!(names(&injected(&of_app(&app), &all)), want, "{app}");
    }
    let scraped = {
        let mut pod = pod(&json!({}));
        pod["metadata"]["annotations"] = json!({"prometheus.io/port": "9090"});
        pod
    };
    assert_eq!(names(&injected(&scraped, &all)), [8012, 9091, 8022]);
    // The app itself uses the sidecar's default port.
    let ports = json!({"ports": [{"port": 80, "targetPort": 8012}]});
    assert_eq!(
        names(&injected(&pod(&json!({})), &[claim("shop", "hello", &json!({}), &ports)])),
        [8013, 9090, 8022]
    );
}

#[test]
fn a_named_port_is_found_where_it_is_declared() {
    let by_name =
        [claim("shop", "hello", &json!({}), &json!({"ports": [{"port": 80, "targetPort": "web"}]}))];
    let declared = pod(&json!({"containers": [
        {"name": "first", "ports": [{"name": "web", "containerPort": 53, "protocol": "UDP"}]},
        {"name": "app", "ports": [{"name": "web", "containerPort": 3000}]},
    ]}));
    assert_eq!(env(sidecar(&injected(&declared, &by_name)), "USER_PORT"), Some("3000"));
    let native = pod(&json!({"initContainers": [
        {"name": "web", "restartPolicy": "Always", "ports": [{"name": "web", "containerPort": 4000}]},
    ]}));
    assert_eq!(env(sidecar(&injected(&native, &by_name)), "USER_PORT"), Some("4000"));
    let refusal = try_inject(&pod(&json!({})), &by_name).unwrap_err();
    assert_eq!(refusal, Refusal::NoSuchPort { service: "hello".into(), port: "web".into() });
}

#[test]
fn the_sidecar_gets_a_copy_of_the_apps_probe() {
    let all = [hello(&json!({}))];
    for (app, want) in [
        (
            json!({
                "ports": [{"name": "web", "containerPort": 8080}],
                "readinessProbe": {
                    "httpGet": {
                        "path": "/ok?a=1", "port": "web", "scheme": "HTTP",
                        "httpHeaders": [{"name": "X", "value": "y"}],
                    },
                    "timeoutSeconds": 3, "periodSeconds": 7, "successThreshold": 1, "failureThreshold": 4,
                    "initialDelaySeconds": 2,
                },
            }),
            json!({
                "httpGet": {
                    "path": "/ok?a=1", "port": 8080, "host": "127.0.0.1", "scheme": "HTTP",
                    "httpHeaders": [{"name": "X", "value": "y"}],
                },
                "timeoutSeconds": 3, "periodSeconds": 7, "successThreshold": 1, "failureThreshold": 4,
                "initialDelaySeconds": 2,
            }),
        ),
        (
            json!({"readinessProbe": {"httpGet": {"path": "/up", "port": 8081, "host": "example.com"}, "periodSeconds": 1}}),
            json!({
                "httpGet": {"path": "/up", "port": 8081, "host": "127.0.0.1", "scheme": "HTTP"},
                "timeoutSeconds": 1, "periodSeconds": 1,
            }),
        ),
        (
            json!({"readinessProbe": {"tcpSocket": {"port": 8080}}}),
            json!({"tcpSocket": {"port": 8080, "host": "127.0.0.1"}}),
        ),
        (
            json!({"readinessProbe": {"grpc": {"port": 9000, "service": "s"}, "timeoutSeconds": 2}}),
            json!({"grpc": {"port": 9000, "service": "s"}, "timeoutSeconds": 2}),
        ),
        // No probe.
        (json!({}), json!({"tcpSocket": {"port": 8080, "host": "127.0.0.1"}, "successThreshold": 1})),
    ] {
        let before = of_app(&app);
        let after = injected(&before, &all);
        assert_eq!(probe(&after), want, "{app}");
        assert_eq!(env(sidecar(&after), "EBB_READY_BY"), None, "{app}");
        let probes = |pod: &Value| pod["spec"]["containers"][0].get("readinessProbe").cloned();
        assert_eq!(probes(&after), probes(&before), "the pod's own stays");
    }
}

#[test]
fn a_probe_that_no_sidecar_can_make_is_the_kubelets() {
    for theirs in
        [json!({"exec": {"command": ["true"]}}), json!({"httpGet": {"port": 8080, "scheme": "HTTPS"}})]
    {
        let after = injected(&of_app(&json!({"readinessProbe": theirs})), &[hello(&json!({}))]);
        assert_eq!(env(sidecar(&after), "EBB_READY_BY"), Some("kubelet"));
        assert_eq!(probe(&after), json!({"tcpSocket": {"port": 8080, "host": "127.0.0.1"}}));
    }
}

#[test]
fn the_probe_is_that_of_the_container_that_has_the_port() {
    let http = |path: &str| json!({"httpGet": {"path": path, "port": 8080}});
    let all = [hello(&json!({}))];
    let path = |containers: Value| probe(&injected(&pod(&json!({ "containers": containers })), &all));
    let with_owner = json!([
        {"name": "a", "readinessProbe": http("/a")},
        {"name": "b", "ports": [{"containerPort": 8080}], "readinessProbe": http("/b")},
    ]);
    assert_eq!(path(with_owner)["httpGet"]["path"], "/b");
    let without_owner = json!([{"name": "a"}, {"name": "b", "readinessProbe": http("/b")}]);
    assert_eq!(path(without_owner)["httpGet"]["path"], "/b");
    let silent_owner = json!([
        {"name": "a", "readinessProbe": http("/a")}, {"name": "b", "ports": [{"containerPort": 8080}]},
    ]);
    assert!(path(silent_owner)["tcpSocket"].is_object());
}

#[test]
fn the_annotations_path_counts_for_more() {
    let all = [hello(&json!({"ebb.dev/readiness-path": "/ready"}))];
    let after = injected(&of_app(&json!({"readinessProbe": {"exec": {"command": ["true"]}}})), &all);
    assert_eq!(
        probe(&after),
        json!({
            "httpGet": {"path": "/ready", "port": 8080, "host": "127.0.0.1", "scheme": "HTTP"},
            "successThreshold": 1,
        })
    );
    assert_eq!(env(sidecar(&after), "EBB_READY_BY"), None);
}

#[test]
fn the_kubelet_hands_a_probe_over_unchanged() {
    let theirs = json!({"httpGet": {"path": "/$(USER_PORT)$$", "port": 8080}});
    let after = injected(&of_app(&json!({"readinessProbe": theirs})), &[hello(&json!({}))]);
    let text = env(sidecar(&after), "SERVING_READINESS_PROBE").unwrap();
    assert!(text.contains("/$$(USER_PORT)$$$$"), "{text}");
}

#[test]
fn every_container_waits_for_the_drain_unless_it_has_a_way_of_its_own() {
    let own = json!({"exec": {"command": ["sleep", "5"]}});
    let after = injected(
        &pod(&json!({"containers": [
            {"name": "a"},
            {"name": "b", "lifecycle": {"preStop": own}},
            {"name": "c", "lifecycle": {"postStart": own}},
            {"name": "d", "lifecycle": {}, "ports": [{"containerPort": 8022}]},
        ]})),
        &[hello(&json!({}))],
    );
    let ours = json!({"httpGet": {"path": "/wait-for-drain", "port": 8023}});
    let of = |index: usize| after["spec"]["containers"][index]["lifecycle"].clone();
    assert_eq!(of(0), json!({ "preStop": ours }));
    assert_eq!(of(1), json!({ "preStop": own }));
    assert_eq!(of(2), json!({ "preStop": ours, "postStart": own }));
    assert_eq!(of(3), json!({ "preStop": ours }));
    assert_eq!(of(4), Value::Null, "the sidecar does not wait for itself");
}

#[test]
fn an_app_that_is_a_native_sidecar_itself_waits_for_the_drain() {
    let init = json!([
        {"name": "setup"},
        {"name": "web", "restartPolicy": "Always", "ports": [{"containerPort": 8080}]},
        {"name": "logs", "restartPolicy": "Always"},
    ]);
    let before = pod(&json!({"restartPolicy": "Never", "initContainers": init}));
    let hook = json!({"preStop": {"httpGet": {"path": "/wait-for-drain", "port": 8022}}});
    let after = injected(&before, &[hello(&json!({"ebb.dev/sidecar": "native"}))]);
    let lists = [&after["spec"]["initContainers"], &after["spec"]["containers"]];
    let all = lists.into_iter().flat_map(|list| list.as_array().unwrap());
    let waits = all.filter(|container| container["lifecycle"] == hook);
    assert_eq!(
        waits.map(|container| container["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["web", "app"]
    );

    let own = json!({"preStop": {"exec": {"command": ["sleep", "5"]}}});
    let mut keeps = before.clone();
    keeps["spec"]["initContainers"][1]["lifecycle"] = own.clone();
    let after = injected(&keeps, &[hello(&json!({"ebb.dev/sidecar": "native"}))]);
    assert_eq!(after["spec"]["initContainers"][2]["lifecycle"], own);
}

#[test]
fn a_native_sidecar_is_the_first_init_container_and_hears_of_the_end_at_once() {
    let native = [hello(&json!({"ebb.dev/sidecar": "native"}))];
    let after = injected(&pod(&json!({"initContainers": [{"name": "setup", "image": "s:1"}]})), &native);
    let init = after["spec"]["initContainers"].as_array().unwrap();
    assert_eq!((&init[0]["name"], &init[0]["restartPolicy"]), (&json!("queue-proxy"), &json!("Always")));
    assert_eq!(init[1], json!({"name": "setup", "image": "s:1"}));
    let nonce = json!([{"name": "ebb-pod-nonce", "value": NONCE}]);
    assert_eq!(
        init[0]["lifecycle"],
        json!({"preStop": {"httpGet": {"path": "/drain", "port": 8022, "httpHeaders": nonce}}})
    );
    assert_eq!(env(&init[0], "EBB_POD_NONCE"), Some(NONCE), "it is what the hook is believed by");
    let of_app = &after["spec"]["containers"][0]["lifecycle"];
    assert_eq!(of_app["preStop"]["httpGet"]["path"], "/wait-for-drain");
    assert_eq!(after["spec"]["containers"].as_array().unwrap().len(), 1);
    let alone = injected(&pod(&json!({})), &native);
    assert_eq!(alone["spec"]["initContainers"].as_array().unwrap().len(), 1);
}

#[test]
fn pods_that_are_to_be_left_alone_are() {
    let sidecar = |value: &str| [hello(&json!({"ebb.dev/sidecar": value}))];
    let marked = |part: &str, key: &str, value: &str| {
        let mut pod = pod(&json!({}));
        pod["metadata"][part][key] = json!(value);
        pod
    };
    for (why, pod, claims) in [
        ("no Service selects it", pod(&json!({})), &[][..]),
        ("its Service wants none", pod(&json!({})), &sidecar("none")),
        ("a label", marked("labels", "ebb.dev/inject", "false"), &sidecar("ordinary")),
        ("an annotation", marked("annotations", "ebb.dev/inject", "false"), &sidecar("ordinary")),
        ("a mirror", marked("annotations", "kubernetes.io/config.mirror", "x"), &sidecar("ordinary")),
        ("a sidecar", pod(&json!({"containers": [{"name": "queue-proxy"}]})), &sidecar("ordinary")),
        ("a native one", pod(&json!({"initContainers": [{"name": "queue-proxy"}]})), &sidecar("ordinary")),
    ] {
        assert_eq!(try_inject(&pod, claims), Ok(None), "{why}");
    }
    assert!(try_inject(&marked("labels", "ebb.dev/inject", "true"), &sidecar("ordinary")).unwrap().is_some());
}

#[test]
fn where_a_sidecar_would_do_harm_the_reason_is_told() {
    let all = [hello(&json!({}))];
    for (spec, refusal) in [
        (json!({"hostNetwork": true}), Refusal::HostNetwork),
        (json!({"os": {"name": "windows"}}), Refusal::NotLinux),
        (json!({"restartPolicy": "Never"}), Refusal::Ends("hello".into())),
        (json!({"restartPolicy": "OnFailure"}), Refusal::Ends("hello".into())),
    ] {
        assert_eq!(try_inject(&pod(&spec), &all), Err(refusal));
    }
    let native = [hello(&json!({"ebb.dev/sidecar": "native"}))];
    assert!(try_inject(&pod(&json!({"restartPolicy": "Never"})), &native).unwrap().is_some());
}

#[test]
fn the_first_of_several_services_decides_and_another_port_is_told() {
    let on = |name: &str, annotations: Value, port: u16| {
        claim("shop", name, &annotations, &json!({"ports": [{"port": 80, "targetPort": port}]}))
    };
    let claims = [
        on("a", json!({"ebb.dev/sidecar": "none"}), 8080),
        on("b", json!({"ebb.dev/container-concurrency": "1"}), 8080),
        on("c", json!({"ebb.dev/container-concurrency": "2"}), 8080),
        on("d", json!({}), 9000),
    ];
    let (after, warnings) = injected_with_warnings(&pod(&json!({})), &claims);
    assert_eq!(env(sidecar(&after), "CONTAINER_CONCURRENCY"), Some("1"));
    // The sidecar forwards to the app's port of the first Service, so requests for another port must not be sent
    // there.
    assert_eq!(env(sidecar(&after), "EBB_SERVICES"), Some("b,c"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("Service d") && warnings[0].contains("8080"), "{warnings:?}");
}

/// Adds what the API server's own admission adds to a pod before webhooks.
fn with_token(mut pod: Value) -> Value {
    let mount = json!({
        "name": "kube-api-access-lgwlj", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    });
    for list in ["containers", "initContainers"] {
        let of = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in of.into_iter().flatten() {
            let mounts = container.as_object_mut().unwrap().entry("volumeMounts").or_insert(json!([]));
            mounts.as_array_mut().unwrap().push(mount.clone());
        }
    }
    let volume = json!({
        "name": "kube-api-access-lgwlj",
        "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"downwardAPI": {"items": [
                {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"},
            ]}},
        ]},
    });
    let volumes = pod["spec"].as_object_mut().unwrap().entry("volumes").or_insert(json!([]));
    volumes.as_array_mut().unwrap().push(volume);
    pod
}

#[test]
fn a_token_that_is_not_wanted_is_taken_out_again() {
    let unwanted = [hello(&json!({"ebb.dev/mount-token": "false"}))];
    let data = json!([{"name": "data", "mountPath": "/data"}]);
    let before = with_token(pod(&json!({
        "initContainers": [{"name": "i"}],
        "containers": [{"name": "app", "volumeMounts": data}, {"name": "more"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
    })));
    let after = injected(&before, &unwanted);
    assert_eq!(after["spec"]["automountServiceAccountToken"], false);
    assert_eq!(after["spec"]["volumes"], json!([{"name": "data", "emptyDir": {}}]));
    assert_eq!(after["spec"]["containers"][0]["volumeMounts"], data);
    let left = after.to_string();
    assert!(!left.contains("kube-api-access") && !left.contains("serviceaccount"), "{left}");
}

#[test]
fn a_pod_that_says_whether_it_has_a_token_is_believed() {
    let unwanted = [hello(&json!({"ebb.dev/mount-token": "false"}))];
    let before = with_token(pod(&json!({"automountServiceAccountToken": true})));
    let after = injected(&before, &unwanted);
    assert_eq!(after["spec"]["automountServiceAccountToken"], true);
    assert_eq!(after["spec"]["volumes"], before["spec"]["volumes"]);
    let without = pod(&json!({"automountServiceAccountToken": false}));
    assert_eq!(injected(&without, &unwanted)["spec"]["automountServiceAccountToken"], false);
    // Another one that is mounted explicitly.
    let by_hand = with_token(of_app(&json!({
        "volumeMounts": [{"name": "kube-api-access-lgwlj", "mountPath": "/token"}],
    })));
    let after = injected(&by_hand, &unwanted);
    assert_eq!(after["spec"]["volumes"], by_hand["spec"]["volumes"]);
    assert_eq!(
        after["spec"]["containers"][0]["volumeMounts"],
        by_hand["spec"]["containers"][0]["volumeMounts"]
    );
}

#[test]
fn the_sidecar_never_gets_the_apps_token() {
    let after = injected(&with_token(pod(&json!({}))), &[hello(&json!({}))]);
    // The API server mounts the token again in every container that has nothing at its path.
    assert_eq!(
        sidecar(&after)["volumeMounts"],
        json!([{
            "name": "kube-api-access-lgwlj", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            "subPath": "namespace", "readOnly": true,
        }])
    );
    assert_eq!(after["spec"].get("automountServiceAccountToken"), None);
    let unmounted = with_token(pod(&json!({"automountServiceAccountToken": false})));
    assert_eq!(sidecar(&injected(&unmounted, &[hello(&json!({}))])).get("volumeMounts"), None);
}

#[test]
fn warnings_are_short_enough_for_the_api_server() {
    let long = "s".repeat(63);
    let claims = [
        claim("shop", &long, &json!({}), &json!({})),
        claim("shop", &long, &json!({}), &json!({"ports": [{"port": 80, "targetPort": 9000}]})),
    ];
    let mut before = pod(&json!({}));
    before["metadata"]["annotations"] = json!({
        "queue.sidecar.serving.knative.dev/resource-percentage": "10",
        "queue.sidecar.serving.knative.dev/ephemeral-storage-resource-request": "x",
    });
    let (_, warnings) = injected_with_warnings(&before, &claims);
    assert_eq!(warnings.len(), 3);
    assert!(warnings.iter().all(|warning| warning.len() <= 256), "{warnings:?}");
}

fn containers() -> impl Strategy<Value = Value> {
    let port = prop_oneof![Just(8080), Just(8012), Just(9090), Just(8022), 1_u16..];
    let probe = prop_oneof![
        Just(Value::Null),
        Just(json!({"exec": {"command": ["x"]}})),
        port.clone().prop_map(|port| json!({"httpGet": {"port": port, "path": "/$("}})),
        Just(json!({"grpc": {"port": 9090}})),
    ];
    let lifecycle = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        Just(json!({"preStop": {"exec": {"command": ["x"]}}})),
    ];
    let one = (prop::collection::vec(port, 0..3), probe, lifecycle);
    prop::collection::vec(one, 1..4).prop_map(|all| {
        let container = |(index, (ports, probe, lifecycle)): (usize, (Vec<u16>, Value, Value))| {
            let ports: Vec<Value> = ports.iter().map(|port| json!({"containerPort": port})).collect();
            let mut container = json!({"name": format!("c{index}"), "ports": ports});
            for (key, value) in [("readinessProbe", probe), ("lifecycle", lifecycle)] {
                if !value.is_null() {
                    container[key] = value;
                }
            }
            container
        };
        all.into_iter().enumerate().map(container).collect()
    })
}

proptest! {
    #[test]
    fn injecting_is_done_once_and_leaves_what_the_user_wrote(
        containers in containers(),
        init in prop::option::of(containers()),
        token in any::<bool>(),
        grace in prop::option::of(0_i64..1000),
        native in any::<bool>(),
        withheld in any::<bool>(),
    ) {
        let mut before = pod(&json!({"containers": containers, "terminationGracePeriodSeconds": grace}));
        if let Some(init) = init {
            before["spec"]["initContainers"] = init;
        }
        if token {
            before = with_token(before);
        }
        let asks = json!({
            "ebb.dev/sidecar": if native { "native" } else { "ordinary" },
            "ebb.dev/mount-token": if withheld { "false" } else { "true" },
        });
        let claims = [hello(&asks)];
        let after = injected(&before, &claims);
        let _: Pod = from_value(after.clone()).unwrap();
        prop_assert_eq!(try_inject(&after, &claims), Ok(None));

        // With all changes undone, the pod is the user's.
        let mut back = after;
        let spec = back["spec"].as_object_mut().unwrap();
        spec.insert("terminationGracePeriodSeconds".into(), json!(grace));
        for list in ["containers", "initContainers"] {
            let theirs = before["spec"][list].as_array().cloned().unwrap_or_default();
            let Some(all) = spec.get_mut(list).and_then(Value::as_array_mut) else { continue };
            all.retain(|container| container["name"] != "queue-proxy");
            prop_assert_eq!(all.len(), theirs.len());
            for (ours, theirs) in all.iter_mut().zip(&theirs) {
                for key in ["lifecycle", "volumeMounts"] {
                    if theirs.get(key) != ours.get(key) {
                        prop_assert!(key != "volumeMounts" || withheld);
                        match theirs.get(key) {
                            Some(value) => ours[key] = value.clone(),
                            None => drop(ours.as_object_mut().unwrap().remove(key)),
                        }
                    }
                }
            }
            if before["spec"].get(list).is_none() {
                spec.remove(list);
            }
        }
        if withheld {
            spec.remove("automountServiceAccountToken");
            if token {
                spec.insert("volumes".into(), before["spec"]["volumes"].clone());
            }
        }
        prop_assert_eq!(back, before);
    }

    #[test]
    fn the_sidecars_ports_are_nobodys(containers in containers()) {
        let after = injected(&pod(&json!({ "containers": containers })), &[hello(&json!({}))]);
        let mut ports: Vec<u64> = sidecar(&after)["ports"].as_array().unwrap().iter()
            .map(|port| port["containerPort"].as_u64().unwrap()).collect();
        let of_app = |port: &u64| *port == 8080 || containers.as_array().unwrap().iter()
            .flat_map(|container| container["ports"].as_array().unwrap())
            .any(|theirs| theirs["containerPort"] == *port);
        prop_assert!(!ports.iter().any(of_app));
        ports.sort_unstable();
        ports.dedup();
        prop_assert_eq!(ports.len(), 3);
    }
}
