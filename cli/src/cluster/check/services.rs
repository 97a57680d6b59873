//! Checks each Service that asks for Ebb.

use std::sync::Arc;

use ebb_annotations::keys;
use futures_util::{StreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::ListParams};

use super::{gitops::Tool, hosts, rivals, rivals::Rival, routes};
use crate::cluster::{
    Cluster,
    bound::{Bound, TargetState, annotation, asks, defaults, is_held, is_route, selector},
    count,
    finding::{Finding, Report},
    manifests::kind,
    shape::Cost,
    trouble,
};

const CHECK: &str = "service";
const RIVAL: &str = "rival";
const SHAPE: &str = "cold-start";
const AT_ONCE: usize = 8;

/// The Services to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    All,
    Namespace(String),
}

impl Scope {
    pub(super) fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Namespace(namespace) => Some(namespace),
        }
    }
}

/// Checks the Services of `scope`, one after the other.
pub(super) async fn check(cluster: &Cluster, own: &str, scope: &Scope, report: &mut Report) {
    let api: Api<Service> = match scope.namespace() {
        Some(namespace) => cluster.within(namespace),
        None => Api::all(cluster.client.clone()),
    };
    let services = match cluster.list("listing Services", &api, ListParams::default()).await {
        Ok(services) => services,
        Err(failure) => {
            let todo = "check a namespace that you may read: --namespace NAMESPACE";
            return report.add(Finding::warning(CHECK, failure.to_string(), todo));
        }
    };
    let rivals = rivals::all(cluster, scope).await.unwrap_or_else(|failure| {
        report.add(Finding::warning(RIVAL, failure.to_string(), "use a context with the necessary rights"));
        Vec::new()
    });
    hosts::check(cluster, own, &services, report).await;
    let (routes, others): (Vec<Service>, Vec<Service>) = services.into_iter().partition(is_route);
    let has_routes = !routes.is_empty();
    routes::check(&routes, &others, report);
    let services: Vec<Service> = others.into_iter().filter(|one| asks(one) || is_held(one)).collect();
    if services.is_empty() && has_routes {
        return;
    }
    if services.is_empty() {
        return report.add(Finding::ok(CHECK, "no Service asks for Ebb yet"));
    }
    let defaults = Arc::new(defaults(cluster, own).await);
    let mut read = stream::iter(services)
        .map(|service| {
            let defaults = defaults.clone();
            async move { Bound::read(cluster, service, &defaults).await }
        })
        .buffered(AT_ONCE);
    let (mut well, mut costs) = (Vec::new(), Costs::default());
    while let Some(bound) = read.next().await {
        let findings = judge(&bound, &rivals);
        if findings.is_empty() {
            well.push(bound.name());
        }
        report.extend(findings);
        for cost in bound.costs() {
            costs.add(cost, bound.name());
        }
    }
    if !well.is_empty() {
        let text = if well.len() == 1 { "has what it asks for" } else { "have what they ask for" };
        report.add(Finding::ok(CHECK, text).about(well));
    }
    report.extend(costs.findings());
}

/// What slows down cold starts, and of which Services: most Services share the same costs.
#[derive(Debug, Default)]
struct Costs(Vec<(Cost, Vec<String>)>);

impl Costs {
    fn add(&mut self, cost: Cost, service: String) {
        match self.0.iter_mut().find(|(known, _)| *known == cost) {
            Some((_, services)) => services.push(service),
            None => self.0.push((cost, vec![service])),
        }
    }

    fn findings(self) -> impl Iterator<Item = Finding> {
        self.0.into_iter().map(|(cost, services)| {
            Finding::hint(
                SHAPE,
                format!("{}; it costs each cold start {}", cost.what, cost.price),
                cost.change,
            )
            .about(services)
        })
    }
}

/// Returns what is wrong with one Service.
fn judge(bound: &Bound, rivals: &[Rival]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(unread(bound));
    findings.extend(asked(bound));
    findings.extend(status(bound));
    findings.extend(target(bound));
    findings.extend(pods(bound));
    findings.extend(rival(bound, rivals));
    findings.extend(gitops(bound));
    findings
}

fn unread(bound: &Bound) -> Vec<Finding> {
    let unread = bound.unread.iter();
    unread
        .map(|failure| {
            Finding::warning(CHECK, failure.to_string(), "use a context with the necessary rights")
        })
        .collect()
}

