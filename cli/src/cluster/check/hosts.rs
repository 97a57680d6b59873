//! Checks the hosts of Services.

use ebb_annotations::keys;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::Api;

use crate::cluster::{
    Cluster,
    bound::{SETTINGS, annotation, asks, full_name, is_route},
    finding::{Finding, Report},
};

const CHECK: &str = "hosts";
/// The Service of the gateway, in Ebb's own namespace.
const GATEWAY: &str = "ebb-gateway";
/// The key of the settings that names another Gateway to use.
const GATEWAY_PARENT: &str = "gateway-parent";

/// Checks the hosts of `services`; `own` is Ebb's namespace.
pub(super) async fn check(cluster: &Cluster, own: &str, services: &[Service], report: &mut Report) {
    let named: Vec<&Service> =
        services.iter().filter(|service| annotation(service, keys::HOSTS.name).is_some()).collect();
    if named.is_empty() {
        return;
    }
    let settings: Api<ConfigMap> = cluster.within(own);
    let map = cluster.find("reading the ConfigMap ebb-config", settings.get(SETTINGS)).await.ok().flatten();
    if let Some(parent) = map.as_ref().and_then(parent) {
        report.extend(judge(&named, Some(&format!("Gateway {parent}"))));
        return;
    }
    let api: Api<Service> = cluster.within(own);
    match cluster.find("reading the gateway's Service", api.get(GATEWAY)).await {
        Ok(gateway) => report.extend(judge(&named, gateway.map(|_| "the gateway"))),
        Err(failure) => {
            report.add(Finding::warning(CHECK, failure.to_string(), "use a context that may read it"));
        }
    }
}

/// Returns the Gateway that takes requests instead of Ebb's own, from the settings.
fn parent(settings: &ConfigMap) -> Option<&str> {
    let text = settings.data.as_ref()?.get(GATEWAY_PARENT)?.trim();
    (!text.is_empty()).then_some(text)
}

/// Returns what is wrong with the `named` Services, all of which have hosts; `gateway` serves these, if there
/// is one.
fn judge(named: &[&Service], gateway: Option<&str>) -> Vec<Finding> {
    let (served, idle): (Vec<&Service>, Vec<&Service>) =
        named.iter().copied().partition(|service| asks(service) || is_route(service));
    let mut findings = Vec::new();
    if !idle.is_empty() {
        let todo = "add ebb.dev/scale-target or ebb.dev/split, or remove ebb.dev/hosts";
        let what = "ebb.dev/hosts has no effect on a Service that Ebb neither scales nor splits";
        findings.push(Finding::warning(CHECK, what, todo).about(names(&idle)));
    }
    if !served.is_empty() {
        findings.push(if let Some(gateway) = gateway {
            let what = format!("{gateway} answers for the hosts of these Services");
            Finding::ok(CHECK, what).about(names(&served))
        } else {
            let what = format!("there is no gateway, so ebb.dev/hosts has no effect: no Service {GATEWAY}");
            let todo = "turn it on: Helm's gateway.enabled=true, or deploy/components/gateway";
            Finding::warning(CHECK, what, todo).about(names(&served))
        });
    }
    findings
}

fn names(services: &[&Service]) -> Vec<String> {
    services.iter().map(|service| full_name(service)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::finding::Level;

    fn service(name: &str, key: &str) -> Service {
        let annotations = json!({"ebb.dev/hosts": "a.com", key: "x"});
        let metadata = json!({"name": name, "namespace": "shop", "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn hosts_need_a_gateway_and_a_service_that_ebb_serves() {
        let all = [
            service("scaled", "ebb.dev/scale-target"),
            service("route", "ebb.dev/split"),
            service("plain", "x"),
        ];
        let all: Vec<&Service> = all.iter().collect();
        let found = |gateway| -> Vec<(Level, Vec<String>)> {
            judge(&all, gateway).into_iter().map(|finding| (finding.level, finding.services)).collect()
        };
        let served = || vec!["shop/scaled".to_owned(), "shop/route".to_owned()];
        let idle = (Level::Warning, vec!["shop/plain".to_owned()]);
        assert_eq!(found(Some("the gateway")), [idle.clone(), (Level::Ok, served())]);
        assert_eq!(found(None), [idle, (Level::Warning, served())]);
    }

    #[test]
    fn a_gateway_of_the_clusters_is_named_in_the_settings() {
        let map = |text: &str| -> ConfigMap {
            serde_json::from_value(json!({"data": {"gateway-parent": text}})).unwrap()
        };
        assert_eq!(parent(&map("infra/web\n")), Some("infra/web"));
        assert_eq!((parent(&map("")), parent(&ConfigMap::default())), (None, None));
    }
}
