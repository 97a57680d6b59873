//! Questions to the one task: why a service has the pods it has, and where a route's requests go.

use std::{sync::Arc, time::Duration};

use ebb_core::ServiceKey;
use ebb_decide::{
    route::Split,
    service::{Explained, View},
};
use serde_json::{Value, json};
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

/// Somebody wants to know why a service has the pods it has, or where a route's requests go.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) service: ServiceKey,
    /// Where the answer goes; `None` if neither is known of that name.
    pub(crate) answer: oneshot::Sender<Option<Known>>,
}

/// What is known under a name.
#[derive(Debug)]
pub(crate) enum Known {
    Service(Why),
    Route(Whither),
}

/// Where a route's requests go.
#[derive(Debug)]
pub(crate) struct Whither {
    /// Whether this autoscaler leads. One that does not publishes nothing.
    pub(crate) leads: bool,
    pub(crate) split: Arc<Split>,
    /// Its way to the split that its owner wants; `null` if it is there.
    pub(crate) rollout: Value,
    /// Whether the route's traffic goes where that of one service goes; else activators choose for each request.
    pub(crate) mirrors: bool,
    /// What is seen of the services, in the order of the split; `None` of one that is not known.
    pub(crate) views: Vec<Option<View>>,
}

impl Whither {
    /// For programs: rates in requests per second, `null` what is not known.
    pub(crate) fn to_json(&self, name: &str) -> Value {
        let targets = self.split.targets.iter().zip(&self.views).map(|(target, view)| {
            json!({
                "service": target.service,
                "weight": target.weight,
                "trouble": target.trouble,
                "now": view.map(|view| view.to_json()),
            })
        });
        json!({
            "route": name,
            "leads": self.leads,
            "chosen_by": if self.mirrors { "nobody" } else { "activators" },
            "split_by": self.split.by.text(),
            "rollout": self.rollout,
            "targets": targets.collect::<Vec<_>>(),
        })
    }
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

    /// What is known of `service`; `None` if nothing is, or the task has ended.
    pub(crate) async fn explain(&self, service: &ServiceKey) -> Option<Known> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.0.send(Ask { service: service.clone(), answer }).await.ok()?;
            answered.await.ok()?
        };
        timeout(ANSWER_WITHIN, asking).await.ok()?
    }
}
