//! The certificates of hosts, read from the Secrets that Services name.
//!
//! Each Secret is read by its name, periodically: the right to read Secrets by name does not cover a watch of all of
//! them, and one watch each would keep a stream to the API server open for each. The first read is immediate, a new
//! certificate is served within [`READ_EVERY`], and a missing one is found within [`SEEK_EVERY`].

use std::{collections::HashMap, time::Duration};

use ebb_cluster::Calls;
use ebb_core::{ServiceKey, link::CertificateEntry};
use ebb_proxy::net::tls::certified_key;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Api;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::watch::Fact;

/// Pause between two reads of a valid certificate.
const READ_EVERY: Duration = Duration::from_secs(15);
/// Pause between two reads of a certificate that is missing or invalid.
const SEEK_EVERY: Duration = Duration::from_secs(3);
/// Shortest pause between any two reads; with many Secrets, each is read less often.
const APART: Duration = Duration::from_millis(50);
/// Maximum size of chain and key, in bytes: each activator keeps all of them in memory.
const MOST_BYTES: usize = 64 * 1024;
/// The type of a Secret with a certificate.
const TLS: &str = "kubernetes.io/tls";

/// The state of one Secret, as last read.
#[derive(Debug, Default)]
struct Reading {
    /// The number under which it was requested.
    named: u64,
    due: Option<Instant>,
    told: Option<Result<CertificateEntry, String>>,
}

/// Reads the `wanted` Secrets and reports changes. Returns when the sender is dropped.
pub(super) async fn follow(
    calls: Calls,
    mut wanted: watch::Receiver<HashMap<ServiceKey, u64>>,
    told: mpsc::Sender<Fact>,
) {
    let mut readings: HashMap<ServiceKey, Reading> = HashMap::new();
    loop {
        for (secret, named) in wanted_now(&mut wanted, &mut readings) {
            readings.insert(secret, Reading { named, ..Reading::default() });
        }
        let next = readings.iter().map(|(secret, reading)| (reading.due, secret)).min();
        let due = next.and_then(|(due, _)| due).unwrap_or_else(Instant::now);
        let secret = next.map(|(_, secret)| secret.clone());
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() {
                return;
            },
            () = sleep_until(due), if secret.is_some() => {
                let Some(secret) = secret else { continue };
                let read = read(&calls, &secret).await;
                let Some(read) = read else {
                    // The API server is away. That is not the Secret's fault and is not reported.
                    if let Some(reading) = readings.get_mut(&secret) {
                        reading.due = Some(Instant::now() + READ_EVERY);
                    }
                    continue;
                };
                let many = APART * u32::try_from(readings.len()).unwrap_or(u32::MAX);
                let pause = if read.is_ok() { READ_EVERY } else { SEEK_EVERY };
                let Some(reading) = readings.get_mut(&secret) else { continue };
                reading.due = Some(Instant::now() + pause.max(many));
                if reading.told.as_ref() != Some(&read) {
                    reading.told = Some(read.clone());
                    if told.send(Fact::Certificate(secret, read)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Forgets Secrets that are no longer wanted, and returns those that are newly wanted.
fn wanted_now(
    wanted: &mut watch::Receiver<HashMap<ServiceKey, u64>>,
    readings: &mut HashMap<ServiceKey, Reading>,
) -> Vec<(ServiceKey, u64)> {
    let wanted = wanted.borrow_and_update();
    readings.retain(|secret, reading| wanted.get(secret) == Some(&reading.named));
    let new = wanted.iter().filter(|(secret, _)| !readings.contains_key(*secret));
    new.map(|(secret, named)| (secret.clone(), *named)).collect()
}

/// Returns the certificate of a Secret, or what is wrong and how to fix it; `None` if the API server does not answer.
async fn read(calls: &Calls, secret: &ServiceKey) -> Option<Result<CertificateEntry, String>> {
    let api: Api<Secret> = Api::namespaced(calls.client.clone(), &secret.namespace);
    match calls.call("get secret", api.get(&secret.name)).await {
        Ok(read) => Some(certificate(secret, read)),
        Err(error) if error.is_missing() => Some(Err(format!("there is no Secret {}", secret.name))),
        Err(error) if error.is_forbidden() => Some(Err(format!(
            "Ebb may not read Secret {}: give the ServiceAccount ebb-autoscaler the right to get it by its name",
            secret.name
        ))),
        Err(error) => {
            warn!(%secret, %error, "failed to read a certificate; trying again");
            None
        }
    }
}

fn certificate(key: &ServiceKey, secret: Secret) -> Result<CertificateEntry, String> {
    let name = &key.name;
    if secret.type_.as_deref() != Some(TLS) {
        let type_ = secret.type_.unwrap_or_default();
        return Err(format!("Secret {name} is of type {type_:?}; want {TLS}"));
    }
    let mut data = secret.data.unwrap_or_default();
    let mut take = |key: &str| data.remove(key).map(|ByteString(bytes)| bytes).unwrap_or_default();
    let (chain, private) = (take("tls.crt"), take("tls.key"));
    let bytes = chain.len() + private.len();
    if bytes > MOST_BYTES {
        return Err(format!(
            "Secret {name} has {bytes} bytes of certificates and key; want at most {MOST_BYTES}"
        ));
    }
    certified_key(&chain, &private).map_err(|error| format!("Secret {name}: {error}"))?;
    let (namespace, name) = (key.namespace.clone(), key.name.clone());
    Ok(CertificateEntry { namespace, name, chain: chain.into(), key: private.into() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn secret(type_: &str, pairs: &[(&str, &str)]) -> Secret {
        let data: BTreeMap<String, ByteString> = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
            .collect();
        Secret { type_: Some(type_.to_owned()), data: Some(data), ..Secret::default() }
    }

    fn read_from(secret: Secret) -> Result<CertificateEntry, String> {
        certificate(&ServiceKey::new("shop", "hello-tls"), secret)
    }

    #[test]
    fn a_secret_has_a_chain_and_its_key_or_says_what_it_lacks() {
        let made = rcgen::generate_simple_self_signed(["hello.example.com".to_owned()]).unwrap();
        let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let good = read_from(secret(TLS, &[("tls.crt", &chain), ("tls.key", &key)])).unwrap();
        assert_eq!((&*good.chain, &*good.key), (chain.as_bytes(), key.as_bytes()));
        assert!(!format!("{good:?}").contains("PRIVATE"), "{good:?}");
        for (type_, pairs, wanted) in [
            (
                "Opaque",
                &[("tls.crt", &*chain), ("tls.key", &*key)][..],
                "is of type \"Opaque\"; want kubernetes.io/tls",
            ),
            (TLS, &[], "tls.crt has no certificate in PEM form"),
            (TLS, &[("tls.crt", "junk"), ("tls.key", &key)], "tls.crt has no certificate in PEM form"),
            (TLS, &[("tls.crt", &chain)], "tls.key has no private key in PEM form"),
            (TLS, &[("tls.crt", &chain), ("tls.key", &other)], "tls.crt and tls.key cannot be used together"),
        ] {
            let why = read_from(secret(type_, pairs)).unwrap_err();
            assert!(why.starts_with("Secret hello-tls") && why.contains(wanted), "{why}");
        }
    }
}
