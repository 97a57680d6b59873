//! What an installation chose itself, and keeps when it is applied again.

use kube::{ResourceExt, core::DynamicObject};

use crate::cluster::{
    Cluster, Failure,
    components::GATEWAY,
    manifests::{api, kind},
};

/// How the gateway is reached. As shipped, it would become public where it was made private.
const REACHED: [&str; 2] = ["type", "externalTrafficPolicy"];

/// Makes the gateway's Service ask for what the one on the cluster has.
pub(super) async fn keep(cluster: &Cluster, objects: &mut [DynamicObject]) -> Result<(), Failure> {
    let is_gateway = |object: &&mut DynamicObject| kind(object) == "Service" && object.name_any() == GATEWAY;
    let Some(gateway) = objects.iter_mut().find(is_gateway) else { return Ok(()) };
    let found = cluster.find("reading the Service ebb-gateway", api(cluster, gateway).get(GATEWAY)).await?;
    if let Some(found) = found {
        keep_reached(gateway, &found);
    }
    Ok(())
}

fn keep_reached(gateway: &mut DynamicObject, found: &DynamicObject) {
    let Some(spec) = gateway.data["spec"].as_object_mut() else { return };
    for field in REACHED {
        match found.data["spec"].get(field) {
            Some(value) => spec.insert(field.to_owned(), value.clone()),
            None => spec.remove(field),
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: &Value) -> DynamicObject {
        serde_json::from_value(json!({"metadata": {"name": GATEWAY}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_gateway_that_was_made_private_stays_so() {
        let shipped = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Cluster", "ports": [1]});
        for (found, wanted) in [
            (
                json!({"type": "ClusterIP", "clusterIP": "10.0.0.1"}),
                json!({"type": "ClusterIP", "ports": [1]}),
            ),
            (
                json!({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [2]}),
                json!({"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [1]}),
            ),
            (shipped.clone(), shipped.clone()),
        ] {
            let mut gateway = service(&shipped);
            keep_reached(&mut gateway, &service(&found));
            assert_eq!(gateway.data["spec"], wanted);
        }
    }
}
