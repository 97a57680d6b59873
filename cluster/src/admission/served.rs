//! Which certificate the webhooks show.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The certificate that is shown from now on; clones show the same. Nothing is shown as long as there is none, and
/// connections fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Served(Arc<ArcSwapOption<CertifiedKey>>);

impl Served {
    pub(super) fn show(&self, certificate: CertifiedKey) {
        self.0.store(Some(Arc::new(certificate)));
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}
