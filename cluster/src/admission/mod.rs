//! Answers admission requests of the API server, over TLS, with a certificate that is created and renewed here.
//!
//! An [`Admission`] decides, as a function of the request and of what is known. Each program has its own [`Place`],
//! where the API server reaches it.

mod certificate;
mod metrics;
mod review;
mod served;

use std::{sync::Arc, time::Duration};

use ebb_proxy::{Drain, Limits, Quiet, WallClock, net::tls::Tls, serve_over};
use kube::Client;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracing::{error, warn};

use certificate::Keeper;
pub use metrics::{AdmissionMetrics, Outcome};
use review::Reviewer;
pub use review::{Admission, Answer, Hook, Refusal, Unreadable, hook_at, read, review};
use served::Served;

/// When no request has arrived for this long, the API server knows that we shut down. Requests are answered until
/// then, because an object whose request is not answered is admitted unchanged.
const LEAVING: Quiet = Quiet { quiet: Duration::from_secs(5), limit: Duration::from_secs(15) };

/// Where the API server reaches an admission server, and the names of its objects.
#[derive(Clone, Debug)]
pub struct Place {
    /// The namespace of the program.
    pub namespace: String,
    /// The Service for the API server.
    pub service: &'static str,
    /// The Secret with the certificate.
    pub secret: &'static str,
    /// The `MutatingWebhookConfiguration` and the `ValidatingWebhookConfiguration`.
    pub configuration: &'static str,
    /// The field manager, in `managedFields`.
    pub manager: &'static str,
}

impl Place {
    /// Returns its DNS names; the first one is used by the API server.
    fn names(&self) -> [String; 2] {
        let Self { namespace, service, .. } = self;
        [format!("{service}.{namespace}.svc"), format!("{service}.{namespace}.svc.cluster.local")]
    }
}

/// An admission server. It runs until it is shut down or dropped.
#[derive(Debug)]
pub struct Server {
    drain: Drain,
    ready: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Starts to serve `admission` on `listener`. Whenever the program `leads`, it also maintains the certificate.
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
        tasks.spawn(serve_over(Tls::new(Arc::new(served)), listener, reviewer, drain.clone(), few()));
        Self { drain, ready: is_ready, tasks }
    }

    /// Returns a receiver that says whether there is a certificate to serve.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// Resolves if the server has ended by itself, which is a bug: the API server gets no answers any more.
    pub async fn ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            error!(%error, "the admission server has failed");
        }
    }

    /// Answers pending requests, and ends.
    pub async fn shut_down(mut self) {
        if let Err(cut) = self.drain.run(LEAVING).await {
            warn!(connections = cut.connections, "requests of the API server were cut");
        }
        self.tasks.shutdown().await;
    }
}

impl Drop for Server {
    /// Connections have their own tasks, which would continue.
    fn drop(&mut self) {
        self.drain.abort();
    }
}

/// There are few API servers, and they keep their connections.
fn few() -> Limits {
    Limits { max_connections: 256, first_byte_timeout: Duration::from_secs(10), ..Limits::default() }
}

#[cfg(test)]
mod tests;
