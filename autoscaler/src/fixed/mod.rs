//! Pods at fixed addresses, from a file, for machines without Kubernetes, where something else starts the pods. Their
//! activators get tables and their load is measured. The desired number of pods appears only in metrics and the log;
//! nothing is scaled.

mod file;
mod watch;

use std::{convert::Infallible, sync::Arc};

use ebb_core::ServiceKey;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::info;

use ebb_decide::endpoints::Endpoints;
use ebb_decide::platform::{EndpointSink, FleetEvent, Gate, PlatformError, PodSource, ScaleTarget};
pub use file::{FileError, FixedService, read};

/// Maximum number of pending events.
const CAPACITY: usize = 256;

/// Pods at fixed addresses.
#[derive(Debug)]
pub struct FixedFleet {
    services: Vec<Arc<FixedService>>,
}

impl FixedFleet {
    /// Creates a platform with the pods of `services`.
    pub fn new(services: Vec<FixedService>) -> Arc<Self> {
        Arc::new(Self { services: services.into_iter().map(Arc::new).collect() })
    }
}

impl PodSource for FixedFleet {
    type Events = ReceiverStream<FleetEvent>;

    fn watch(&self) -> Self::Events {
        let (events, watched) = mpsc::channel(CAPACITY);
        // There is no other candidate. The channel has room for it.
        let _ = events.try_send(FleetEvent::Leadership { leads: true });
        let (told, mut all_told) = mpsc::channel::<Infallible>(1);
        for service in &self.services {
            // Each ends when its receiver is dropped.
            tokio::spawn(watch::watch(service.clone(), events.clone(), told.clone()));
        }
        drop(told);
        tokio::spawn(async move {
            // Nothing is sent: this ends when all senders are dropped.
            while all_told.recv().await.is_some() {}
            // The autoscaler may have ended.
            let _ = events.send(FleetEvent::Complete).await;
            // Keep running without any service.
            events.closed().await;
        });
        watched.into()
    }
}

impl ScaleTarget for FixedFleet {
    async fn scale(&self, service: &ServiceKey, pods: u32, _: &[String]) -> Result<(), PlatformError> {
        info!(%service, pods, "would scale; these pods are fixed");
        Ok(())
    }
}

/// Admits everybody: without Kubernetes, nothing distinguishes activators from other clients.
impl Gate for FixedFleet {
    async fn admit(&self, _: Option<&str>) -> Result<(), String> {
        Ok(())
    }
}

impl EndpointSink for FixedFleet {
    async fn publish(&self, service: &ServiceKey, endpoints: &Endpoints) -> Result<(), PlatformError> {
        info!(%service, path = ?endpoints.path, addresses = ?endpoints.addresses, "traffic should go here");
        Ok(())
    }
}
