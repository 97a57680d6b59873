//! The API server asks, and is answered: over TLS, with a certificate that is made and renewed here.
//!
//! Whoever answers is an [`Admission`]: a function of the question and of what is known. Each program has a [`Place`] of its
//! own, where the API server finds it.

mod certificate;
mod metrics;
mod review;
mod tls;

use std::{sync::Arc, time::Duration};

use ebb_proxy::{Drain, Limits, Quiet, WallClock, serve_over};
use kube::Client;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::{error, warn};

use certificate::Keeper;
pub use metrics::{AdmissionMetrics, Outcome};
use review::Reviewer;
pub use review::{Admission, Answer, Hook, Unreadable, hook_at, read, review};
use tls::{Served, Tls};

/// An API server that asks no more has heard that we leave; what it asks meanwhile is answered, because an object whose
/// question is not gets nothing of what it should have.
const LEAVING: Quiet = Quiet { quiet: Duration::from_secs(5), limit: Duration::from_secs(15) };

/// Where the API server finds an admission server, and what it is called in the cluster.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace that it runs in.
    pub namespace: String,
    /// The Service by which the API server reaches it.
    pub service: &'static str,
    /// The Secret that has its certificate.
    pub secret: &'static str,
    /// The `MutatingWebhookConfiguration` and the `ValidatingWebhookConfiguration` that name it.
    pub configuration: &'static str,
    /// Who writes, in `managedFields`.
    pub manager: &'static str,
}

impl Place {
    /// Its DNS names, the one that the API server calls first.
    fn names(&self) -> [String; 2] {
        let Self { namespace, service, .. } = self;
        [format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local")]
    }
}

/// An admission server, running until it is shut down or dropped.
#[derive(Debug)]
pub struct Server {
    drain: Drain,
    ready: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Begins to have `admission` answer on `listener`, and, whenever it `leads`, to keep the certificate for it.
    pub fn start(
        client: Client,
        listener: TcpListener,
        place: Place,
        admission: impl Admission,
        metrics: AdmissionMetrics,
        leads: watch::Receiver<bool>,
        clock: WallClock,
    ) -> Self {
        let (served, drain) = (Served::default(), Drain::default());
        let (ready, is_ready) = watch::channel(false);
        let keeper = Keeper { client, place, clock, leads, served: served.clone(), ready };
        let reviewer = Arc::new(Reviewer { admission, metrics });
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper.run());
        tasks.spawn(serve_over(Tls::new(served), listener, reviewer, drain.clone(), few()));
        Self { drain, ready: is_ready, tasks }
    }

    /// Follows whether there is a certificate to serve by.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Resolves if it has ended by itself, which is a bug: nobody answers the API server any more.
    pub async fn ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            error!(%error, "the admission server has failed");
        }
    }

    /// Answers what is still asked, and ends.
    pub async fn shut_down(mut self) {
        if let Err(cut) = self.drain.run(LEAVING).await {
            warn!(connections = cut.connections, "requests of the API server were cut");
        }
        self.tasks.shutdown().await;
    }
}

impl Drop for Server {
    /// Connections have tasks of their own, that would go on.
    fn drop(&mut self) {
        self.drain.abort();
    }
}

/// API servers are few, and keep their connections.
fn few() -> Limits {
    Limits { max_connections: 256, first_byte_timeout: Duration::from_secs(10), ..Limits::default() }
}

#[cfg(test)]
mod tests;
