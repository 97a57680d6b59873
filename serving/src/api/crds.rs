//! The definitions of the kinds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use super::{ClusterDomainClaim, Configuration, DomainMapping, Revision, Route, Service};

/// Returns the definitions of all kinds. `deploy/components/serving/crds.yaml` has them.
pub fn crds() -> [CustomResourceDefinition; 6] {
    let mut all = [
        Service::crd(),
        Configuration::crd(),
        Revision::crd(),
        Route::crd(),
        DomainMapping::crd(),
        ClusterDomainClaim::crd(),
    ];
    for crd in &mut all {
        // Tools that look for an installation of Knative look for this.
        let labels = crd.metadata.labels.get_or_insert_default();
        labels.insert("knative.dev/crd-install".to_owned(), "true".to_owned());
    }
    all
}
