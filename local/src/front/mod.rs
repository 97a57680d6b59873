//! A service's address on this machine: the counterpart of a cluster IP and kube-proxy. It handles
//! connections, not requests: each goes to one of the endpoints that the autoscaler published.

mod relay;

use std::{net::SocketAddr, time::Duration};

use ebb_decide::endpoints::Endpoints;
use ebb_proxy::net::{self, Liveness};
use rand::seq::SliceRandom;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// How long a connection waits for an endpoint.
const WAIT_FOR_ENDPOINT: Duration = Duration::from_secs(5);

/// How long connecting may take. Endpoints are on this machine: they accept at once, or their backlog is
/// full.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

/// Accepts a service's connections.
#[derive(Debug)]
pub(crate) struct Front {
    endpoints: watch::Sender<Option<Endpoints>>,
    closing: CancellationToken,
    cutting: CancellationToken,
    tasks: TaskTracker,
}

impl Front {
    /// Starts accepting on `listener`.
    pub(crate) fn start(listener: TcpListener) -> Self {
        let front = Self {
            endpoints: watch::Sender::new(None),
            closing: CancellationToken::new(),
            cutting: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        front.tasks.spawn(accept(
            listener,
            front.endpoints.subscribe(),
            front.closing.clone(),
            front.cutting.clone(),
            front.tasks.clone(),
        ));
        front
    }

    /// Sends new connections to `endpoints`; open connections stay where they are.
    pub(crate) fn publish(&self, endpoints: &Endpoints) {
        self.endpoints.send_replace(Some(endpoints.clone()));
    }

    /// Stops accepting. Open connections continue.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// Cuts all open connections.
    pub(crate) async fn cut(self) {
        self.close();
        self.cutting.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Front {
    /// If a start failed halfway, nothing may continue to accept.
    fn drop(&mut self) {
        self.closing.cancel();
        self.cutting.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    endpoints: watch::Receiver<Option<Endpoints>>,
    closing: CancellationToken,
    cutting: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
        };
        match accepted {
            Ok((client, _)) => {
                let (endpoints, cutting) = (endpoints.clone(), cutting.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = join(client, endpoints) => {}
                        () = cutting.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept; pausing");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn join(client: TcpStream, mut endpoints: watch::Receiver<Option<Endpoints>>) {
    // Boxed, so that it takes no room once the connection is relayed.
    let Ok(upstream) = Box::pin(timeout(WAIT_FOR_ENDPOINT, connect(&mut endpoints))).await else {
        return debug!("no endpoint took a connection");
    };
    if let Err(error) = Liveness::CLIENT.may_stall().watch(&client) {
        return debug!(%error, "connection lost");
    }
    if let Err(error) = relay::both_ways(&client, &upstream).await {
        debug!(%error, "connection ended");
        // The app must see a reset: it could take a FIN for a closed half. On failure, there is nobody to tell.
        let _ = upstream.set_zero_linger();
    }
}

/// Returns a connection to any endpoint. An endpoint that does not answer has just gone, and its successor is
/// about to be published.
async fn connect(endpoints: &mut watch::Receiver<Option<Endpoints>>) -> TcpStream {
    loop {
        let mut addresses: Vec<SocketAddr> = endpoints
            .borrow_and_update()
            .as_ref()
            .map(|endpoints| endpoints.addresses.clone())
            .unwrap_or_default();
        addresses.shuffle(&mut rand::rng());
        for address in addresses {
            match net::connect(address, CONNECT_WITHIN, Liveness::HERE).await {
                Ok(stream) => return stream,
                Err(error) => debug!(%address, %error, "endpoint does not answer"),
            }
        }
        // Not forever: an endpoint may be back without a new publication.
        let _ = timeout(Duration::from_millis(20), endpoints.changed()).await;
    }
}
