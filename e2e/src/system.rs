//! The installed Ebb: its pods, and what they report.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::Value;

use crate::{
    http::get,
    wait::{SOON, eventually},
};

/// The namespace of the installation.
const NAMESPACE: &str = "ebb-system";
const LEASE: &str = "ebb-autoscaler";
const LINK_PORT: u16 = 8080;
const ACTIVATOR_METRICS_PORT: u16 = 9090;

/// The installation.
#[derive(Clone)]
pub struct System {
    pods: Api<Pod>,
    leases: Api<Lease>,
}

impl fmt::Debug for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("System").finish_non_exhaustive()
    }
}

impl System {
    pub(crate) fn new(client: &Client) -> Self {
        let (pods, leases) =
            (Api::namespaced(client.clone(), NAMESPACE), Api::namespaced(client.clone(), NAMESPACE));
        Self { pods, leases }
    }

    /// Returns names and addresses of the pods of a program, `autoscaler` or `activator`, without those that
    /// are being deleted.
    pub async fn pods(&self, program: &str) -> BTreeMap<String, std::net::IpAddr> {
        let selector = format!("app.kubernetes.io/component={program}");
        let Ok(pods) = self.pods.list(&ListParams::default().labels(&selector)).await else {
            return BTreeMap::new();
        };
        let there = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        there
            .filter_map(|pod| {
                let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
                Some((pod.name_any(), address))
            })
            .collect()
    }

    /// Returns the autoscaler that leads and has recently renewed its Lease.
    pub async fn leader(&self) -> String {
        eventually("an autoscaler that is there leads", SOON, async || {
            let lease = self.leases.get(LEASE).await.ok()?;
            let holder = lease.spec?.holder_identity.filter(|holder| !holder.is_empty())?;
            self.pods("autoscaler").await.contains_key(&holder).then_some(holder)
        })
        .await
    }

    /// Kills a pod at once, as the loss of its node would.
    ///
    /// # Panics
    ///
    /// Panics if there is no such pod.
    pub async fn kill(&self, pod: &str) {
        let at_once = DeleteParams::default().grace_period(0);
        self.pods.delete(pod, &at_once).await.expect("there is such a pod");
    }

    /// Returns the leading autoscaler's explanation of a service.
    pub async fn explain(&self, namespace: &str, service: &str) -> Option<Value> {
        for address in self.pods("autoscaler").await.into_values() {
            let path = format!("/explain/{namespace}/{service}");
            let Ok(answer) = get(SocketAddr::new(address, LINK_PORT), &path).await else { continue };
            if let Ok(explained) = serde_json::from_str::<Value>(&answer.body)
                && explained["leads"] == true
            {
                return Some(explained);
            }
        }
        None
    }

    /// Returns the metrics of each pod of a program.
    pub async fn metrics(&self, program: &str) -> Vec<Samples> {
        let port = if program == "autoscaler" { LINK_PORT } else { ACTIVATOR_METRICS_PORT };
        let mut all = Vec::new();
        for address in self.pods(program).await.into_values() {
            if let Ok(answer) = get(SocketAddr::new(address, port), "/metrics").await {
                all.push(Samples(answer.body));
            }
        }
        all
    }
}

/// Metrics as text.
#[derive(Clone, Debug)]
pub struct Samples(pub String);

impl Samples {
    /// Returns the sum over all series of a name whose labels contain all of `labels`, such as
    /// `service="hello"`.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let is_of = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        self.0.lines().filter(is_of).filter_map(value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_are_summed_by_their_labels() {
        let text = "# HELP a b\na{x=\"1\"} 2\na{x=\"2\",y=\"1\"} 3.5\nab 7\nb 1\n";
        let samples = Samples(text.to_owned());
        assert_eq!(samples.sum("a", &[]), 5.5);
        assert_eq!(samples.sum("a", &["y=\"1\""]), 3.5);
        assert_eq!(samples.sum("b", &[]), 1.0);
        assert_eq!(samples.sum("c", &[]), 0.0);
    }
}
