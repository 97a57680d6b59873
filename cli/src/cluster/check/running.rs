//! Checks that Ebb's programs run, answer, and are connected to one another.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::{Lease, LeaseSpec},
    core::v1::Pod,
};
use kube::{Api, ResourceExt, api::ListParams};

use super::logs;
use crate::cluster::{
    Cluster, Failure,
    components::SERVING,
    count,
    finding::Finding,
    rollout::Rollout,
    trouble::{self, Trouble},
};

const PODS: &str = "deployments";
const ANSWERS: &str = "autoscaler";
const LEADER: &str = "leader";
const ACTIVATORS: &str = "activators";
const AUTOSCALER: &str = "ebb-autoscaler";
const ACTIVATOR: &str = "ebb-activator";
const PORT: &str = "8080";
/// The autoscaler's default, if the Lease does not say.
const LEASE_SECONDS: i32 = 15;
/// The difference that the clocks of leader and API server may have.
const SKEW: SignedDuration = SignedDuration::from_secs(10);

/// Runs all of these checks.
pub(crate) async fn check(cluster: &Cluster, namespace: &str, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in [AUTOSCALER, ACTIVATOR, SERVING] {
        let api: Api<Deployment> = cluster.within(namespace);
        findings.push(match cluster.find(format!("reading Deployment {name}"), api.get(name)).await {
            Ok(Some(deployment)) => {
                let pods = pods_of(cluster, namespace, name).await.unwrap_or_default();
                judge_deployment(namespace, name, &deployment, &pods)
            }
            // It was already reported as missing, or it is a component that is not installed.
            Ok(None) => continue,
            Err(failure) => Finding::unseen(PODS, &failure),
        });
    }
    findings.push(answers(cluster, namespace).await);
    findings.push(leader(cluster, AUTOSCALER, namespace, now).await);
    findings.push(activators(cluster, namespace).await);
    findings
}

/// Checks that one of the pods of `program` leads.
pub(crate) async fn leader(cluster: &Cluster, program: &str, namespace: &str, now: Timestamp) -> Finding {
    let leases: Api<Lease> = cluster.within(namespace);
    match cluster.find(format!("reading the Lease {program}"), leases.get(program)).await {
        Ok(lease) => judge_lease(program, lease.and_then(|lease| lease.spec).as_ref(), now, namespace),
        Err(failure) => Finding::unseen(LEADER, &failure),
    }
}

/// Returns the pods of one of Ebb's programs.
pub(crate) async fn pods_of(
    cluster: &Cluster,
    namespace: &str,
    deployment: &str,
) -> Result<Vec<Pod>, Failure> {
    let component = deployment.trim_start_matches("ebb-");
    let labels = format!("app.kubernetes.io/name=ebb,app.kubernetes.io/component={component}");
    let pods: Api<Pod> = cluster.within(namespace);
    cluster
        .list(&format!("listing the pods of {deployment}"), &pods, ListParams::default().labels(&labels))
        .await
}

fn judge_deployment(namespace: &str, name: &str, deployment: &Deployment, pods: &[Pod]) -> Finding {
    let Rollout { wanted, ready, is_complete } = Rollout::of(deployment);
    if is_complete && wanted > 0 {
        return Finding::ok(PODS, format!("{name}: {ready} of {wanted} pods ready"));
    }
    let what = format!("{name}: {ready} of {wanted} pods ready");
    if wanted == 0 {
        let todo = format!("kubectl --namespace {namespace} scale deployment {name} --replicas=2");
        return Finding::fault(PODS, format!("{what}: it is scaled to zero"), todo);
    }
    let Trouble { what: why, todo } = pods
        .iter()
        .find_map(trouble::of_pod)
        .or_else(|| {
            serde_json::to_value(deployment).ok().and_then(|deployment| trouble::of_target(&deployment))
        })
        .unwrap_or_else(|| Trouble {
            what: "a rollout is under way".to_owned(),
            todo: format!("kubectl --namespace {namespace} rollout status deployment/{name}"),
        });
    let what = format!("{what}: {why}");
    if ready == 0 { Finding::fault(PODS, what, todo) } else { Finding::warning(PODS, what, todo) }
}

