//! A cluster with one Revision, that does what an outcome says.

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use serde_json::{Value, json};

use super::super::{Images, examine};
use crate::{
    api::{Condition, Revision, RevisionStatus},
    config::Config,
    outcome::{Kind, Object, Outcome, Write},
    seen::{Deployed, Front, Pod, Progress, Seen},
};

pub(super) const UID: &str = "uid-1";
pub(super) const BY_DIGEST: &str =
    "ghcr.io/shop/cart@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Returns the Revision `cart-00001` in the namespace `shop`, with more of its metadata and its spec.
pub(super) fn revision(labels: &Value, annotations: &Value, spec: &Value) -> Revision {
    let mut object = json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": "cart-00001", "namespace": "shop", "uid": UID, "generation": 1,
            "labels": {
                "serving.knative.dev/configuration": "cart", "serving.knative.dev/service": "cart",
                "serving.knative.dev/routingState": "active",
            },
        },
        "spec": {
            "timeoutSeconds": 300,
            "containers": [{ "name": "user-container", "image": "ghcr.io/shop/cart:v1" }],
        },
    });
    json_patch::merge(&mut object["metadata"]["labels"], labels);
    object["metadata"]["annotations"] = annotations.clone();
    json_patch::merge(&mut object["spec"], spec);
    serde_json::from_value(object).unwrap()
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) revision: Revision,
    pub(super) images: Images,
    pub(super) config: Config,
    pub(super) now: Timestamp,
    pub(super) front: Option<Value>,
    pub(super) deployment: Option<Value>,
    pub(super) pods: Vec<Pod>,
}

impl World {
    /// Returns a world in which the Revision's image is known, and nothing else exists.
    pub(super) fn new(revision: Revision) -> Self {
        let mut images = Images::default();
        images.resolve("ghcr.io/shop/cart:v1", BY_DIGEST.to_owned());
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        Self {
            revision,
            images,
            config: Config::default(),
            now,
            front: None,
            deployment: None,
            pods: Vec::new(),
        }
    }

    /// Returns a world with a Revision that says nothing special.
    pub(super) fn fresh() -> Self {
        Self::new(revision(&json!({}), &json!({}), &json!({})))
    }

    /// Returns a world in which that Revision has its Deployment.
    pub(super) fn started() -> Self {
        let mut world = Self::fresh();
        world.start();
        world
    }

    /// Returns a world in which that Revision is ready.
    pub(super) fn initialised() -> Self {
        let mut world = Self::started();
        world.pods_ready(1, 1);
        world.examine();
        world
    }

    /// Lets the Revision get its Service and its Deployment.
    pub(super) fn start(&mut self) {
        self.examine();
        self.take_over();
        self.examine();
        assert!(self.deployment.is_some());
        self.deployed(|_| {});
    }

    pub(super) fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        if let Some(front) = &self.front {
            let front: Service = serde_json::from_value(front.clone()).unwrap();
            seen.fronts.put("shop", "cart-00001", Front::of(&front));
        }
        if let Some(deployment) = &self.deployment {
            let deployment: Deployment = serde_json::from_value(deployment.clone()).unwrap();
            seen.deployments.put("shop", "cart-00001-deployment", Deployed::of(&deployment));
        }
        for (index, pod) in self.pods.iter().enumerate() {
            let pod = Pod { revision: "cart-00001".to_owned(), ..pod.clone() };
            seen.pods.put("shop", &index.to_string(), pod);
        }
        seen
    }

    /// Examines the Revision, and does what follows.
    pub(super) fn examine(&mut self) -> Outcome<RevisionStatus> {
        let outcome = self.look();
        self.revision.status = Some(outcome.status.clone());
        for write in &outcome.writes {
            self.write(write);
        }
        outcome
    }

    /// Examines the Revision.
    pub(super) fn look(&self) -> Outcome<RevisionStatus> {
        examine(&self.revision, &self.images, &self.seen(), &self.config, self.now)
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Create(Object::Front(front)) => {
                assert_eq!(self.front, None);
                self.front = Some(serde_json::to_value(front).unwrap());
            }
            Write::Create(Object::Deployment(deployment)) => {
                assert_eq!(self.deployment, None);
                self.deployment = Some(serde_json::to_value(deployment).unwrap());
            }
            Write::Merge(reference, patch) => {
                let object = match reference.kind {
                    Kind::Front => self.front.as_mut(),
                    Kind::Deployment => self.deployment.as_mut(),
                    other => panic!("{other:?}"),
                };
                json_patch::merge(object.unwrap(), patch);
            }
            Write::Delete(reference, _) => match reference.kind {
                Kind::Front => self.front = None,
                Kind::Deployment => self.deployment = None,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Does what Ebb does with a new Service.
    pub(super) fn take_over(&mut self) {
        let Some(front) = &mut self.front else { return };
        if front["metadata"]["annotations"].get("ebb.dev/scale-target").is_some() {
            let change = json!({
                "metadata": { "annotations": {
                    "ebb.dev/activator-port": "10001",
                    "ebb.dev/selector": format!("serving.knative.dev/revisionUID={UID}"),
                } },
                "spec": { "selector": null },
            });
            json_patch::merge(front, &change);
        }
    }

    /// Changes the Deployment, as its controller and the autoscaler do.
    pub(super) fn deployed(&mut self, change: impl Fn(&mut Deployed)) {
        let object = self.deployment.as_mut().unwrap();
        let mut deployed = Deployed::of(&serde_json::from_value(object.clone()).unwrap());
        change(&mut deployed);
        let condition = |type_: &str, of: &Option<Progress>| {
            let of = of.as_ref()?;
            Some(json!({ "type": type_, "status": of.status, "reason": of.reason, "message": of.message }))
        };
        let conditions = [
            condition("Progressing", &deployed.progressing),
            condition("ReplicaFailure", &deployed.replica_failure),
        ];
        object["spec"]["replicas"] = json!(deployed.wanted);
        object["metadata"]["generation"] = json!(1);
        object["status"] = json!({
            "observedGeneration": 1, "replicas": deployed.replicas, "readyReplicas": deployed.ready,
            "availableReplicas": deployed.available,
            "conditions": conditions.into_iter().flatten().collect::<Vec<_>>(),
        });
    }

    /// Sets the number of pods that should be, and that are ready.
    pub(super) fn pods_ready(&mut self, wanted: i32, ready: i32) {
        self.deployed(|deployed| {
            (deployed.wanted, deployed.replicas) = (wanted, wanted);
            (deployed.ready, deployed.available) = (ready, ready);
        });
    }
}

/// Returns each condition of a status in one line.
pub(super) fn said(status: &RevisionStatus) -> Vec<String> {
    let line = |one: &Condition| {
        format!("{} {} {} {}", one.type_, one.status, one.reason, one.message).trim_end().to_owned()
    };
    status.observed.conditions.iter().map(line).collect()
}

/// Returns one condition of a status, without its type.
pub(super) fn condition(status: &RevisionStatus, type_: &str) -> String {
    let lines = said(status);
    let line = lines.iter().find_map(|line| line.strip_prefix(&format!("{type_} ")));
    line.unwrap_or_default().to_owned()
}
