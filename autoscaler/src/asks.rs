//! Questions to the one task: why a service has the pods it has.

use std::time::Duration;

use ebb_core::ServiceKey;
use ebb_decide::service::{Explained, View};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Questions that may wait for the task, and for how long.
const ASK_CAPACITY: usize = 16;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A way to ask the task.
#[derive(Clone, Debug)]
pub(crate) struct Asks(mpsc::Sender<Ask>);

/// Somebody wants to know why a service has the pods it has.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) service: ServiceKey,
    /// Where the answer goes; `None` if the service is not known.
    pub(crate) answer: oneshot::Sender<Option<Why>>,
}

/// Why a service has the pods it has.
#[derive(Debug)]
pub(crate) struct Why {
    /// Whether this autoscaler leads. One that does not decides nothing.
    pub(crate) leads: bool,
    pub(crate) view: View,
    /// The last decisions, oldest first.
    pub(crate) history: Vec<Explained>,
}

impl Asks {
    /// A way to ask whoever takes the questions.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASK_CAPACITY);
        (Self(asks), asked)
    }

    /// Why `service` has the pods it has; `None` if it is not known, or the task has ended.
    pub(crate) async fn explain(&self, service: &ServiceKey) -> Option<Why> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.0.send(Ask { service: service.clone(), answer }).await.ok()?;
            answered.await.ok()?
        };
        timeout(ANSWER_WITHIN, asking).await.ok()?
    }
}