/// Returns the answer of the autoscaler's link at `path`, through the API server and the Service.
pub(crate) async fn ask(cluster: &Cluster, namespace: &str, path: &str) -> Result<String, Failure> {
    let path = format!("/api/v1/namespaces/{namespace}/services/{AUTOSCALER}:link/proxy{path}");
    cluster.text("asking the autoscaler", &path).await
}

/// Returns the answer of the leading autoscaler at `path`; the others decide nothing. If there is no leader,
/// or it cannot be asked, any of them is asked.
pub(crate) async fn ask_leader(cluster: &Cluster, namespace: &str, path: &str) -> Result<String, Failure> {
    let leases: Api<Lease> = cluster.within(namespace);
    let lease = cluster.find("reading the Lease ebb-autoscaler", leases.get(AUTOSCALER)).await.ok().flatten();
    let holder = lease.and_then(|lease| lease.spec?.holder_identity).filter(|holder| !holder.is_empty());
    if let Some(holder) = holder {
        let own = format!("/api/v1/namespaces/{namespace}/pods/{holder}:{PORT}/proxy{path}");
        if let Ok(answer) = cluster.text("asking the leading autoscaler", &own).await {
            return Ok(answer);
        }
    }
    ask(cluster, namespace, path).await
}

async fn answers(cluster: &Cluster, namespace: &str) -> Finding {
    match ask(cluster, namespace, "/healthz").await {
        Ok(_) => Finding::ok(ANSWERS, "the autoscaler answers through its Service"),
        Err(failure) if failure.is_forbidden() => Finding::unseen(ANSWERS, &failure),
        Err(failure) => Finding::fault(
            ANSWERS,
            format!("the autoscaler does not answer through its Service: {}", failure.text.trim()),
            format!(
                "check that its pods are ready, and that the API server can reach their port {PORT}: {}",
                logs(namespace, AUTOSCALER)
            ),
        ),
    }
}

fn judge_lease(program: &str, lease: Option<&LeaseSpec>, now: Timestamp, namespace: &str) -> Finding {
    let todo = format!("the logs say why: {}", logs(namespace, program));
    let idle = if program == SERVING { "ksvcs stay as they are" } else { "nothing is scaled" };
    let holder = lease.and_then(|lease| lease.holder_identity.as_deref()).filter(|holder| !holder.is_empty());
    let (Some(lease), Some(holder)) = (lease, holder) else {
        return Finding::fault(LEADER, format!("no {program} leads: {idle}"), todo);
    };
    let Some(renewed) = lease.renew_time.as_ref().map(|time| time.0) else {
        return Finding::fault(LEADER, format!("{holder} has the lease and never renewed it"), todo);
    };
    let age = now.duration_since(renewed);
    let good = SignedDuration::from_secs(lease.lease_duration_seconds.unwrap_or(LEASE_SECONDS).into());
    let seconds = age.as_secs().max(0);
    if age > good.saturating_add(SKEW) {
        let what =
            format!("no {program} leads: {holder} held the lease and renewed it {seconds} s ago; {idle}");
        return Finding::fault(LEADER, what, todo);
    }
    Finding::ok(LEADER, format!("{holder} leads, and renewed its lease {seconds} s ago"))
}

/// Checks that every autoscaler is connected to every activator.
async fn activators(cluster: &Cluster, namespace: &str) -> Finding {
    let pods = async {
        let autoscalers = pods_of(cluster, namespace, AUTOSCALER).await?;
        let activators = pods_of(cluster, namespace, ACTIVATOR).await?;
        Ok::<_, Failure>((autoscalers, activators))
    };
    let (autoscalers, activators) = match pods.await {
        Ok(pods) => pods,
        Err(failure) => return Finding::unseen(ACTIVATORS, &failure),
    };
    let ready = activators.iter().filter(|pod| trouble::is_current(pod) && trouble::is_ready(pod)).count();
    let mut heard = Vec::new();
    for autoscaler in autoscalers.iter().filter(|pod| trouble::is_current(pod) && trouble::is_ready(pod)) {
        let name = autoscaler.name_any();
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{PORT}/proxy/metrics");
        match cluster.text(format!("reading the metrics of {name}"), &path).await {
            Ok(metrics) => heard.push((name, gauge(&metrics, "ebb_autoscaler_activators"))),
            Err(failure) => return Finding::unseen(ACTIVATORS, &failure),
        }
    }
    judge_activators(ready, &heard, namespace)
}

