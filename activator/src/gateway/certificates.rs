//! The certificates of the gateway, by Secret.

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

/// Certificates by Secret.
#[derive(Debug, Default)]
pub(super) struct Certificates(RwLock<HashMap<ServiceKey, Arc<CertifiedKey>>>);

impl Certificates {
    /// Applies the leader's update. An unusable certificate does not replace the previous one.
    pub(super) fn take(&self, down: &Down) {
        let read: Vec<_> = down.certificates.iter().map(|entry| (entry.secret(), read(entry))).collect();
        let mut all = self.0.write();
        if down.complete && !down.hosts_unknown {
            // A new leader may not have read all Secrets yet: a certificate that a host still uses is kept.
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

    /// Returns the certificate of a Secret; `None` if it is not known.
    pub(super) fn find(&self, secret: &ServiceKey) -> Option<Arc<CertifiedKey>> {
        self.0.read().get(secret).cloned()
    }
}

/// Returns `None` if the certificate was removed.
fn read(entry: &CertificateEntry) -> Result<Option<CertifiedKey>, ebb_proxy::net::tls::UnusableCertificate> {
    if entry.chain.is_empty() {
        return Ok(None);
    }
    certified_key(&entry.chain, &entry.key).map(Some)
}