/// Returns the findings about its annotations.
fn asked(bound: &Bound) -> Vec<Finding> {
    let name = bound.name();
    if !asks(&bound.service) {
        let what = format!("{name} is no longer annotated, but does not have its selector back");
        let todo = "the leading autoscaler restores it soon; if it does not, see the leader above";
        return vec![Finding::warning(CHECK, what, todo)];
    }
    if selector(&bound.service).is_none() {
        let what =
            format!("{name} has no selector, neither in its spec nor kept by Ebb: its pods are unknown");
        return vec![Finding::fault(
            CHECK,
            what,
            "set spec.selector; if ebb.dev/selector is there, remove it",
        )];
    }
    match &bound.parsed {
        Ok(parsed) => parsed
            .warnings
            .iter()
            .map(|warning| {
                Finding::warning(CHECK, format!("{name}: {warning}"), "correct or remove the annotation")
            })
            .collect(),
        Err(faults) => faults
            .iter()
            .map(|fault| Finding::fault(CHECK, format!("{name}: {fault}"), "correct the annotation"))
            .collect(),
    }
}

/// Returns the status that Ebb wrote on it.
fn status(bound: &Bound) -> Option<Finding> {
    let status = annotation(&bound.service, keys::STATUS.name)?;
    let said = bound
        .parsed
        .as_ref()
        .err()
        .is_some_and(|faults| faults.iter().all(|fault| status.contains(&fault.to_string())));
    (!said).then(|| {
        Finding::fault(
            CHECK,
            format!("{}: {status}", bound.name()),
            "follow ebb.dev/status, which has this text",
        )
    })
}

fn target(bound: &Bound) -> Option<Finding> {
    let target = bound.target.as_ref()?;
    let (name, named) = (bound.name(), &target.named);
    match &target.state {
        TargetState::Found(_) => None,
        TargetState::Missing => Some(Finding::fault(
            CHECK,
            format!("{name}: ebb.dev/scale-target: {named} does not exist"),
            "create it in the Service's namespace, or name an existing one",
        )),
        TargetState::NoSuchKind => Some(Finding::fault(
            CHECK,
            format!("{name}: the cluster has no kind {} with a scale subresource", named.kind),
            "name a Deployment, a StatefulSet, or another kind that can be scaled",
        )),
        TargetState::Unread(failure) => {
            Some(Finding::warning(CHECK, format!("{name}: {failure}"), "use a context that may read it"))
        }
    }
}

fn pods(bound: &Bound) -> Vec<Finding> {
    let name = bound.name();
    let mut findings = Vec::new();
    let of_target = bound.target_object().and_then(|object| trouble::of_target(&object.data));
    if let Some(trouble) = bound.current_pods().find_map(trouble::of_pod).or(of_target) {
        findings.push(Finding::warning(CHECK, format!("{name}: {}", trouble.what), trouble.todo));
    }
    let bare = bound.bare_pods();
    if bare > 0 {
        let restart = match &bound.target {
            Some(target) if matches!(&*target.named.kind, "Deployment" | "StatefulSet") => {
                let namespace = bound.service.metadata.namespace.as_deref().unwrap_or_default();
                format!(
                    "kubectl --namespace {namespace} rollout restart {}",
                    target.named.to_string().to_lowercase()
                )
            }
            _ => "replace the pods".to_owned(),
        };
        findings.push(Finding::warning(
            CHECK,
            format!(
                "{name}: {} without a sidecar: requests to them are counted by activators only, and held ones wait \
                 until Kubernetes marks a pod as ready",
                count(bare, "pod")
            ),
            restart,
        ));
    }
    findings
}

fn rival(bound: &Bound, rivals: &[Rival]) -> Option<Finding> {
    let target = &bound.target.as_ref()?.named;
    let namespace = bound.service.metadata.namespace.as_deref().unwrap_or_default();
    let rival = rivals.iter().find(|rival| rival.scales(namespace, target))?;
    Some(Finding::fault(
        RIVAL,
        format!(
            "{}: {} writes the replicas of {target}, too: they overwrite each other",
            bound.name(),
            rival.in_words()
        ),
        format!("let one of them do it: {}, or remove ebb.dev/scale-target", rival.removal()),
    ))
}