fn judge_activators(ready: usize, heard: &[(String, Option<f64>)], namespace: &str) -> Finding {
    let todo = format!(
        "check that the activators can reach port {PORT} of the autoscalers (network policies); their log has the \
         error: kubectl --namespace {namespace} logs deployment/{ACTIVATOR}"
    );
    if heard.is_empty() {
        return Finding::fault(
            ACTIVATORS,
            "no autoscaler is ready, so activators cannot connect",
            format!("see above, and {}", logs(namespace, AUTOSCALER)),
        );
    }
    let deaf: Vec<String> = heard
        .iter()
        .map(|(name, number)| (name, number.unwrap_or(0.0)))
        .filter(|(_, number)| *number < ready as f64)
        .map(|(name, number)| format!("{number} are connected to {name}"))
        .collect();
    let none = heard.iter().all(|(_, number)| number.unwrap_or(0.0) == 0.0);
    if none {
        let what = format!(
            "no activator is connected, of {ready} that are ready: services at zero cannot be reached"
        );
        Finding::fault(ACTIVATORS, what, todo)
    } else if deaf.is_empty() {
        let (ready, heard) = (count(ready, "activator"), count(heard.len(), "autoscaler"));
        Finding::ok(ACTIVATORS, format!("{ready} connected, to each of {heard}"))
    } else {
        let what = format!("of {ready} activators that are ready, {}", deaf.join(", "));
        Finding::warning(ACTIVATORS, what, todo)
    }
}

/// Returns the value of a metric without labels.
pub(crate) fn gauge(metrics: &str, name: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::finding::Level;

    #[test]
    fn who_leads_must_have_said_so_lately() {
        let lease = |holder: &str, renewed: Option<&str>| -> LeaseSpec {
            let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed});
            serde_json::from_value(spec).unwrap()
        };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let judged = |lease: Option<&LeaseSpec>| judge_lease(AUTOSCALER, lease, now, "ebb-system").level;
        assert_eq!(judged(Some(&lease("a", Some("2026-01-01T00:00:51.000000Z")))), Level::Ok);
        assert_eq!(
            judged(Some(&lease("a", Some("2026-01-01T00:01:05.000000Z")))),
            Level::Ok,
            "its clock is ahead"
        );
        assert_eq!(judged(Some(&lease("a", Some("2026-01-01T00:00:30.000000Z")))), Level::Fault);
        assert_eq!(judged(Some(&lease("", Some("2026-01-01T00:00:51.000000Z")))), Level::Fault);
        assert_eq!(judged(Some(&lease("a", None))), Level::Fault);
        assert_eq!(judged(None), Level::Fault);
    }

    #[test]
    fn every_autoscaler_is_to_hear_every_activator() {
        let heard = |numbers: &[f64]| {
            let heard: Vec<_> = numbers.iter().map(|number| ("a".to_owned(), Some(*number))).collect();
            judge_activators(2, &heard, "ebb-system").level
        };
        assert_eq!(heard(&[2.0, 2.0]), Level::Ok);
        assert_eq!(heard(&[2.0, 1.0]), Level::Warning);
        assert_eq!(heard(&[0.0, 0.0]), Level::Fault);
        assert_eq!(heard(&[]), Level::Fault);
        assert_eq!(judge_activators(0, &[("a".to_owned(), Some(0.0))], "ebb-system").level, Level::Fault);
    }

    #[test]
    fn a_gauge_is_read_among_others() {
        let text = "# HELP ebb_autoscaler_activators Streams\nebb_autoscaler_activators_x 7\nebb_autoscaler_activators 2\n";
        assert_eq!(gauge(text, "ebb_autoscaler_activators"), Some(2.0));
        assert_eq!(gauge("", "ebb_autoscaler_activators"), None);
    }

    #[test]
    fn a_deployment_without_pods_says_why() {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"generation": 1}, "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "replicas": 2},
        }))
        .unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{
            "name": "autoscaler", "image": "ebb/autoscaler:0.1.0", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
        }]}}))
        .unwrap();
        let finding = judge_deployment("ebb-system", "ebb-autoscaler", &deployment, &[pod]);
        assert_eq!(finding.level, Level::Fault);
        assert!(finding.what.contains("0 of 2 pods ready: pod p: container autoscaler"), "{finding:?}");
    }
}
