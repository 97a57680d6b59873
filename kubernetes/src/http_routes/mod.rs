//! Writes HTTPRoutes of the Gateway API for the hosts of Services, for clusters whose own Gateway takes the requests
//! instead of `ebb-gateway`.
//!
//! A separate task writes them, so that these writes never delay a scale or a slice. A plain value (`desk`) decides
//! what it writes. It writes nothing before it knows all of Ebb's HTTPRoutes, and never overwrites one that is not Ebb's.

mod desk;
mod object;
mod parent;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

use ebb_cluster::{
    CallError, Calls,
    pacing::{Agenda, Retries},
};
use ebb_core::{ServiceKey, Tick};
use ebb_proxy::WallClock;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, Preconditions},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch as observed},
    time::sleep_until,
};
use tracing::warn;

use crate::{FIELD_MANAGER, watch::Fact};
use desk::{Desk, News, Step};
use object::Seen;
use watch::{Event, Watch};

pub(crate) use object::Backend;
pub(crate) use parent::Parent;

/// Shortest and longest pause between two attempts to write for one Service.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// Number of failed attempts in a row after which the owner gets an Event.
const TRIES: u32 = 5;
/// Shortest pause between two writes that undo changes by others.
const APART: Duration = Duration::from_secs(5);
/// A Service that loses a host is written so much later than the one that gains it: for a moment both have it, so that
/// the Gateway never has none.
const HANDOVER: Duration = Duration::from_secs(2);

/// Why a Service lacks HTTPRoutes: the reason and the text of an Event.
pub(crate) type Trouble = (&'static str, String);

/// The HTTPRoutes that should exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// `None`: no HTTPRoute should exist.
    pub(crate) parent: Option<Parent>,
    pub(crate) services: BTreeMap<ServiceKey, Backend>,
}

/// Makes the HTTPRoutes in the cluster match `wanted`, while it is not `None`, and reports problems to `told`. Returns
/// when either channel closes.
pub(crate) async fn keep(
    calls: Calls,
    clock: WallClock,
    mut wanted: observed::Receiver<Option<Wanted>>,
    told: mpsc::Sender<Fact>,
) {
    let mut troubled = HashSet::new();
    loop {
        let first = wanted.borrow_and_update().clone();
        let Some(first) = first else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        let mut keeper = Keeper::new(calls.clone(), clock, told.clone(), std::mem::take(&mut troubled));
        if keeper.run(first, &mut wanted).await.is_err() {
            return;
        }
        troubled = keeper.troubled;
    }
}

/// A channel to the rest of the program closed.
struct Ended;

/// The state of the task while this autoscaler leads.
struct Keeper {
    calls: Calls,
    clock: WallClock,
    told: mpsc::Sender<Fact>,
    desk: Desk,
    watch: Option<Watch>,
    /// Whether no Gateway is set and none of Ebb's HTTPRoutes is left.
    is_tidy: bool,
    /// Why HTTPRoutes cannot be listed.
    refused: Option<String>,
    agenda: Agenda<ServiceKey>,
    retries: Retries<ServiceKey>,
    /// The Services of which a trouble was told.
    troubled: HashSet<ServiceKey>,
}

impl Keeper {
    fn new(calls: Calls, clock: WallClock, told: mpsc::Sender<Fact>, troubled: HashSet<ServiceKey>) -> Self {
        Self {
            calls,
            clock,
            told,
            desk: Desk::default(),
            watch: None,
            is_tidy: false,
            refused: None,
            agenda: Agenda::default(),
            retries: Retries::new(RETRY),
            troubled,
        }
    }

    async fn run(
        &mut self,
        first: Wanted,
        wanted: &mut observed::Receiver<Option<Wanted>>,
    ) -> Result<(), Ended> {
        self.want(first);
        loop {
            self.begin_or_end_watch();
            let due = self.agenda.next();
            tokio::select! {
                biased;
                changed = wanted.changed() => {
                    changed.map_err(|_| Ended)?;
                    let now = wanted.borrow_and_update().clone();
                    match now {
                        Some(now) => self.want(now),
                        None => return Ok(()),
                    }
                }
                event = watch::next(&mut self.watch) => self.on_event(event).await?,
                () = sleep_until(self.clock.instant(due.unwrap_or_default())), if due.is_some() => {
                    if let Some(key) = self.agenda.pop(self.clock.now()) {
                        self.write(&key).await?;
                    }
                }
            }
        }
    }

    /// Watches HTTPRoutes while a Gateway is set, or while some may be left from when one was.
    fn begin_or_end_watch(&mut self) {
        if self.desk.has_gateway() {
            self.is_tidy = false;
        } else if self.desk.is_empty() || self.refused.is_some() {
            self.is_tidy = true;
        }
        if self.is_tidy && self.watch.take().is_some() {
            self.desk.forget();
            self.refused = None;
        } else if !self.is_tidy && self.watch.is_none() {
            self.watch = Some(Watch::begin(&self.calls));
        }
    }

    fn want(&mut self, wanted: Wanted) {
        let now = self.clock.now();
        let News { losing, others } = self.desk.want(wanted);
        for key in others {
            self.schedule(key, now);
        }
        for key in losing {
            self.schedule(key, now.after(HANDOVER));
        }
    }

