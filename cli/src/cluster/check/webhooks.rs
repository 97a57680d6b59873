//! Checks what the API server needs to ask Ebb's webhooks: it knows their authority, and their certificate is valid.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{
            MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
        },
        core::v1::Secret,
    },
};
use kube::Api;

use super::{certificate, logs, restart};
use crate::cluster::{Cluster, Failure, components, finding::Finding};

const BUNDLE: &str = "ca-bundle";
const CERTIFICATE: &str = "certificate";
/// The autoscaler renews the certificate long before.
const SOON: SignedDuration = SignedDuration::from_hours(24);

/// The webhooks of one of Ebb's programs.
#[derive(Debug)]
pub(crate) struct Hooks {
    /// The name of their configurations.
    pub(crate) name: &'static str,
    /// The name of the program's Deployment and Service.
    pub(crate) program: &'static str,
    /// The Secret with their certificate.
    secret: &'static str,
    /// The end of their names.
    pub(super) domain: &'static str,
    /// What they are asked about, among others.
    pub(super) object: &'static str,
    /// What is the matter when they are not called.
    pub(super) without: &'static str,
}

/// Those for pods and annotated Services.
pub(crate) const EBB: Hooks = Hooks {
    name: "ebb",
    program: "ebb-autoscaler",
    secret: "ebb-webhook",
    domain: ".ebb.dev",
    object: "Service",
    without: "no pod gets a sidecar, and mistakes are not refused",
};
/// Those for the objects of Knative's API.
pub(crate) const SERVING: Hooks = Hooks {
    name: components::SERVING,
    program: components::SERVING,
    secret: "ebb-serving-webhook",
    domain: "webhook.serving.knative.dev",
    object: "ksvc",
    without: "no ksvc can be created or changed",
};

/// A webhook, and the authority that the API server has for its server.
type Bundle = (String, Option<ByteString>);

/// Checks what the API server knows of the webhooks' server, and its certificate.
pub(crate) async fn check(cluster: &Cluster, hooks: &Hooks, namespace: &str, now: Timestamp) -> Vec<Finding> {
    let bundles = match bundles(cluster, hooks).await {
        Ok(bundles) => bundles,
        Err(failure) => return vec![Finding::unseen(BUNDLE, &failure)],
    };
    let secrets: Api<Secret> = cluster.within(namespace);
    let secret =
        match cluster.find(format!("reading the Secret {}", hooks.secret), secrets.get(hooks.secret)).await {
            Ok(secret) => secret,
            Err(failure) => {
                return vec![
                    judge_bundles(&bundles, None, hooks, namespace),
                    Finding::unseen(CERTIFICATE, &failure),
                ];
            }
        };
    let data = secret.and_then(|secret| secret.data).unwrap_or_default();
    let entry = |key: &str| data.get(key).map(|entry| entry.0.as_slice());
    vec![
        judge_bundles(&bundles, entry("ca.crt"), hooks, namespace),
        judge_certificate(entry("tls.crt"), now, hooks, namespace),
    ]
}

/// Returns the webhooks' authorities; empty if there are no configurations.
pub(crate) async fn bundles(cluster: &Cluster, hooks: &Hooks) -> Result<Vec<Bundle>, Failure> {
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let mutating = cluster.find("reading the mutating webhooks", mutating.get(hooks.name)).await?;
    let validating = cluster.find("reading the validating webhooks", validating.get(hooks.name)).await?;
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

fn judge_bundles(bundles: &[Bundle], authority: Option<&[u8]>, hooks: &Hooks, namespace: &str) -> Finding {
    let Hooks { name, program, secret, without: consequence, .. } = hooks;
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
                "the API server does not know the authority of the webhooks {name} ({}): {consequence}",
                if without.is_empty() { "there are none" } else { &without }
            ),
            format!(
                "the leading {program} writes it as soon as it leads; its log says why not: {}",
                logs(namespace, program)
            ),
        );
    }
    let Some(authority) = authority else {
        return Finding::warning(
            BUNDLE,
            format!(
                "the webhooks {name} have an authority, but it cannot be compared with ca.crt of the Secret {secret}"
            ),
            format!(
                "if the Secret was emptied, {program} makes a new authority when it is restarted: {}",
                restart(namespace, program)
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
                "the API server knows a different authority from the one in the Secret {secret} ({strangers})"
            ),
            format!(
                "another program writes caBundle (a GitOps tool, cert-manager's injector): configure it to ignore \
                 that field, then: {}",
                restart(namespace, program)
            ),
        );
    }
    Finding::ok(
        BUNDLE,
        format!("the API server knows the authority of {} webhooks of {program}", bundles.len()),
    )
}

fn judge_certificate(pem: Option<&[u8]>, now: Timestamp, hooks: &Hooks, namespace: &str) -> Finding {
    let Hooks { name, program, secret, without, .. } = hooks;
    let log = logs(namespace, program);
    let renew = format!("{program} should have renewed it; its log says why it did not: {log}");
    let Some(end) = pem.and_then(certificate::not_after) else {
        return Finding::fault(
            CERTIFICATE,
            format!("there is no certificate for the webhooks {name} in the Secret {secret}"),
            renew,
        );
    };
    let left = end.duration_since(now);
    let day = end.strftime("%Y-%m-%d %H:%M UTC");
    if left <= SignedDuration::ZERO {
        Finding::fault(
            CERTIFICATE,
            format!("the certificate of the webhooks {name} expired on {day}: {without}"),
            renew,
        )
    } else if left < SOON {
        Finding::warning(
            CERTIFICATE,
            format!("the certificate of the webhooks {name} expires soon, on {day}"),
            renew,
        )
    } else {
        Finding::ok(CERTIFICATE, format!("the certificate of the webhooks {name} is valid until {day}"))
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
            let finding = judge_bundles(&bundles(&known), authority.map(str::as_bytes), &EBB, "ebb-system");
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
                judge_certificate(Some(pem.as_bytes()), now.parse().unwrap(), &EBB, "ebb-system").level,
                level,
                "{now}"
            );
        }
        assert_eq!(judge_certificate(None, Timestamp::UNIX_EPOCH, &EBB, "ebb-system").level, Level::Fault);
    }
}
