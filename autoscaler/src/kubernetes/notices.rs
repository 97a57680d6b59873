//! What owners of services are told: Events on their objects.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::timeout};
use tracing::{info, warn};

use super::{Metrics, world::Notice};

/// Notices that may wait for the API server; those beyond are in the log only.
const CAPACITY: usize = 256;
/// The API server must have taken an Event by then: others wait behind it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);
/// Longest text that an Event may have, in bytes.
const MAX_TEXT: usize = 1024;

/// Where notices go.
#[derive(Debug)]
pub(super) struct Notices {
    to: mpsc::Sender<Notice>,
    metrics: Arc<Metrics>,
}

impl Notices {
    /// Notices, and the task that writes them.
    pub(super) fn new(
        client: Client,
        pod: &str,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (to, noticed) = mpsc::channel(CAPACITY);
        let reporter = Reporter { controller: "ebb.dev/autoscaler".into(), instance: Some(pod.into()) };
        (Self { to, metrics }, write(Recorder::new(client, reporter), noticed))
    }

    /// Tells; `writes` says whether by an Event as well as in the log.
    pub(super) fn tell(&self, notice: Notice, writes: bool) {
        let Notice { kind, namespace, name, reason, text, .. } = &notice;
        if notice.is_warning {
            warn!(kind, namespace, name, reason, "{text}");
        } else {
            info!(kind, namespace, name, reason, "{text}");
        }
        if writes {
            self.metrics.noticed(reason);
            if self.to.try_send(notice).is_err() {
                warn!("too many Events at once; this one is in the log only");
            }
        }
    }
}

async fn write(recorder: Recorder, mut noticed: mpsc::Receiver<Notice>) {
    while let Some(notice) = noticed.recv().await {
        let mut text = notice.text;
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(notice.kind.to_owned()),
            namespace: Some(notice.namespace),
            name: Some(notice.name),
            uid: Some(notice.uid),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: if notice.is_warning { EventType::Warning } else { EventType::Normal },
            reason: notice.reason.to_owned(),
            note: Some(text),
            action: "Scaling".to_owned(),
            secondary: None,
        };
        match timeout(WRITTEN_WITHIN, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "cannot write an Event"),
            Err(_) => warn!("cannot write an Event: no answer within {WRITTEN_WITHIN:?}"),
        }
    }
}
