//! Checks that the API server can ask Ebb about pods and Services: it knows the authority, the certificate is
//! valid, and a request really arrives.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{
            MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
        },
        core::v1::{Namespace, Secret, Service},
    },
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use serde_json::json;

use super::{certificate, logs, restart};
use crate::cluster::{Cluster, Failure, finding::Finding};

const BUNDLE: &str = "ca-bundle";
const CERTIFICATE: &str = "certificate";
const REACH: &str = "webhook";
const NAME: &str = "ebb";
const SECRET: &str = "ebb-webhook";
/// The autoscaler renews the certificate long before.
const SOON: SignedDuration = SignedDuration::from_hours(24);
/// Namespaces that the webhooks exclude.
const LEFT_OUT: [&str; 2] = ["kube-system", "kube-node-lease"];
const IGNORE: &str = "ebb.dev/ignore";

/// A webhook, and the authority that the API server has for its server.
type Bundle = (String, Option<ByteString>);

/// Checks what the API server knows of the webhooks' server, and its certificate.
pub(crate) async fn check(cluster: &Cluster, namespace: &str, now: Timestamp) -> Vec<Finding> {
    let bundles = match bundles(cluster).await {
        Ok(bundles) => bundles,
        Err(failure) => return vec![Finding::unseen(BUNDLE, &failure)],
    };
    let secrets: Api<Secret> = cluster.within(namespace);
    let secret = match cluster.find("reading the Secret ebb-webhook", secrets.get(SECRET)).await {
        Ok(secret) => secret,
        Err(failure) => {
            return vec![judge_bundles(&bundles, None, namespace), Finding::unseen(CERTIFICATE, &failure)];
        }
    };
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    let entry = |key: &str| data.get(key).map(|entry| entry.0.as_slice());
    vec![
        judge_bundles(&bundles, entry("ca.crt"), namespace),
        judge_certificate(entry("tls.crt"), now, namespace),
    ]
}

/// Returns the webhooks' authorities; empty if there are no configurations.
pub(crate) async fn bundles(cluster: &Cluster) -> Result<Vec<Bundle>, Failure> {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let mutating = cluster.find("reading the mutating webhooks", mutating.get(NAME)).await?;
    let validating = cluster.find("reading the validating webhooks", validating.get(NAME)).await?;
    let bundle = |kind: &str, name: &str, config: &WebhookClientConfig| {
        (format!("{kind} {name}"), config.ca_bundle.clone().filter(|bundle| !bundle.0.is_empty()))
    };
    let mutating = mutating.and_then(|one| one.webhooks).unwrap_or_default();
    let validating = validating.and_then(|one| one.webhooks).unwrap_or_default();
    Ok(mutating
        .iter()
        .map(|hook| bundle("mutating", &hook.name, &hook.client_config))
        .chain(validating.iter().map(|hook| bundle("validating", &hook.name, &hook.client_config)))
        .collect())
}

fn judge_bundles(bundles: &[Bundle], authority: Option<&[u8]>, namespace: &str) -> Finding {
    let names = |wanted: &dyn Fn(&Option<ByteString>) -> bool| {
        let names: Vec<&str> =
            bundles.iter().filter(|(_, bundle)| wanted(bundle)).map(|(name, _)| &**name).collect();
        names.join(", ")
    };
    let without = names(&Option::is_none);
    if bundles.is_empty() || !without.is_empty() {
        return Finding::fault(
            BUNDLE,
            format!(
                "the API server does not know the authority of Ebb's webhooks ({}): no pod gets a sidecar",
                if without.is_empty() { "there are none" } else { &without }
            ),
            format!(
                "the leading autoscaler writes it as soon as it leads; its log says why not: {}",
                logs(namespace)
            ),
        );
    }
    let Some(authority) = authority else {
        return Finding::warning(
            BUNDLE,
            "the webhooks have an authority, but it cannot be compared with ca.crt of the Secret ebb-webhook",
            format!(
                "if the Secret was emptied, the autoscaler makes a new authority when it is restarted: {}",
                restart(namespace)
            ),
        );
    };
    let authority = authority.trim_ascii();
    // While an authority is being replaced, the API server knows both.
    let knows = |bundle: &ByteString| {
        !authority.is_empty() && bundle.0.windows(authority.len()).any(|part| part == authority)
    };
    let strangers = names(&|bundle| bundle.as_ref().is_some_and(|bundle| !knows(bundle)));
    if !strangers.is_empty() {
        return Finding::fault(
            BUNDLE,
            format!(
                "the API server knows a different authority from the one in the Secret ebb-webhook ({strangers})"
            ),
            format!(
                "another program writes caBundle (a GitOps tool, cert-manager's injector): configure it to ignore \
                 that field, then: {}",
                restart(namespace)
            ),
        );
    }
    Finding::ok(BUNDLE, format!("the API server knows the authority of {} webhooks", bundles.len()))
}

fn judge_certificate(pem: Option<&[u8]>, now: Timestamp, namespace: &str) -> Finding {
    let renew =
        format!("the autoscaler should have renewed it; its log says why it did not: {}", logs(namespace));
    let Some(end) = pem.and_then(certificate::not_after) else {
        return Finding::fault(
            CERTIFICATE,
            "there is no certificate for the webhooks in the Secret ebb-webhook",
            renew,
        );
    };
    let left = end.duration_since(now);
    let day = end.strftime("%Y-%m-%d %H:%M UTC");
    if left <= SignedDuration::ZERO {
        Finding::fault(
            CERTIFICATE,
            format!("the webhooks' certificate expired on {day}: no pod gets a sidecar"),
            renew,
        )
    } else if left < SOON {
        Finding::warning(CERTIFICATE, format!("the webhooks' certificate expires soon, on {day}"), renew)
    } else {
        Finding::ok(CERTIFICATE, format!("the webhooks' certificate is valid until {day}"))
    }
}

