use serde_json::{Value, json};

use super::*;
use crate::{
    config::{Role, local_defaults, understand},
    container::{Container, Image, Place},
};

/// A machine with a gateway, the variable `TOKEN` and the folder `/srv`.
fn here() -> Here {
    Here {
        environment: BTreeMap::from([("TOKEN".to_owned(), "a$b".to_owned())]),
        is_folder: |path| path == Path::new("/srv"),
        domain: Some("127.0.0.1.sslip.io".to_owned()),
        images: false,
    }
}

fn given(object: &Value) -> Given {
    let mut object = object.clone();
    object["apiVersion"] = json!("serving.knative.dev/v1");
    object["kind"] = json!(KIND);
    let service = serde_json::from_value(object).unwrap();
    Given { path: "/home/me/service.yaml".into(), service, unknown: Vec::new() }
}

/// A Service called `hello` that runs `container`.
fn hello(container: &Value) -> Value {
    json!({"metadata": {"name": "hello"}, "spec": {"template": {"spec": {"containers": [container]}}}})
}

/// The same with a command that tells its version, and with `traffic`.
fn version(version: &str, traffic: &Value) -> Value {
    let mut service = hello(&json!({"image": "hello", "command": ["hello", version]}));
    service["spec"]["template"]["metadata"] = json!({"name": format!("hello-{version}")});
    service["spec"]["traffic"] = traffic.clone();
    service
}

/// What all of `objects` become, without faults.
fn made(objects: &[Value], here: &Here) -> (Vec<Service>, Vec<String>) {
    let all = make(&objects.iter().map(given).collect::<Vec<_>>(), here);
    assert!(all.faults.is_empty(), "{:?}", all.faults);
    (all.services.into_iter().map(|made| made.service).collect(), all.warnings)
}

fn only(object: &Value, here: &Here) -> (Service, Vec<String>) {
    let (mut services, warnings) = made(std::slice::from_ref(object), here);
    assert_eq!(services.len(), 1);
    (services.remove(0), warnings)
}

fn refused(objects: &[Value], here: &Here) -> Vec<String> {
    let all = make(&objects.iter().map(given).collect::<Vec<_>>(), here);
    assert!(all.services.is_empty(), "{:?}", all.services);
    all.faults.iter().map(ToString::to_string).collect()
}

fn annotations(service: &Service) -> Vec<String> {
    service.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

#[test]
fn a_service_says_with_annotations_what_its_fields_say() {
    let mut object = hello(&json!({
        "image": "hello", "command": ["./hello"], "ports": [{"name": "h2c", "containerPort": 9000}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 9000}},
    }));
    let template = &mut object["spec"]["template"];
    template["metadata"] = json!({"annotations": {
        "autoscaling.knative.dev/target": "5", "ebb.dev/queue-depth": "7", "example.com/other": "x",
    }});
    template["spec"]["containerConcurrency"] = json!(10);
    template["spec"]["timeoutSeconds"] = json!(20);
    template["spec"]["idleTimeoutSeconds"] = json!(5);
    let (service, warnings) = only(&object, &Here { domain: None, ..here() });
    assert_eq!((service.name.as_str(), warnings), ("hello", Vec::new()));
    assert_eq!(
        annotations(&service),
        [
            "autoscaling.knative.dev/target=5",
            "ebb.dev/app-protocol=h2c",
            "ebb.dev/container-concurrency=10",
            "ebb.dev/idle-timeout=5s",
            "ebb.dev/late-response=end",
            "ebb.dev/queue-depth=7",
            "ebb.dev/readiness-path=/healthz",
            "ebb.dev/request-timeout=20s",
        ]
    );
    let understood = service.understand(&local_defaults()).unwrap();
    assert_eq!(understood.warnings, []);
}

#[test]
fn a_command_runs_on_this_machine_in_the_files_folder() {
    let container = json!({
        "image": "hello", "command": ["./hello"], "args": ["--port=$(PORT)"],
        "env": [{"name": "PLAIN", "value": "x"}, {"name": "EMPTY"}],
    });
    let (service, warnings) = only(&hello(&container), &here());
    let texts = |words: &[&str]| -> Vec<String> { words.iter().map(|&word| word.to_owned()).collect() };
    let variables = [
        ("PLAIN", "x"),
        ("EMPTY", ""),
        ("K_REVISION", "hello-00001"),
        ("K_CONFIGURATION", "hello"),
        ("K_SERVICE", "hello"),
    ];
    let expected = Container {
        command: texts(&["./hello"]),
        arguments: texts(&["--port=$(PORT)"]),
        environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        place: Place::Host { folder: Some("/home/me".into()) },
    };
    assert_eq!((service.container, warnings), (Some(expected), Vec::new()));
}

