//! Questions to the main task: why a service has its current number of pods, and where a route's requests go.

use std::{sync::Arc, time::Duration};

use ebb_core::{Host, ServiceKey};
use ebb_decide::{
    platform::Exposed,
    route::Split,
    service::{Explained, View},
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Maximum number of pending questions, and how long one may wait.
const ASK_CAPACITY: usize = 16;
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Sends questions to the main task.
#[derive(Clone, Debug)]
pub(crate) struct Asks(mpsc::Sender<Ask>);

/// A question about a service or a route.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) service: ServiceKey,
    /// Receives the answer; `None` if no service or route has that name.
    pub(crate) answer: oneshot::Sender<Option<Told>>,
}

/// A service or a route, and how it is reached through the gateway.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) known: Known,
    pub(crate) exposed: Option<Exposed>,
}

impl Told {
    /// Returns the answer as JSON. `hosts` is present only if the gateway knows any.
    pub(crate) fn to_json(&self, name: &str) -> Value {
        let mut value = match &self.known {
            Known::Service(why) => why.to_json(name),
            Known::Route(whither) => whither.to_json(name),
        };
        if let Some(Exposed { hosts, tls_secret, https_redirect, .. }) = &self.exposed {
            value["hosts"] = hosts.iter().map(Host::as_str).collect();
            value["tls_secret"] = json!(tls_secret);
            value["https_redirect"] = json!(https_redirect);
        }
        value
    }
}

/// A service or a route.
#[derive(Debug)]
pub(crate) enum Known {
    Service(Why),
    Route(Whither),
}

/// Where a route's requests go.
#[derive(Debug)]
pub(crate) struct Whither {
    /// Whether this autoscaler leads. If not, it publishes nothing.
    pub(crate) leads: bool,
    pub(crate) split: Arc<Split>,
    /// The progress of its rollout; `null` if none is under way.
    pub(crate) rollout: Value,
    /// Whether the route has the endpoints of a single service; otherwise activators choose for each request.
    pub(crate) mirrors: bool,
    /// The views of its services, in the order of the split; `None` for one that is not known.
    pub(crate) views: Vec<Option<View>>,
}

impl Whither {
    /// Returns the answer as JSON, with rates in requests per second and `null` for what is not known.
    fn to_json(&self, name: &str) -> Value {
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

/// Why a service has its current number of pods.
#[derive(Debug)]
pub(crate) struct Why {
    /// Whether this autoscaler leads. If not, it decides nothing.
    pub(crate) leads: bool,
    pub(crate) view: View,
    /// The last decisions, oldest first.
    pub(crate) history: Vec<Explained>,
}

impl Why {
    fn to_json(&self, name: &str) -> Value {
        let decisions: Vec<_> = self.history.iter().map(Explained::to_json).collect();
        json!({ "service": name, "leads": self.leads, "now": self.view.to_json(), "decisions": decisions })
    }
}

impl Asks {
    /// Returns a sender, and the receiver for the task that answers.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASK_CAPACITY);
        (Self(asks), asked)
    }

    /// Returns what is known of `service`; `None` if nothing is, or if the task has ended.
    pub(crate) async fn explain(&self, service: &ServiceKey) -> Option<Told> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.0.send(Ask { service: service.clone(), answer }).await.ok()?;
            answered.await.ok()?
        };
        timeout(ANSWER_WITHIN, asking).await.ok()?
    }
}
