//! Checks the targets of routes.

use std::collections::BTreeMap;

use ebb_annotations::{keys, parse_route};
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use crate::cluster::{
    bound::{annotation, asks, full_name, is_route},
    finding::{Finding, Report},
};

const CHECK: &str = "route";

/// Checks `routes`; `others` are the other Services.
pub(super) fn check(routes: &[Service], others: &[Service], report: &mut Report) {
    let mut well = Vec::new();
    for route in routes {
        let findings = judge(route, routes.iter().chain(others));
        if findings.is_empty() {
            well.push(full_name(route));
        }
        report.extend(findings);
    }
    if !well.is_empty() {
        let text = if well.len() == 1 {
            "sends its requests to services that take them"
        } else {
            "send their requests to services that take them"
        };
        report.add(Finding::ok(CHECK, text).about(well));
    }
}

/// Returns what is wrong with a route; `services` are all Services that may be its targets.
fn judge<'a>(route: &Service, services: impl Iterator<Item = &'a Service>) -> Vec<Finding> {
    let name = full_name(route);
    let empty = BTreeMap::new();
    let annotations = route.metadata.annotations.as_ref().unwrap_or(&empty);
    let parsed = match parse_route(&route.name_any(), annotations) {
        Ok(parsed) => parsed,
        Err(faults) => {
            let finding = |fault| Finding::fault(CHECK, format!("{name}: {fault}"), "correct the annotation");
            return faults.into_iter().map(finding).collect();
        }
    };
    if let Some(selector) = own_selector(route) {
        let what = format!(
            "{name}: it has a selector ({selector}) and ebb.dev/split: a route has no pods of its own"
        );
        return vec![Finding::fault(CHECK, what, "remove one of the two")];
    }
    let mut findings: Vec<Finding> = parsed
        .warnings
        .iter()
        .map(|warning| {
            Finding::warning(CHECK, format!("{name}: {warning}"), "correct or remove the annotation")
        })
        .collect();
    let near: BTreeMap<String, &Service> = services
        .filter(|service| service.namespace() == route.namespace())
        .map(|service| (service.name_any(), service))
        .collect();
    for share in &parsed.spec.split {
        let (service, weight) = (&share.service, share.weight);
        let (what, todo) = match near.get(service) {
            None => ("there is no such Service", "create it, or take it out of ebb.dev/split"),
            Some(near) if is_route(near) => {
                ("it is a route itself", "name the Services that it sends requests to")
            }
            Some(near) if !asks(near) => (
                "Ebb does not scale it",
                "annotate it with ebb.dev/scale-target, or take it out of ebb.dev/split",
            ),
            Some(_) => continue,
        };
        let what = format!("{name}: {service}, of weight {weight}, cannot take requests: {what}");
        findings.push(Finding::fault(CHECK, what, todo));
    }
    let status = annotation(route, keys::STATUS.name).filter(|_| findings.is_empty());
    findings.extend(status.map(|status| {
        let todo = "follow ebb.dev/status, which has this text";
        Finding::fault(CHECK, format!("{name}: {status}"), todo)
    }));
    findings
}

fn own_selector(service: &Service) -> Option<String> {
    let selector = service.spec.as_ref()?.selector.as_ref().filter(|selector| !selector.is_empty())?;
    let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Some(labels.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::finding::Level;

    fn service(name: &str, annotations: &Value) -> Service {
        let metadata = json!({"name": name, "namespace": "shop", "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn found(annotations: &Value) -> Vec<(Level, String)> {
        let others = [
            service("v1", &json!({"ebb.dev/scale-target": "Deployment/v1"})),
            service("plain", &json!({})),
            service("other", &json!({"ebb.dev/split": "v1"})),
        ];
        let findings = judge(&service("hello", annotations), others.iter());
        findings.into_iter().map(|finding| (finding.level, finding.what)).collect()
    }

    #[test]
    fn a_route_whose_services_are_scaled_is_well() {
        assert_eq!(found(&json!({"ebb.dev/split": "v1=1"})), []);
    }

    #[test]
    fn a_route_with_a_selector_is_at_fault() {
        let mut route = service("hello", &json!({"ebb.dev/split": "v1"}));
        route.spec = Some(serde_json::from_value(json!({"selector": {"app": "hello"}})).unwrap());
        let findings = judge(&route, [].iter());
        assert!(findings.len() == 1 && findings[0].what.contains("selector (app=hello)"), "{findings:?}");
    }

    #[test]
    fn every_share_that_nobody_takes_is_told() {
        let said = found(&json!({"ebb.dev/split": "v1=1, v2=2, plain=3, other=4"}));
        assert_eq!(said.len(), 3, "{said:?}");
        for ((level, what), part) in
            said.iter().zip(["v2, of weight 2", "does not scale it", "is a route itself"])
        {
            assert!(*level == Level::Fault && what.contains(part), "{part} is not in {what}");
        }
    }

    #[test]
    fn what_is_wrong_with_annotations_and_what_ebb_says_is_told() {
        assert_eq!(found(&json!({"ebb.dev/split": "v1=x, =1"})).len(), 2);
        let warned = found(&json!({"ebb.dev/split": "v1", "autoscaling.knative.dev/target": "3"}));
        assert!(warned.len() == 1 && warned[0].0 == Level::Warning, "{warned:?}");
        let said = found(&json!({"ebb.dev/split": "v1", "ebb.dev/status": "no port is left"}));
        assert_eq!(said, [(Level::Fault, "shop/hello: no port is left".to_owned())]);
    }
}
