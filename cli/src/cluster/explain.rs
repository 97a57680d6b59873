//! `ebb explain` on a cluster: the autoscaler's answer, and the state of the cluster.

mod waits;

use std::process::ExitCode;

use anyhow::bail;
use ebb_annotations::keys;
use ebb_core::ServiceKey;
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Service, events::v1::Event};
use kube::{Api, ResourceExt, api::ListParams};
use serde_json::{Value, json};

use super::{
    Cluster, Connection, Failure,
    bound::{Bound, annotation, asks, defaults, is_route},
    check::{installed_in, running, webhooks},
    clock::now,
    count,
};
use waits::Around;

/// The number of latest Events that are shown.
const EVENTS: usize = 8;

/// Explains a service; a name without a namespace is in `namespace`, or else in the context's.
pub(crate) async fn explain(
    connection: &Connection,
    namespace: Option<&str>,
    service: &str,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let cluster = connection.open().await?;
    let key = key(service, namespace, &cluster.namespace)?;
    if !as_json {
        println!("{cluster}, namespace {}", key.namespace);
    }
    let services: Api<Service> = cluster.within(&key.namespace);
    let Some(object) = cluster.find(format!("reading Service {key}"), services.get(&key.name)).await? else {
        bail!(
            "there is no Service {} in namespace {} of {cluster} (another one: -n NAMESPACE)",
            key.name,
            key.namespace
        );
    };
    let own = installed_in(&cluster).await;
    let asked = running::ask_leader(&cluster, &own, &format!("/explain/{key}")).await;
    if is_route(&object) {
        return explain_route(&cluster, &key, &object, &asked, as_json).await;
    }
    let bound = Bound::read(&cluster, object, &defaults(&cluster, &own).await).await;
    let around = around(&cluster, &own, asked.as_ref().err()).await;
    let events = events(&cluster, &key).await;
    let answer = asked.as_ref().ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
    if as_json {
        let costs: Vec<Value> = bound
            .costs()
            .into_iter()
            .map(|cost| json!({ "what": cost.what, "price": cost.price, "change": cost.change }))
            .collect();
        let waits: Vec<Value> = waits::reasons(&bound, &around)
            .into_iter()
            .map(|reason| json!({ "what": reason.what, "do": reason.todo }))
            .collect();
        let document = json!({
            "service": key.to_string(),
            "autoscaler": answer,
            "status": annotation(&bound.service, keys::STATUS.name),
            "waits": waits,
            "events": events.iter().flatten().map(event_json).collect::<Vec<_>>(),
            "cold_start": costs,
        });
        println!("{document:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let now = now(&cluster).await;
    match (&answer, &asked) {
        (Some(answer), _) => {
            let seconds = now.as_millisecond() as f64 / 1000.0;
            for line in crate::explain::lines(answer, seconds) {
                println!("{line}");
            }
        }
        (None, Ok(_)) => {
            println!("{key}: the autoscaler has another version; ebb check shows which");
        }
        (None, Err(failure)) => println!("{key}: {}", unexplained(&bound, failure)),
    }
    for line in sections(&bound, &around, events.as_deref(), now) {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Explains a route. There is nothing around it except its targets.
async fn explain_route(
    cluster: &Cluster,
    key: &ServiceKey,
    object: &Service,
    asked: &Result<String, Failure>,
    as_json: bool,
) -> anyhow::Result<ExitCode> {
    let events = events(cluster, key).await;
    let answer = asked.as_ref().ok().and_then(|text| serde_json::from_str::<Value>(text).ok());
    if as_json {
        let document = json!({
            "service": key.to_string(),
            "autoscaler": answer,
            "status": annotation(object, keys::STATUS.name),
            "events": events.iter().flatten().map(event_json).collect::<Vec<_>>(),
        });
        println!("{document:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let now = now(cluster).await;
    let mut lines = match (&answer, asked) {
        (Some(answer), _) => crate::explain::lines(answer, now.as_millisecond() as f64 / 1000.0),
        (None, Ok(_)) => {
            vec![format!("{key}: the autoscaler has another version; ebb check shows which")]
        }
        (None, Err(failure)) if failure.is_missing() => {
            vec![format!("{key}: the autoscaler does not know this route yet, or refuses it")]
        }
        (None, Err(failure)) => {
            vec![format!("{key}: cannot ask the autoscaler: {}", failure.text.trim())]
        }
    };
    lines.extend(status_lines(object));
    lines.extend(event_lines(events.as_deref(), now));
    for line in lines {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the key of the named service.
pub(super) fn key(text: &str, namespace: Option<&str>, default: &str) -> anyhow::Result<ServiceKey> {
    match (text.split_once('/'), namespace) {
        (Some((own, _)), Some(other)) if own != other => {
            bail!("{text:?} is in namespace {own}, but --namespace is {other}; give only one of them")
        }
        (Some((own, name)), _) => Ok(ServiceKey::new(own, name)),
        (None, namespace) => Ok(ServiceKey::new(namespace.unwrap_or(default), text)),
    }
}

/// Returns why the autoscaler does not know it.
fn unexplained(bound: &Bound, failure: &Failure) -> String {
    if !asks(&bound.service) {
        let (namespace, name) = (bound.service.namespace().unwrap_or_default(), bound.service.name_any());
        return format!(
            "it is not annotated, so Ebb does not scale it\n  \
             kubectl --namespace {namespace} annotate service {name} ebb.dev/scale-target=Deployment/NAME"
        );
    }
    if failure.is_missing() {
        return "the autoscaler does not know it yet, or refuses it".to_owned();
    }
    format!("cannot ask the autoscaler: {}", failure.text.trim())
}

/// Reads the parts of Ebb around the service.
async fn around(cluster: &Cluster, own: &str, failure: Option<&Failure>) -> Around {
    let activators = match running::ask(cluster, own, "/metrics").await {
        Ok(metrics) => running::gauge(&metrics, "ebb_autoscaler_activators"),
        Err(_) => None,
    };
    let bundles = webhooks::bundles(cluster, &webhooks::EBB).await.ok();
    Around {
        is_autoscaler_away: failure.is_some_and(|failure| !failure.is_missing() && !failure.is_forbidden()),
        activators,
        is_webhook_known: bundles
            .is_none_or(|bundles| !bundles.is_empty() && bundles.iter().all(|(_, bundle)| bundle.is_some())),
    }
}

/// Describes the state of the cluster, in paragraphs.
fn sections(bound: &Bound, around: &Around, events: Option<&[Event]>, now: Timestamp) -> Vec<String> {
    let mut lines = status_lines(&bound.service);
    let reasons = waits::reasons(bound, around);
    if !reasons.is_empty() {
        lines.extend([String::new(), "why requests wait, or will wait:".to_owned()]);
        for reason in reasons {
            lines.push(format!("  {}", reason.what));
            lines.extend(reason.todo.lines().map(|line| format!("    → {line}")));
        }
    }
    let costs = bound.costs();
    if !costs.is_empty() {
        let title =
            format!("what makes its cold starts slower than they need be ({}):", count(costs.len(), "thing"));
        lines.extend([String::new(), title]);
        for cost in costs {
            lines.push(format!("  {}: {}", cost.what, cost.price));
            lines.push(format!("    → {}", cost.change));
        }
    }
    lines.extend(event_lines(events, now));
    lines
}

fn status_lines(service: &Service) -> Vec<String> {
    let status = annotation(service, keys::STATUS.name);
    let told = |status| {
        [String::new(), "what is wrong, according to Ebb (ebb.dev/status):".to_owned(), format!("  {status}")]
    };
    status.map(told).into_iter().flatten().collect()
}

fn event_lines(events: Option<&[Event]>, now: Timestamp) -> Vec<String> {
    match events {
        Some([]) => Vec::new(),
        Some(events) => {
            let title = [String::new(), "its latest Events:".to_owned()];
            title.into_iter().chain(events.iter().map(|event| event_line(event, now))).collect()
        }
        None => vec![String::new(), "its Events cannot be read".to_owned()],
    }
}

fn event_line(event: &Event, now: Timestamp) -> String {
    let age = last_seen(event)
        .map_or(String::new(), |at| format!("{} s ago", now.duration_since(at).as_secs().max(0)));
    let reason = event.reason.as_deref().unwrap_or_default();
    let times = event.series.as_ref().map_or(String::new(), |series| format!(" ({} times)", series.count));
    format!("{age:>13}  {reason}{times}: {}", event.note.as_deref().unwrap_or_default())
}

fn event_json(event: &Event) -> Value {
    json!({
        "at": last_seen(event).map(|at| at.to_string()),
        "type": event.type_,
        "reason": event.reason,
        "times": event.series.as_ref().map_or(1, |series| series.count),
        "text": event.note,
    })
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    series
        .or(event.event_time.as_ref().map(|time| time.0))
        .or(event.deprecated_last_timestamp.as_ref().map(|time| time.0))
        .or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Returns the latest Events about the Service, the last one last; `None` if they may not be read.
async fn events(cluster: &Cluster, key: &ServiceKey) -> Option<Vec<Event>> {
    let api: Api<Event> = cluster.within(&key.namespace);
    let about = ListParams::default().fields(&format!("regarding.kind=Service,regarding.name={}", key.name));
    let mut events = cluster.list("reading Events", &api, about).await.ok()?;
    events.sort_by_key(last_seen);
    let earlier = events.len().saturating_sub(EVENTS);
    Some(events.split_off(earlier))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::bound::tests::bound;

    #[test]
    fn a_service_is_named_with_its_namespace_or_without() {
        let named = |text: &str, namespace| key(text, namespace, "mine").map(|key| key.to_string()).ok();
        assert_eq!(named("hello", None).as_deref(), Some("mine/hello"));
        assert_eq!(named("hello", Some("shop")).as_deref(), Some("shop/hello"));
        assert_eq!(named("shop/hello", None).as_deref(), Some("shop/hello"));
        assert_eq!(named("shop/hello", Some("shop")).as_deref(), Some("shop/hello"));
        assert_eq!(named("shop/hello", Some("other")), None);
    }

    #[test]
    fn a_service_of_which_nothing_is_known_is_told_why() {
        let missing = Failure { what: String::new(), code: Some(404), text: "no service".to_owned() };
        let away =
            Failure { what: String::new(), code: Some(503), text: "no endpoints available".to_owned() };
        assert!(unexplained(&bound(json!({})), &missing).contains("does not know it yet"));
        assert!(unexplained(&bound(json!({})), &away).contains("no endpoints available"));
        let mut others = bound(json!({}));
        others.service.metadata.annotations = None;
        assert!(unexplained(&others, &missing).contains("annotate service hello ebb.dev/scale-target"));
    }

    #[test]
    fn what_the_cluster_says_comes_in_paragraphs() {
        let events: Vec<Event> = vec![
            serde_json::from_value(json!({
                "metadata": {}, "eventTime": "2026-01-01T00:00:50.000000Z", "reason": "PodsCannotStart",
                "note": "pod a: ImagePullBackOff",
            }))
            .unwrap(),
        ];
        let around = Around { is_autoscaler_away: false, activators: Some(0.0), is_webhook_known: true };
        let bound = bound(json!({"ebb.dev/status": "wrong", "ebb.dev/sidecar": "native"}));
        let lines = sections(&bound, &around, Some(&events), "2026-01-01T00:01:00Z".parse().unwrap());
        let text = lines.join("\n");
        for part in [
            "what is wrong, according to Ebb (ebb.dev/status):\n  wrong",
            "why requests wait, or will wait:\n  no activator",
            "slower than they need be (1 thing):\n  queue-proxy is a native sidecar",
            "its latest Events:\n     10 s ago  PodsCannotStart: pod a: ImagePullBackOff",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }
}
