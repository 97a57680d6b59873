//! Questions to the one task: why a service has the pods it has, and where a route's requests go.

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
    pub(crate) answer: oneshot::Sender<Option<Told>>,
}

/// What is known under a name, and how it is reached through the gateway, if it is.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) known: Known,
    pub(crate) exposed: Option<Exposed>,
}

impl Told {
    /// For programs. `hosts` is there only if the gateway knows any.
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

/// Why a service has the pods it has.
#[derive(Debug)]
pub(crate) struct Why {
    /// Whether this autoscaler leads. One that does not decides nothing.
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
    /// A way to ask whoever takes the questions.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, asked) = mpsc::channel(ASK_CAPACITY);
        (Self(asks), asked)
    }

    /// What is known of `service`; `None` if nothing is, or the task has ended.
    pub(crate) async fn explain(&self, service: &ServiceKey) -> Option<Told> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.0.send(Ask { service: service.clone(), answer }).await.ok()?;
            answered.await.ok()?
        };
        timeout(ANSWER_WITHIN, asking).await.ok()?
    }
}
