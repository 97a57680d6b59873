//! A service's address on this machine: what a cluster IP and kube-proxy are in a cluster. It knows
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

/// A connection that finds no endpoint waits so long for one.
const WAIT_FOR_ENDPOINT: Duration = Duration::from_secs(5);

/// An endpoint is on this machine: it takes a connection at once, or its backlog is full.
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
    /// Begins to accept on `listener`.
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

    /// New connections go to `endpoints`; those that are open stay where they are.
    pub(crate) fn publish(&self, endpoints: &Endpoints) {
        self.endpoints.send_replace(Some(endpoints.clone()));
    }

    /// Accepts no more. What is open goes on.
    pub(crate) fn close(&self) {
        self.closing.cancel();
    }

    /// Cuts what is still open.
    pub(crate) async fn cut(self) {
        self.close();
        self.cutting.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Front {
    /// Where a start failed halfway, nobody may go on accepting.
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
    // In a place of its own, which a connection that waits for its answer no longer has.
    let Ok(upstream) = Box::pin(timeout(WAIT_FOR_ENDPOINT, connect(&mut endpoints))).await else {
        return debug!("no endpoint took a connection");
    };
    if let Err(error) = Liveness::CLIENT.may_stall().watch(&client) {
        return debug!(%error, "connection lost");
    }
    if let Err(error) = relay::both_ways(&client, &upstream).await {
        debug!(%error, "connection ended");
        // Who has gone is not taken for one that has closed its half and waits; where it fails, nobody is there to be told.
        let _ = upstream.set_zero_linger();
    }
}

/// A connection to any endpoint. One that does not answer has just gone: its successor is about to be
/// published.
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
        // Not for ever: an endpoint may be back without anything being published.
        let _ = timeout(Duration::from_millis(20), endpoints.changed()).await;
    }
}