fn gitops(bound: &Bound) -> Option<Finding> {
    let object = bound.target_object()?;
    let tool = Tool::of(&object.metadata).or_else(|| Tool::of(&bound.service.metadata))?;
    let named = &bound.target.as_ref()?.named;
    let types = object.types.as_ref().map_or("apps/v1", |types| &types.api_version);
    let group = types.split_once('/').map_or("", |(group, _)| group);
    let service = bound.service.metadata.name.as_deref().unwrap_or_default();
    let kind = if kind(object).is_empty() { &named.kind } else { kind(object) };
    Some(Finding::warning(
        RIVAL,
        format!(
            "{}: {} may reset replicas and selector to what its repository contains",
            bound.name(),
            tool.as_str()
        ),
        tool.rule(service, group, kind, &named.name),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::{
        bound::tests::{bound, pod},
        finding::Level,
    };

    #[track_caller]
    fn assert_found(bound: &Bound, wanted: &[(Level, &str)]) {
        let findings = judge(bound, &[]);
        assert_eq!(findings.len(), wanted.len(), "{findings:#?}");
        for (finding, (level, part)) in findings.iter().zip(wanted) {
            assert_eq!(finding.level, *level, "{finding:?}");
            let text = format!("{} {}", finding.what, finding.todo);
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
    }

    #[test]
    fn a_service_that_is_well_is_not_complained_of() {
        assert_found(&bound(json!({})), &[]);
    }

    #[test]
    fn what_is_wrong_with_annotations_is_said_once() {
        let wrong = json!({"autoscaling.knative.dev/target": "x"});
        assert_found(&bound(wrong.clone()), &[(Level::Fault, "autoscaling.knative.dev/target")]);
        let fault = bound(wrong.clone()).parsed.unwrap_err()[0].to_string();
        let mut told = wrong;
        told["ebb.dev/status"] = json!(fault);
        assert_found(&bound(told), &[(Level::Fault, "autoscaling.knative.dev/target")]);
        assert_found(&bound(json!({"ebb.dev/scheduel": "x"})), &[(Level::Warning, "ebb.dev/schedule")]);
        assert_found(
            &bound(json!({"ebb.dev/status": "no port is left"})),
            &[(Level::Fault, "no port is left")],
        );
    }

    #[test]
    fn a_service_whose_pods_nobody_knows_is_at_fault() {
        assert_found(&bound(json!({"ebb.dev/selector": "nonsense"})), &[(Level::Fault, "set spec.selector")]);
    }

    #[test]
    fn what_is_scaled_must_be_there() {
        let mut missing = bound(json!({}));
        missing.target.as_mut().unwrap().state = TargetState::Missing;
        assert_found(&missing, &[(Level::Fault, "Deployment/hello does not exist")]);
        missing.target.as_mut().unwrap().state = TargetState::NoSuchKind;
        assert_found(&missing, &[(Level::Fault, "no kind Deployment")]);
    }

    #[test]
    fn pods_without_a_sidecar_and_pods_in_trouble_are_told() {
        let mut bare = bound(json!({}));
        bare.pods = vec![pod(false, true)];
        assert_found(&bare, &[(Level::Warning, "kubectl --namespace shop rollout restart deployment/hello")]);
        bare.pods = vec![pod(true, false)];
        assert_found(&bare, &[(Level::Warning, "its readiness probe")]);
    }

    #[test]
    fn whoever_else_writes_replicas_is_named_with_what_to_tell_them() {
        let mut argo = bound(json!({}));
        if let Some(TargetState::Found(object)) = argo.target.as_mut().map(|target| &mut target.state) {
            let mark = ("argocd.argoproj.io/instance".to_owned(), "shop".to_owned());
            object.metadata.labels = Some([mark].into());
        }
        assert_found(
            &argo,
            &[(
                Level::Warning,
                "{group: apps, kind: Deployment, name: hello, jsonPointers: [/spec/replicas]}",
            )],
        );
    }

    #[test]
    fn a_cost_of_many_is_said_once_with_all_of_them() {
        let mut slow = bound(json!({}));
        if let Some(TargetState::Found(object)) = slow.target.as_mut().map(|target| &mut target.state) {
            object.data["spec"]["template"]["spec"]["automountServiceAccountToken"] = json!(null);
        }
        let mut costs = Costs::default();
        for name in ["a/b", "c/d"] {
            slow.costs().into_iter().for_each(|cost| costs.add(cost, name.to_owned()));
        }
        let findings: Vec<Finding> = costs.findings().collect();
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert_eq!((findings[0].level, findings[0].services.len()), (Level::Hint, 2));
        assert!(findings[0].what.contains("280 ms"), "{findings:#?}");
    }
}
