//! What Ebb puts into pods and Services as they are made: the sidecar, and the selector's place.
//!
//! Three webhooks ask here: one changes pods (`pod`), one changes Services (`service`), one tells what is wrong with
//! a Service's annotations (`validate`). Each answer is a function of the question, of the Services that are known
//! ([`Claims`]) and of the cluster's defaults; no API server is asked. With the webhooks away, pods serve without
//! a sidecar, and Services come to be as they should a little later: the reconciler does the same.

mod certificate;
mod claims;
#[cfg(test)]
mod fixtures;
mod metrics;
pub(crate) mod pod;
mod service;
mod tls;
mod validate;
mod webhook;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ebb_annotations::ClusterDefaults;
use ebb_proxy::{Drain, Limits, Quiet, ResponseBody, WallClock, serve_over};
use http::Response;
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::{error, warn};

use self::{
    certificate::Keeper,
    metrics::Hook,
    tls::{Served, Tls},
    webhook::Webhook,
};
use crate::kubernetes::claim::{self, Verdict};

pub use claims::Claims;
pub use metrics::AdmissionMetrics;
pub use pod::{PullPolicy, Settings};

/// The container by which a pod is known to have its sidecar.
pub(crate) use pod::SIDECAR;

/// The Service by which the API server reaches the webhooks.
const SERVICE: &str = "ebb-autoscaler";

/// An API server that asks no more has heard that we leave; what it asks meanwhile is answered, because a pod whose
/// question is not gets no sidecar.
const LEAVING: Quiet = Quiet { quiet: Duration::from_secs(5), limit: Duration::from_secs(15) };

/// What the webhooks go by.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Ebb's own namespace.
    pub namespace: String,
    /// The Services that are Ebb's, kept by whoever watches them.
    pub claims: Claims,
    /// What every sidecar has.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The cluster's defaults.
    pub defaults: Arc<ArcSwap<ClusterDefaults>>,
    /// Whether this replica may write.
    pub leads: watch::Receiver<bool>,
}

/// The webhooks of one autoscaler, running until they are shut down or dropped.
#[derive(Debug)]
pub struct Injector {
    drain: Drain,
    ready: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Injector {
    /// Begins to answer on `listener`, and to keep the certificate for it.
    pub fn start(
        client: Client,
        listener: TcpListener,
        facts: Facts,
        metrics: AdmissionMetrics,
        clock: WallClock,
    ) -> Self {
        let names = vec![
            format!("{SERVICE}.{}.svc", facts.namespace),
            format!("{SERVICE}.{}.svc.cluster.local", facts.namespace),
        ];
        Self::start_as(names, client, listener, facts, metrics, clock)
    }

    /// [`Self::start`] under other names.
    fn start_as(
        names: Vec<String>,
        client: Client,
        listener: TcpListener,
        facts: Facts,
        metrics: AdmissionMetrics,
        clock: WallClock,
    ) -> Self {
        let (served, drain) = (Served::default(), Drain::default());
        let (ready, is_ready) = watch::channel(false);
        let Facts { namespace, claims, settings, defaults, leads } = facts;
        let keeper = Keeper {
            client,
            namespace: namespace.clone(),
            names,
            clock,
            leads,
            served: served.clone(),
            ready,
        };
        let webhook = Arc::new(Webhook { claims, settings, defaults, namespace, metrics });
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run());
        tasks.spawn(serve_over(Tls::new(served), listener, webhook, drain.clone(), few()));
        Self { drain, ready: is_ready, tasks }
    }

    /// Follows whether there is a certificate to serve by.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Resolves if it has ended by itself, which is a bug: nobody answers the API server any more.
    pub async fn ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            error!(%error, "the webhooks have failed");
        }
    }

    /// Answers what is still asked, and ends.
    pub async fn shut_down(mut self) {
        if let Err(cut) = self.drain.run(LEAVING).await {
            warn!(connections = cut.connections, "questions of the API server were cut");
        }
        self.tasks.shutdown().await;
    }
}

impl Drop for Injector {
    /// Connections have tasks of their own, that would go on.
    fn drop(&mut self) {
        self.drain.abort();
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
    let hook = Hook::at(path)?;
    let claims = Claims::default();
    for service in services {
        if let Verdict::Ours(claim) = claim::read(service, &ClusterDefaults::default()) {
            claims.put(claim.into());
        }
    }
    let webhook = Webhook {
        claims,
        settings: Arc::new(ArcSwap::from_pointee(settings)),
        defaults: Arc::default(),
        namespace: "ebb-system".to_owned(),
        metrics: AdmissionMetrics::default(),
    };
    Some(webhook.review(hook, question).1)
}

/// API servers are few, and keep their connections.
fn few() -> Limits {
    Limits { max_connections: 256, first_byte_timeout: Duration::from_secs(10), ..Limits::default() }
}
