//! Which parts of Ebb are installed, or are to be.

use clap::Args as ClapArgs;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kube::{Api, core::DynamicObject};

use super::{Cluster, Failure, manifests};

/// The Service of the gateway.
pub(crate) const GATEWAY: &str = "ebb-gateway";
/// The program that serves Knative's API; its webhook configurations, roles and Lease have the same name.
pub(crate) const SERVING: &str = "ebb-serving";

/// What is installed beside the autoscaler and the activators.
#[derive(ClapArgs, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Components {
    /// With the gateway: one address for all Services that have ebb.dev/hosts
    #[arg(long)]
    pub(crate) gateway: bool,
    /// With Knative Serving's API (ksvc and so on), and the gateway for its hosts
    #[arg(long)]
    pub(crate) serving: bool,
}

impl Components {
    /// Returns the components that the Ebb in this namespace has, completely or in part.
    pub(crate) async fn installed(cluster: &Cluster, namespace: &str) -> Result<Self, Failure> {
        let (services, deployments): (Api<Service>, Api<Deployment>) =
            (cluster.within(namespace), cluster.within(namespace));
        let gateway = cluster.find("reading the Service ebb-gateway", services.get_metadata(GATEWAY)).await?;
        let program = cluster.find("reading ebb-serving", deployments.get_metadata(SERVING)).await?;
        let serving = program.is_some() || has_kinds(cluster).await?;
        Ok(Self { gateway: gateway.is_some(), serving })
    }

    /// Returns these components and those of `other`.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self { gateway: self.gateway || other.gateway, serving: self.serving || other.serving }
    }

    /// Returns whether the gateway is among them, itself or for Knative's API.
    pub(crate) const fn has_gateway(self) -> bool {
        self.gateway || self.serving
    }
}

/// Returns whether the cluster has Knative's API, and has it from Ebb. The kind that is asked for is created first and
/// deleted last.
async fn has_kinds(cluster: &Cluster) -> Result<bool, Failure> {
    let Some(first) = manifests::kinds().ok().and_then(|kinds| kinds.into_iter().next()) else {
        return Ok(false);
    };
    let what = format!("reading {}", manifests::name(&first));
    let api = manifests::api(cluster, &first);
    let found = cluster.find(what, api.get(first.metadata.name.as_deref().unwrap_or_default())).await?;
    Ok(found.is_some_and(|found| is_ours(&found)))
}

/// Returns whether an object is labelled as Ebb's. Knative's own kinds have the same names.
pub(crate) fn is_ours(object: &DynamicObject) -> bool {
    let labels = object.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get("app.kubernetes.io/name")).is_some_and(|name| name == "ebb")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::test_api::{self, missing};

    const KIND: &str = "services.serving.knative.dev";

    async fn installed(there: &'static [&'static str], kinds_of: &'static str) -> Components {
        let (cluster, _) = test_api::cluster(move |asked| {
            let path = asked.path.split('?').next().unwrap_or_default();
            match there.iter().find(|name| path.ends_with(&format!("/{name}"))) {
                Some(name) => (200, object(name, kinds_of)),
                None => missing(),
            }
        });
        Components::installed(&cluster, "ebb-system").await.unwrap()
    }

    fn object(name: &str, of: &str) -> Value {
        json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": of}},
        })
    }

    #[tokio::test]
    async fn a_component_is_there_while_anything_of_it_is() {
        let none = Components::default();
        assert_eq!(installed(&[], "ebb").await, none);
        assert_eq!(installed(&["ebb-gateway"], "ebb").await, Components { gateway: true, ..none });
        let serving = Components { serving: true, ..none };
        assert_eq!(installed(&["ebb-serving"], "ebb").await, serving);
        assert_eq!(installed(&[KIND], "ebb").await, serving, "a removal that was interrupted");
        assert_eq!(installed(&[KIND], "knative-serving").await, none, "Knative's own");
    }

    #[test]
    fn the_hosts_of_knatives_api_need_the_gateway() {
        let serving = Components { serving: true, gateway: false };
        assert!(serving.has_gateway());
        let gateway = Components { serving: false, gateway: true };
        assert_eq!(serving.and(gateway), Components { serving: true, gateway: true });
        assert!(!Components::default().has_gateway());
    }
}
