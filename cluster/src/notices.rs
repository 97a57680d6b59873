//! What owners of objects are told: by Events, and in the log.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::timeout};
use tracing::{info, warn};

use crate::ApiMetrics;

/// Notices that may wait for the API server; those beyond are in the log only.
const CAPACITY: usize = 256;
/// The API server must have taken an Event by then: others wait behind it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);
/// Longest text that an Event may have, in bytes.
const MAX_TEXT: usize = 1024;

/// Something that the owner of an object should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The object's kind, of the core API.
    pub kind: &'static str,
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// Which of that name.
    pub uid: String,
    /// Whether something is to be done about it.
    pub is_warning: bool,
    /// In one word, as Events have it.
    pub reason: &'static str,
    /// In a sentence.
    pub text: String,
}

/// Where notices go.
#[derive(Debug)]
pub struct Notices {
    to: mpsc::Sender<Notice>,
    metrics: Arc<ApiMetrics>,
}

impl Notices {
    /// Notices of `controller`, which runs in `pod` and does `action`, and the task that writes them.
    pub fn new(
        client: Client,
        controller: &str,
        action: &'static str,
        pod: &str,
        metrics: Arc<ApiMetrics>,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (to, noticed) = mpsc::channel(CAPACITY);
        let reporter = Reporter { controller: controller.into(), instance: Some(pod.into()) };
        (Self { to, metrics }, write(Recorder::new(client, reporter), action, noticed))
    }

    /// Tells; `writes` says whether by an Event as well as in the log.
    pub fn tell(&self, notice: Notice, writes: bool) {
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

async fn write(recorder: Recorder, action: &'static str, mut noticed: mpsc::Receiver<Notice>) {
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
            action: action.to_owned(),
            secondary: None,
        };
        match timeout(WRITTEN_WITHIN, recorder.publish(&event, &about)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "cannot write an Event"),
            Err(_) => warn!("cannot write an Event: no answer within {WRITTEN_WITHIN:?}"),
        }
    }
}