#[test]
fn an_image_runs_if_there_is_no_command_or_if_it_is_asked_for() {
    let without = json!({
        "image": "ghcr.io/team/hello:1", "args": ["-v"], "workingDir": "/app", "imagePullPolicy": "Never",
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    });
    let mut with = without.clone();
    with["command"] = json!(["serve"]);
    for (container, images) in [(&without, false), (&without, true), (&with, true)] {
        let mut object = hello(container);
        object["spec"]["template"]["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
        let (service, warnings) = only(&object, &Here { images, ..here() });
        let image = Image {
            name: "ghcr.io/team/hello:1".to_owned(),
            pull_policy: Some("Never".to_owned()),
            directory: Some("/app".to_owned()),
            empty_volumes: vec!["/scratch".to_owned()],
        };
        assert_eq!(
            service.container.map(|container| container.place),
            Some(Place::Engine(image)),
            "{container}"
        );
        assert_eq!(warnings, [""; 0]);
    }
}

#[test]
fn what_a_command_cannot_have_here_is_warned_of() {
    let folder =
        |text: &str| only(&hello(&json!({"image": "hello", "command": ["x"], "workingDir": text})), &here());
    let place = |service: Service| service.container.map(|container| container.place);
    let (service, warnings) = folder("/srv");
    assert_eq!((place(service), warnings), (Some(Place::Host { folder: Some("/srv".into()) }), Vec::new()));
    let (service, warnings) = folder("/app");
    assert_eq!(place(service), Some(Place::Host { folder: Some("/home/me".into()) }));
    let field = "hello: spec.template.spec.containers[0]";
    let why = "/app is not on this machine; the command runs in the file's folder";
    assert_eq!(warnings, [format!("{field}.workingDir: {why}")]);

    let mut object = hello(&json!({
        "image": "hello", "command": ["x"], "livenessProbe": {"tcpSocket": {}}, "startupProbe": {"tcpSocket": {}},
        "readinessProbe": {"exec": {"command": ["true"]}},
        "volumeMounts": [{"name": "keys", "mountPath": "/keys"}],
    }));
    object["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "keys", "secret": {"secretName": "keys"}}]);
    let (_, warnings) = only(&object, &here());
    let starts =
        ["livenessProbe has no", "startupProbe has no", "volumeMounts has no", "readinessProbe.exec has no"];
    assert_eq!(warnings.len(), starts.len(), "{warnings:?}");
    for (warning, start) in warnings.iter().zip(starts) {
        assert!(warning.starts_with(&format!("{field}.{start} effect")), "{warning}");
    }
}

#[test]
fn a_variable_from_elsewhere_has_its_value_from_the_environment() {
    let from = |name: &str, optional: bool| json!({"name": name, "valueFrom": {"secretKeyRef": {"name": "db", "key": "token", "optional": optional}}});
    let container = |env: Value| hello(&json!({"image": "hello", "command": ["x"], "env": env}));
    let (service, _) = only(&container(json!([from("TOKEN", false), from("MISSING", true)])), &here());
    let environment = service.container.unwrap().environment;
    assert_eq!(
        environment[0],
        ("TOKEN".to_owned(), "a$$b".to_owned()),
        "a value of theirs refers to nothing"
    );
    assert_eq!(environment.len(), 4, "{environment:?}");
    assert_eq!(
        refused(&[container(json!([from("MISSING", false)]))], &here()),
        [
            "/home/me/service.yaml: Service hello: spec.template.spec.containers[0].env[0].valueFrom: one machine has no \
          Secret db with the key token; set the variable for ebb, as in MISSING=VALUE ebb up"
        ]
    );
}

#[test]
fn what_one_machine_cannot_do_is_refused_all_at_once() {
    let mut object = hello(&json!({
        "image": "hello",
        "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "b", "optional": true}}],
        "volumeMounts": [{"name": "keys", "mountPath": "/keys"}],
    }));
    object["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "keys", "secret": {"secretName": "keys"}}]);
    let mut two = hello(&json!({"image": "hello", "ports": [{"containerPort": 80}]}));
    two["metadata"]["name"] = json!("two");
    two["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().push(json!({"image": "other"}));
    let faults = refused(&[object, two], &here());
    let parts = [
        "hello: spec.template.spec.containers[0].envFrom[0].configMapRef: one machine has no ConfigMap a;",
        "hello: spec.template.spec.containers[0].volumeMounts[0]: one machine has no volume keys;",
        "two: spec.template.spec.containers: 2 containers; want one",
    ];
    assert_eq!(faults.len(), parts.len(), "{faults:#?}");
    for (fault, part) in faults.iter().zip(parts) {
        assert!(fault.contains(part), "{fault}");
    }
}

#[test]
fn what_a_cluster_refuses_is_refused_in_its_words() {
    let mut wrong = hello(&json!({"image": "hello", "env": [{"name": "K_SERVICE", "value": "x"}]}));
    wrong["spec"]["template"]["spec"]["containerConcurrency"] = json!(-1);
    wrong["metadata"]["annotations"] = json!({"autoscaling.knative.dev/target": "1"});
    let text = "/home/me/service.yaml: Service hello: validation failed: \
        \"K_SERVICE\" is a reserved environment variable: spec.template.spec.containers[0].env[0].name\n\
        expected 0 <= -1 <= 1000: spec.template.spec.containerConcurrency\n\
        invalid key name \"autoscaling.knative.dev/target\": metadata.annotations\n\
        autoscaling annotations must be put under \"spec.template.metadata.annotations\" to work";
    assert_eq!(refused(&[wrong], &here()), [text]);
    let empty = json!({"metadata": {"generateName": "hello-"}, "spec": {}});
    let faults = refused(&[empty], &here());
    assert!(faults[0].contains("missing field(s): spec.template.spec.containers"), "{faults:?}");
    assert!(faults[1].contains("metadata.generateName: only a cluster makes names"), "{faults:?}");
}

#[test]
fn tags_are_hosts_of_the_same_service_while_one_revision_gets_everything() {
    let traffic = json!([{"latestRevision": true, "percent": 100}, {"latestRevision": true, "tag": "new"}]);
    let mut object = version("b", &traffic);
    object["metadata"]["namespace"] = json!("shop");
    let (service, _) = only(&object, &here());
    assert_eq!(
        service.annotations["ebb.dev/hosts"],
        "hello.shop.127.0.0.1.sslip.io, new-hello.shop.127.0.0.1.sslip.io"
    );
    object["metadata"]["labels"] = json!({"networking.knative.dev/visibility": "cluster-local"});
    assert_eq!(only(&object, &here()).0.annotations.get("ebb.dev/hosts"), None);
}

#[test]
fn a_service_given_again_has_revisions_between_which_its_traffic_is_divided() {
    let all = json!([{"latestRevision": true, "percent": 100}]);
    let split = json!([
        {"revisionName": "hello-a", "percent": 90}, {"latestRevision": true, "percent": 10},
        {"revisionName": "hello-b", "tag": "canary"},
    ]);
    let (services, _) = made(&[version("a", &all), version("b", &split)], &here());
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["hello", "hello-a", "hello-b"]);
    assert_eq!(services[0].annotations["ebb.dev/split"], "hello-a=90, hello-b=10");
    let hosts = |service: &Service| service.annotations.get("ebb.dev/hosts").cloned().unwrap_or_default();
    assert_eq!(
        [0, 1, 2].map(|index: usize| hosts(&services[index])),
        ["hello.default.127.0.0.1.sslip.io", "", "canary-hello.default.127.0.0.1.sslip.io"]
    );
    let understood = understand(services, &local_defaults()).unwrap();
    assert!(matches!(understood[0].role, Role::Route(_)));

    let latest = made(&[version("a", &all), version("b", &all)], &here()).0;
    assert_eq!((latest.len(), latest[0].name.as_str()), (1, "hello"));
    assert_eq!(latest[0].container.as_ref().unwrap().command[1], "b");
}

#[test]
fn a_revision_that_is_not_in_the_file_is_refused_and_so_is_one_that_changes() {
    let all = json!([{"latestRevision": true, "percent": 100}]);
    let old = json!([{"revisionName": "hello-a", "percent": 100}]);
    let faults = refused(&[version("b", &old)], &here());
    assert!(faults[0].contains("spec.traffic[0].revisionName: \"hello-a\" is not there"), "{faults:?}");
    let mut changed = version("a", &all);
    changed["spec"]["template"]["spec"]["timeoutSeconds"] = json!(7);
    let faults = refused(&[version("a", &all), changed], &here());
    assert!(faults[0].contains("Saw the following changes without a name change"), "{faults:?}");
    let mut other = version("a", &all);
    other["metadata"]["namespace"] = json!("shop");
    let faults = refused(&[version("a", &all), other], &here());
    assert!(faults[0].contains("metadata.namespace: there is one in default too"), "{faults:?}");
}
