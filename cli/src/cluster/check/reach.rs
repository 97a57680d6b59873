//! Checks that a request of the API server really arrives at Ebb's webhooks.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{ListParams, PostParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use super::webhooks::{EBB, Hooks};
use crate::cluster::{Cluster, FIELD_MANAGER, Failure, finding::Finding, manifests::api};

const CHECK: &str = "webhook";
/// Namespaces that the webhooks exclude.
const LEFT_OUT: [&str; 2] = ["kube-system", "kube-node-lease"];
const IGNORE: &str = "ebb.dev/ignore";

/// Has the API server ask a program about an object that it must refuse; a dry run, so the object is never created.
pub(crate) async fn check(cluster: &Cluster, hooks: &Hooks, own: &str) -> Finding {
    let asked_in = match namespace_to_ask_in(cluster, own).await {
        Ok(Some(namespace)) => namespace,
        Ok(None) => {
            return Finding::warning(
                CHECK,
                "every namespace is excluded from Ebb's webhooks",
                format!("remove the label {IGNORE} from a namespace that Ebb should serve"),
            );
        }
        Err(failure) => return Finding::unseen(CHECK, &failure),
    };
    let object: DynamicObject = match serde_json::from_value(faulty(hooks, &asked_in)) {
        Ok(object) => object,
        Err(error) => return Finding::warning(CHECK, format!("cannot make a test object: {error}"), ""),
    };
    let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
    let asked = api(cluster, &object);
    let answer = cluster.call("testing the webhook with a dry run", asked.create(&params, &object)).await;
    match judge(hooks, &asked_in, answer.map(drop)) {
        Some(finding) => finding,
        None => unreached(cluster, hooks, own).await,
    }
}

/// Returns an object that the program must refuse, and that nobody else does.
fn faulty(hooks: &Hooks, namespace: &str) -> Value {
    let metadata = json!({"generateName": "ebb-check-", "namespace": namespace});
    let fault = json!({"autoscaling.knative.dev/target": "this-is-no-number"});
    if hooks.name == EBB.name {
        let mut service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "ebb-check"}, "ports": [{"port": 80}]},
        });
        service["metadata"]["annotations"] = fault;
        service["metadata"]["annotations"]["ebb.dev/scale-target"] = json!("Deployment/ebb-check");
        return service;
    }
    json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"template": {
            "metadata": {"annotations": fault},
            "spec": {"containers": [{"image": "ebb-check"}]},
        }},
    })
}

async fn namespace_to_ask_in(cluster: &Cluster, own: &str) -> Result<Option<String>, Failure> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    let all = cluster.list("listing namespaces", &api, ListParams::default()).await;
    let all = match all {
        Ok(all) => all,
        // A user who may not list them all uses their own namespace.
        Err(failure) if failure.is_forbidden() => return Ok(Some(cluster.namespace.clone())),
        Err(failure) => return Err(failure),
    };
    let is_asked = |namespace: &&Namespace| {
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let ignore = namespace.metadata.labels.as_ref().and_then(|labels| labels.get(IGNORE));
        let is_ending = namespace.metadata.deletion_timestamp.is_some();
        !LEFT_OUT.contains(&name)
            && name != own
            && !is_ending
            && !ignore.is_some_and(|value| matches!(&**value, "" | "true"))
    };
    let names: Vec<&str> =
        all.iter().filter(is_asked).filter_map(|namespace| namespace.metadata.name.as_deref()).collect();
    let own_choice = names.iter().find(|name| **name == cluster.namespace);
    Ok(own_choice.or(names.first()).map(|name| (*name).to_owned()))
}

/// Judges the answer to a request that must be refused; `None` means that the program was not asked.
fn judge(hooks: &Hooks, asked_in: &str, answer: Result<(), Failure>) -> Option<Finding> {
    let is_of = |text: &str| text.contains(hooks.domain);
    match answer {
        Err(failure) if failure.text.contains("admission webhook") && is_of(&failure.text) => {
            let what = format!("an invalid {} is refused (dry run in {asked_in})", hooks.object);
            Some(Finding::ok(CHECK, what))
        }
        Err(failure) if failure.text.contains("failed calling webhook") && is_of(&failure.text) => None,
        Ok(()) => None,
        Err(failure) => Some(Finding::unseen(CHECK, &failure)),
    }
}