/// Has the API server ask Ebb about a Service that Ebb must refuse; a dry run, so the Service is never
/// created.
pub(crate) async fn reach(cluster: &Cluster, own: &str) -> Finding {
    let asked_in = match namespace_to_ask_in(cluster, own).await {
        Ok(Some(namespace)) => namespace,
        Ok(None) => {
            return Finding::warning(
                REACH,
                "every namespace is excluded from Ebb's webhooks",
                format!("remove the label {IGNORE} from a namespace that Ebb should serve"),
            );
        }
        Err(failure) => return Finding::unseen(REACH, &failure),
    };
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "generateName": "ebb-check-",
            "annotations": {
                "ebb.dev/scale-target": "Deployment/ebb-check",
                "autoscaling.knative.dev/target": "this-is-no-number",
            },
        },
        "spec": {"selector": {"app": "ebb-check"}, "ports": [{"port": 80}]},
    });
    let service: Service = match serde_json::from_value(service) {
        Ok(service) => service,
        Err(error) => return Finding::warning(REACH, format!("cannot make a test Service: {error}"), ""),
    };
    let api: Api<Service> = cluster.within(&asked_in);
    let params = PostParams { dry_run: true, field_manager: Some("ebb".to_owned()) };
    let answer = cluster.call("testing the webhook with a dry run", api.create(&params, &service)).await;
    match judge_reach(&asked_in, answer.map(drop)) {
        Some(finding) => finding,
        None => unreached(cluster, own).await,
    }
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

/// Judges the answer to a request that Ebb must deny; `None` means that Ebb was not asked.
fn judge_reach(asked_in: &str, answer: Result<(), Failure>) -> Option<Finding> {
    match answer {
        Err(failure) if failure.text.contains("admission webhook") && failure.text.contains(".ebb.dev") => {
            Some(Finding::ok(REACH, format!("an invalid Service is refused (dry run in {asked_in})")))
        }
        Ok(()) => None,
        Err(failure) => Some(Finding::unseen(REACH, &failure)),
    }
}

/// The API server went on without Ebb's answer, as it is configured to; finds out whether it could reach Ebb.
async fn unreached(cluster: &Cluster, own: &str) -> Finding {
    let path = format!("/api/v1/namespaces/{own}/services/https:ebb-autoscaler:webhook/proxy/");
    let answer = cluster.text("asking the webhooks' port", &path).await.map(drop);
    let todo = why_unreached(answer.as_ref().err());
    Finding::fault(
        REACH,
        "the API server does not call Ebb's webhooks: no pod gets a sidecar, and mistakes are not refused",
        todo,
    )
}

/// Returns what to do if the webhooks' port, asked directly, answers with that failure.
fn why_unreached(failure: Option<&Failure>) -> String {
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
            "the API server cannot reach port 9443 of the autoscaler's pods ({}): check that they are ready; on a \
             private cluster, open the port from the control plane to the nodes (GKE: a firewall rule; EKS: a rule of the node \
             security group), and in network policies",
            failure.text.trim()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::finding::Level;

    fn bundles(bundles: &[Option<&str>]) -> Vec<Bundle> {
        let bundle = |text: Option<&str>| text.map(|text| ByteString(text.as_bytes().to_vec()));
        bundles.iter().map(|&text| ("mutating pods.ebb.dev".to_owned(), bundle(text))).collect()
    }

    #[test]
    fn every_webhook_must_know_the_authority_that_there_is() {
        for (known, authority, level) in [
            (vec![Some("CA\n"), Some("CA\n")], Some("CA\n"), Level::Ok),
            (vec![Some("OLD\nCA\n")], Some("CA"), Level::Ok),
            (vec![Some("CA\n"), None], Some("CA\n"), Level::Fault),
            (vec![Some("CA\n"), Some("OTHER")], Some("CA\n"), Level::Fault),
            (vec![], Some("CA"), Level::Fault),
            (vec![Some("CA")], Some(""), Level::Fault),
            (vec![Some("CA")], None, Level::Warning),
        ] {
            let finding = judge_bundles(&bundles(&known), authority.map(str::as_bytes), "ebb-system");
            assert_eq!(finding.level, level, "{known:?} {authority:?}: {finding:?}");
        }
    }

    #[test]
    fn a_certificate_that_ends_is_told_in_time() {
        let mut params = rcgen::CertificateParams::new(["a".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2030, 1, 10);
        let pem = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
        for (now, level) in [
            ("2030-01-01T00:00:00Z", Level::Ok),
            ("2030-01-09T12:00:00Z", Level::Warning),
            ("2030-01-10T00:00:00Z", Level::Fault),
        ] {
            assert_eq!(
                judge_certificate(Some(pem.as_bytes()), now.parse().unwrap(), "ebb-system").level,
                level,
                "{now}"
            );
        }
        assert_eq!(judge_certificate(None, Timestamp::UNIX_EPOCH, "ebb-system").level, Level::Fault);
    }

    #[test]
    fn whoever_answers_at_the_port_tells_why_it_was_not_asked() {
        let answer = |code, text: &str| {
            why_unreached(Some(&Failure { what: String::new(), code: Some(code), text: text.to_owned() }))
        };
        assert!(why_unreached(None).starts_with("the port answers"));
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
        assert_eq!(judge_reach("default", refused(ebb)).unwrap().level, Level::Ok);
        assert_eq!(judge_reach("default", refused("services is forbidden")).unwrap().level, Level::Warning);
        assert_eq!(judge_reach("default", Ok(())), None);
    }
}
