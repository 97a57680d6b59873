//! Admission webhooks that change pods and Services: they inject the sidecar and move the selector.
//!
//! There are three webhooks: one changes pods (`pod`), one changes Services (`service`), and one validates a
//! Service's annotations (`validate`). Each answer depends only on the question, the known Services ([`Claims`]) and
//! the cluster's defaults; no request is sent to the API server. If the webhooks are away, pods serve without a
//! sidecar, and the reconciler makes the changes to Services a little later.

mod pod;
mod service;
mod validate;
mod webhook;

use std::sync::Arc;

use arc_swap::ArcSwap;
use ebb_annotations::ClusterDefaults;
use ebb_cluster::admission::{Place, hook_at, review};
use ebb_proxy::ResponseBody;
use http::Response;
use k8s_openapi::api::core::v1::Service;

use crate::claim::{self, Claims, Verdict};

pub use pod::{PullPolicy, Settings};
pub use webhook::{Injector, Question};

/// Returns where the API server finds the injector of the Ebb in `namespace`.
pub fn place(namespace: &str) -> Place {
    Place {
        namespace: namespace.to_owned(),
        service: "ebb-autoscaler",
        secret: "ebb-webhook",
        configuration: "ebb",
        manager: "ebb-autoscaler",
    }
}

/// Returns the answer at `path` to `question`, which may be any bytes, if `services` are known; `None` if nothing is
/// served at `path`. It works without a server, for tests that every question is answered.
pub fn answer(
    path: &str,
    question: &[u8],
    services: &[Service],
    settings: Settings,
) -> Option<Response<ResponseBody<()>>> {
    let hook = hook_at::<Question>(path)?;
    let claims = Claims::default();
    for service in services {
        if let Verdict::Ours(claim) = claim::read(service, &ClusterDefaults::default()) {
            claims.put(claim.into());
        }
    }
    let injector = Injector {
        claims,
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        defaults: Arc::default(),
        namespace: "ebb-system".to_owned(),
    };
    Some(review(&injector, hook, question).1)
}