    async fn on_event(&mut self, event: Event) -> Result<(), Ended> {
        let now = self.clock.now();
        let news = match event {
            Event::There(name, seen) => self.desk.saw(&name, seen),
            Event::Gone(name, uid) => self.desk.gone(&name, &uid),
            Event::Listed(names) => {
                if self.refused.take().is_some() {
                    self.tell(Fact::HttpRoutes(Ok(()))).await?;
                }
                self.desk.listed(&names)
            }
            Event::Refused(why) => {
                self.desk.forget();
                let is_news = self.refused.as_ref() != Some(&why);
                self.refused = Some(why.clone());
                if is_news && self.desk.has_gateway() {
                    self.tell(Fact::HttpRoutes(Err(why))).await?;
                }
                BTreeSet::new()
            }
        };
        for key in news {
            // Another program that keeps changing them must not cause a write for each change.
            let at = self.desk.written_at(&key).map_or(now, |at| now.max(at.after(APART)));
            self.schedule(key, at);
        }
        Ok(())
    }

    fn schedule(&mut self, key: ServiceKey, at: Tick) {
        let at = self.retries.again(&key).map_or(at, |again| at.max(again));
        self.agenda.set(key, at);
    }

    /// Writes for one Service until nothing is left to do or a write fails.
    async fn write(&mut self, key: &ServiceKey) -> Result<(), Ended> {
        while let Some(step) = self.desk.step(key) {
            let Err((reason, text)) = self.carry_out(key, step).await else { continue };
            let failed = self.retries.failed(key.clone(), self.clock.now(), rand::random_range(0.5..1.0));
            self.agenda.set(key.clone(), failed.again);
            warn!(service = %key, reason, text, tries = failed.times, "cannot write an HTTPRoute; trying again");
            // An HTTPRoute of somebody else does not go away by itself.
            if reason == TAKEN || failed.times >= TRIES {
                self.set_trouble(key, Some((reason, text))).await?;
            }
            return Ok(());
        }
        self.retries.settled(key);
        self.set_trouble(key, None).await
    }

    async fn set_trouble(&mut self, key: &ServiceKey, trouble: Option<Trouble>) -> Result<(), Ended> {
        // A trouble is told at each failure: whoever hears it may have forgotten it, because the hosts went meanwhile.
        let is_news = match &trouble {
            Some(_) => {
                self.troubled.insert(key.clone());
                true
            }
            None => self.troubled.remove(key),
        };
        if !is_news {
            return Ok(());
        }
        self.tell(Fact::HttpRoute(key.clone(), trouble)).await
    }

    async fn tell(&self, fact: Fact) -> Result<(), Ended> {
        self.told.send(fact).await.map_err(|_| Ended)
    }

    async fn carry_out(&mut self, key: &ServiceKey, step: Step) -> Result<(), Trouble> {
        match step {
            Step::Apply { name, object, there } => self.apply(key, name, object, there).await,
            Step::Delete { name, uid } => {
                self.delete(key, &name, uid).await.map_err(|error| cannot_write(&name, &error))
            }
        }
    }

    async fn apply(
        &mut self,
        key: &ServiceKey,
        name: String,
        object: Value,
        there: Option<String>,
    ) -> Result<(), Trouble> {
        let failed = |error: CallError| cannot_write(&name, &error);
        let api = self.api(&key.namespace);
        let known = match there {
            Some(uid) => Some(uid),
            // The watch does not show HTTPRoutes without Ebb's label.
            None => {
                match self.calls.call("get httproute", api.get_metadata_opt(&name)).await.map_err(failed)? {
                    None => None,
                    Some(found) => {
                        let seen = Seen::of(&found.metadata).filter(|seen| seen.owner == *key);
                        Some(seen.ok_or_else(|| taken(key, &name))?.uid)
                    }
                }
            }
        };
        let mut body = object.clone();
        let params = PatchParams::apply(FIELD_MANAGER);
        // Without force, one that somebody else creates at this moment causes a conflict and is not overwritten.
        let params = match known {
            None => params,
            Some(uid) => {
                body["metadata"]["uid"] = json!(uid);
                params.force()
            }
        };
        let applied = self.calls.call("httproute", api.patch(&name, &params, &Patch::Apply(&body))).await;
        let applied = applied.map_err(failed)?;
        let seen = Seen::of(&applied.metadata).ok_or_else(|| taken(key, &name))?;
        self.desk.applied((key.namespace.clone(), name), object, seen, self.clock.now());
        Ok(())
    }

    async fn delete(&mut self, key: &ServiceKey, name: &str, uid: String) -> Result<(), CallError> {
        let preconditions = Preconditions { uid: Some(uid), ..Preconditions::default() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let api = self.api(&key.namespace);
        match self.calls.call("httproute", api.delete(name, &params)).await {
            // It was deleted already, or another one has the name now.
            Err(error) if !error.is_missing() && !error.is_conflict() => Err(error),
            _ => {
                self.desk.deleted(&(key.namespace.clone(), name.to_owned()));
                Ok(())
            }
        }
    }

    fn api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.calls.client.clone(), namespace, &object::resource())
    }
}

/// The reason of the Event for an HTTPRoute that belongs to somebody else.
const TAKEN: &str = "HttpRouteTaken";

fn taken(key: &ServiceKey, name: &str) -> Trouble {
    let (label, ours) = object::LABEL;
    let text = format!(
        "HTTPRoute {name} is not Ebb's: it lacks the label {label}: {ours} or its owner, Service {}; rename it, and \
         Ebb writes its own",
        key.name
    );
    (TAKEN, text)
}

fn cannot_write(name: &str, error: &CallError) -> Trouble {
    ("CannotWriteHttpRoute", format!("HTTPRoute {name}: {error}"))
}
