//! Whatever a Revision says, and whatever is there already: it comes to rest.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::{BY_DIGEST, World, revision};

/// Numbers that fit the schema, most of them nonsense.
fn number() -> impl Strategy<Value = i32> {
    prop_oneof![Just(0), Just(1), Just(8080), -2..70_000_i32, any::<i32>()]
}

fn probe() -> impl Strategy<Value = Value> {
    let way = prop_oneof![
        Just(json!({})),
        Just(json!({ "tcpSocket": {} })),
        Just(json!({ "exec": {} })),
        "\\PC{0,3}".prop_map(|port| json!({ "httpGet": { "port": port } })),
        number().prop_map(|port| json!({ "grpc": { "port": port } })),
    ];
    (way, number()).prop_map(|(mut way, period)| {
        way["periodSeconds"] = json!(period);
        way
    })
}

fn container() -> impl Strategy<Value = Value> {
    let image = prop_oneof![
        Just("ghcr.io/shop/cart:v1".to_owned()),
        Just(BY_DIGEST.to_owned()),
        Just("dev.local/x".to_owned()),
        "\\PC{0,6}",
    ];
    let port = proptest::option::of((proptest::option::of("h2c|http1|"), number()));
    ("[a-z]{0,2}", image, port, proptest::option::of(probe())).prop_map(|(name, image, port, probe)| {
        let ports: Vec<Value> =
            port.into_iter().map(|(name, port)| json!({ "name": name, "containerPort": port })).collect();
        json!({ "name": name, "image": image, "ports": ports, "readinessProbe": probe, "livenessProbe": probe })
    })
}

fn spec() -> impl Strategy<Value = Value> {
    let containers = proptest::collection::vec(container(), 0..3);
    let affinity = prop_oneof![Just(Value::Null), Just(json!({})), Just(json!({ "podAffinity": 5 }))];
    (containers, number(), number(), number(), affinity).prop_map(
        |(containers, limit, timeout, start, affinity)| {
            json!({
                "containers": containers, "containerConcurrency": limit, "timeoutSeconds": timeout,
                "responseStartTimeoutSeconds": start, "idleTimeoutSeconds": start, "affinity": affinity,
            })
        },
    )
}

fn annotations() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("autoscaling.knative.dev/min-scale"),
        Just("autoscaling.knative.dev/initialScale"),
        Just("autoscaling.knative.dev/max-scale"),
        Just("ebb.dev/schedule"),
        Just("ebb.dev/selector"),
        Just("ebb.dev/activator-port"),
        Just("serving.knative.dev/progress-deadline"),
        Just("serving.knative.dev/routes"),
        Just("example.com/x"),
    ];
    let value =
        prop_oneof![number().prop_map(|number| number.to_string()), "\\PC{0,4}", Just("0s".to_owned())];
    proptest::collection::btree_map(key, value, 0..5).prop_map(|all| json!(all))
}

proptest! {
    #[test]
    fn every_revision_comes_to_rest(
        spec in spec(),
        own in annotations(),
        on_front in annotations(),
        on_deployment in annotations(),
        state in "active|reserve|pending|",
        (wanted, ready) in (0..3_i32, 0..3_i32),
        (scale_to_zero, min) in (any::<bool>(), 0..5_u32),
    ) {
        let labels = json!({ "serving.knative.dev/routingState": state });
        let mut world = World::new(revision(&labels, &own, &spec));
        world.config.autoscaler.scale_to_zero = scale_to_zero;
        world.config.autoscaler.min_scale = min;
        world.examine();
        world.take_over();
        world.examine();
        if let Some(front) = &mut world.front {
            json_patch::merge(front, &json!({ "metadata": { "annotations": on_front } }));
        }
        if world.deployment.is_some() {
            world.pods_ready(wanted, ready);
            let other = json!({ "metadata": {
                "annotations": on_deployment, "labels": { "serving.knative.dev/deployment-hash": "other" },
            } });
            json_patch::merge(world.deployment.as_mut().unwrap(), &other);
        }
        for _ in 0..3 {
            world.examine();
            world.take_over();
        }
        let rest = world.clone();
        let outcome = world.examine();
        prop_assert_eq!(outcome.writes, []);
        prop_assert_eq!(Some(outcome.status), rest.revision.status);
        prop_assert_eq!((world.front, world.deployment), (rest.front, rest.deployment));
    }
}