/// The API server could not ask the program, or went on without its answer, as it is configured to; finds out whether
/// it can reach the program.
async fn unreached(cluster: &Cluster, hooks: &Hooks, own: &str) -> Finding {
    let Hooks { program, without, .. } = hooks;
    let path = format!("/api/v1/namespaces/{own}/services/https:{program}:webhook/proxy/");
    let answer = cluster.text("asking the webhooks' port", &path).await.map(drop);
    let todo = why_unreached(program, answer.as_ref().err());
    Finding::fault(CHECK, format!("the API server does not call the webhooks of {program}: {without}"), todo)
}

/// Returns what to do if the webhooks' port, asked directly, answers with that failure.
fn why_unreached(program: &str, failure: Option<&Failure>) -> String {
    // Any answer from Ebb proves that it is reachable, even a 404; the API server's 404 for a missing Service
    // does not.
    let is_ebbs = |failure: &&Failure| {
        matches!(failure.code, Some(400..=499))
            && !failure.is_forbidden()
            && !failure.text.contains("services \"")
    };
    match failure.filter(|failure| !is_ebbs(failure)) {
        None => "the port answers, so check the authority and the certificate above, and then the webhooks' rules, \
                 which `ebb install` resets"
            .to_owned(),
        Some(failure) => format!(
            "the API server cannot reach port 9443 of the pods of {program} ({}): check that they are ready; on a \
             private cluster, open the port from the control plane to the nodes (GKE: a firewall rule; EKS: a rule of the node \
             security group), and in network policies",
            failure.text.trim()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{check::webhooks::SERVING, finding::Level, manifests::kind};

    #[test]
    fn whoever_answers_at_the_port_tells_why_it_was_not_asked() {
        let answer = |code, text: &str| {
            why_unreached(
                EBB.program,
                Some(&Failure { what: String::new(), code: Some(code), text: text.to_owned() }),
            )
        };
        assert!(why_unreached("ebb-autoscaler", None).starts_with("the port answers"));
        assert!(answer(404, "only POST is served here").starts_with("the port answers"));
        assert!(answer(404, "services \"ebb-autoscaler\" not found").contains("cannot reach port 9443"));
        assert!(answer(503, "no endpoints available").contains("cannot reach port 9443"));
    }

    #[test]
    fn only_ebbs_own_refusal_proves_that_it_was_asked() {
        let refused =
            |text: &str| Err(Failure { what: "asking".to_owned(), code: Some(403), text: text.to_owned() });
        let ebb =
            r#"admission webhook "services.ebb.dev" denied the request: autoscaling.knative.dev/target: …"#;
        assert_eq!(judge(&EBB, "default", refused(ebb)).unwrap().level, Level::Ok);
        assert_eq!(judge(&EBB, "default", refused("services is forbidden")).unwrap().level, Level::Warning);
        assert_eq!(judge(&EBB, "default", Ok(())), None);
    }

    #[test]
    fn a_call_that_failed_did_not_arrive() {
        let answer = |text: &str| {
            judge(
                &SERVING,
                "a",
                Err(Failure { what: "asking".to_owned(), code: Some(500), text: text.to_owned() }),
            )
        };
        let failed = r#"Internal error occurred: failed calling webhook "webhook.serving.knative.dev": connection refused"#;
        assert_eq!(answer(failed), None);
        let denied = r#"admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed"#;
        assert_eq!(answer(denied).unwrap().level, Level::Ok);
        assert_eq!(
            answer(&failed.replace("serving.knative.dev", "example.com")).unwrap().level,
            Level::Warning
        );
    }

    #[test]
    fn each_program_is_asked_about_an_object_of_its_own() {
        for (hooks, version) in [(&EBB, "v1"), (&SERVING, "serving.knative.dev/v1")] {
            let object: DynamicObject = serde_json::from_value(faulty(hooks, "shop")).unwrap();
            assert_eq!(object.types.as_ref().unwrap().api_version, version);
            assert_eq!((kind(&object), object.metadata.namespace.as_deref()), ("Service", Some("shop")));
            assert!(serde_json::to_string(&object).unwrap().contains("this-is-no-number"));
        }
    }
}
