//! The certificates that the gateway shows, by the Secrets that they are in.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ebb_core::{
    ServiceKey,
    link::{CertificateEntry, Down},
};
use ebb_proxy::net::tls::certified_key;
use parking_lot::RwLock;
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

/// Certificates by their Secrets.
#[derive(Debug, Default)]
pub(super) struct Certificates(RwLock<HashMap<ServiceKey, Arc<CertifiedKey>>>);

impl Certificates {
    /// Takes over what the leader says of them. One that cannot be used leaves the one before in its place.
    pub(super) fn take(&self, down: &Down) {
        let read: Vec<_> = down.certificates.iter().map(|entry| (entry.secret(), read(entry))).collect();
        let mut all = self.0.write();
        if down.complete && !down.hosts_unknown {
            // A leader that is new may not have read them all yet: what a host is still to have stays.
            let of_hosts = down
                .hosts
                .iter()
                .map(|entry| ServiceKey::new(entry.namespace.clone(), entry.tls_secret.clone()));
            let named: HashSet<ServiceKey> =
                down.certificates.iter().map(CertificateEntry::secret).chain(of_hosts).collect();
            all.retain(|secret, _| named.contains(secret));
        }
        for (secret, certificate) in read {
            match certificate {
                Ok(Some(certificate)) => {
                    info!(%secret, "showing a certificate");
                    all.insert(secret, Arc::new(certificate));
                }
                Ok(None) => {
                    all.remove(&secret);
                }
                Err(error) => warn!(%secret, %error, "cannot show a certificate"),
            }
        }
    }

    /// The certificate of a Secret; `None` if it is not known.
    pub(super) fn find(&self, secret: &ServiceKey) -> Option<Arc<CertifiedKey>> {
        self.0.read().get(secret).cloned()
    }
}

/// `None` if there is none any more.
fn read(entry: &CertificateEntry) -> Result<Option<CertifiedKey>, ebb_proxy::net::tls::UnusableCertificate> {
    if entry.chain.is_empty() {
        return Ok(None);
    }
    certified_key(&entry.chain, &entry.key).map(Some)
}
