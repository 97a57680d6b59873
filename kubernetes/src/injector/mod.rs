//! What Ebb puts into pods and Services as they are made: the sidecar, and the selector's place.
//!
//! Three webhooks ask here: one changes pods (`pod`), one changes Services (`service`), one tells what is wrong with
//! a Service's annotations (`validate`). Each answer is a function of the question, of the Services that are known
//! ([`Claims`]) and of the cluster's defaults; no API server is asked. With the webhooks away, pods serve without
//! a sidecar, and Services come to be as they should a little later: the reconciler does the same.

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

/// Where the API server finds the injector of the Ebb that runs in `namespace`.
pub fn place(namespace: &str) -> Place {
    Place {
        namespace: namespace.to_owned(),
        service: "ebb-autoscaler",
        secret: "ebb-webhook",
        configuration: "ebb",
        manager: "ebb-autoscaler",
    }
}

/// What is answered at `path` to `question`, where `services` are known, whatever its bytes are; `None` where nobody
/// answers. Without a server around it, for whoever checks that every question has its answer.
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
