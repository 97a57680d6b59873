//! Notices for owners of objects, written as Events and to the log.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{sync::mpsc, time::timeout};
use tracing::{info, warn};

use crate::ApiMetrics;

/// Maximum number of pending Events; further ones are only logged.
const CAPACITY: usize = 256;
/// Time limit for writing an Event, because others wait behind it.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);
/// Maximum length of an Event's text, in bytes.
const MAX_TEXT: usize = 1024;

/// A notice for the owner of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The group and version of the object's kind, as `v1` or `serving.knative.dev/v1`.
    pub api_version: &'static str,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The object's UID.
    pub uid: String,
    /// Whether somebody should act on it.
    pub is_warning: bool,
    /// The Event's reason, in one word.
    pub reason: &'static str,
    /// The text, in a sentence.
    pub text: String,
}

/// Sends notices.
#[derive(Debug)]
pub struct Notices {
    to: mpsc::Sender<Notice>,
    metrics: Arc<ApiMetrics>,
}

impl Notices {
    /// Returns the notices of `controller`, which runs in `pod` and does `action`, and the task that writes them.
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

    /// Logs a notice, and if `writes` is true, writes it as an Event, too.
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
            api_version: Some(notice.api_version.to_owned()),
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
