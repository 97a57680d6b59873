//! The task that feeds the [`World`] and carries out its plans, one at a time for each object.

mod digests;
mod watch;
mod write;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use ebb_cluster::{
    ApiMetrics, CallError, Calls, Notice, Notices,
    pacing::{Agenda, Retries},
    watches::{self, Seen},
};
use ebb_core::Tick;
use ebb_proxy::{WallClock, program::caught};
use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::{Semaphore, mpsc, watch as observed},
    task::{JoinSet, yield_now},
    time::sleep_until,
};
use tracing::{debug, info, warn};

use crate::{
    config::{Config, Fault},
    outcome::{Event, Kind, Object, Reference, Write},
    registry::Resolver,
    world::{Fact, Found, World},
};
use digests::{Answered, Digests};
use write::{Writer, Written};

/// Maximum number of pending facts.
const FACT_CAPACITY: usize = 1024;
/// Maximum number of objects that are written for at once.
const WRITTEN_AT_ONCE: usize = 32;
/// Maximum number of objects that are examined before others on this thread have their turn.
const EXAMINED_AT_ONCE: usize = 64;
/// Shortest and longest pause between two attempts to write for one object.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];
/// Number of failed attempts in a row after which the owner gets an Event.
const TRIES: u32 = 5;

/// The identity of this program in the cluster.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The namespace of the installation, which has the settings.
    pub namespace: String,
    /// The name of this pod.
    pub pod: String,
    /// The domain of the cluster, as `cluster.local`.
    pub cluster_domain: String,
}

/// The state of the task.
pub struct Shell {
    writer: Writer,
    clock: WallClock,
    identity: Identity,
    world: World,
    config: Arc<ArcSwap<Config>>,
    seen: Seen<Fact>,
    incoming: mpsc::Receiver<Fact>,
    noticed: Notices,
    leads: bool,
    /// Whether everything is known.
    synced: observed::Sender<bool>,
    /// The objects to examine.
    waiting: BTreeSet<Reference>,
    /// The objects that are written for, and those of them to examine afterwards.
    writing: HashSet<Reference>,
    blocked: HashSet<Reference>,
    /// When to examine each object again, even if nothing happens.
    agenda: Agenda<Reference>,
    /// Objects for which a write failed.
    retries: Retries<Reference>,
    places: Arc<Semaphore>,
    digests: Digests,
    writes: JoinSet<Done>,
    watches: JoinSet<()>,
}

/// What came of the writes for an object.
struct Done {
    of: Reference,
    uid: String,
    /// What is true if all went well.
    events: Vec<Event>,
    written: Written,
}

impl Shell {
    /// Returns the task for the cluster that `client` speaks to. It keeps `config` up to date.
    pub fn new(
        client: &Client,
        identity: Identity,
        clock: WallClock,
        config: Arc<ArcSwap<Config>>,
        resolver: Resolver,
        metrics: Arc<ApiMetrics>,
    ) -> Self {
        let (to, incoming) = mpsc::channel(FACT_CAPACITY);
        let mut watches = JoinSet::new();
        let (noticed, write) =
            Notices::new(client.clone(), "ebb.dev/serving", "Reconciling", &identity.pod, metrics.clone());
        watches.spawn(write);
        let calls = Calls { client: client.clone(), metrics: metrics.clone() };
        Self {
            digests: Digests::new(calls.clone(), resolver),
            writer: Writer { calls },
            clock,
            world: World::new(&identity.cluster_domain),
            identity,
            config,
            seen: Seen { to, metrics },
            incoming,
            noticed,
            leads: false,
            synced: observed::Sender::new(false),
            waiting: BTreeSet::new(),
            writing: HashSet::new(),
            blocked: HashSet::new(),
            agenda: Agenda::default(),
            retries: Retries::new(RETRY),
            places: Arc::new(Semaphore::new(WRITTEN_AT_ONCE)),
            writes: JoinSet::new(),
            watches,
        }
    }

    /// Returns a receiver that says whether everything is known.
    pub fn synced(&self) -> observed::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Runs until `leads` is gone. Only the leader writes.
    pub async fn run(mut self, mut leads: observed::Receiver<bool>) {
        self.follow();
        loop {
            let due = self.agenda.next();
            tokio::select! {
                Some(fact) = self.incoming.recv() => {
                    self.on_fact(fact);
                    // Facts that arrive together are handled together.
                    while let Ok(fact) = self.incoming.try_recv() {
                        self.on_fact(fact);
                    }
                }
                Some(Ok(done)) = self.writes.join_next() => self.on_written(done),
                Some(answered) = self.digests.next() => self.on_digests(answered),
                changed = leads.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.lead(*leads.borrow_and_update());
                }
                // Others on this thread have their turn in between: the lease, and the webhooks.
                () = yield_now(), if self.leads && !self.waiting.is_empty() => {}
                () = sleep_until(self.clock.instant(due.unwrap_or_default())), if due.is_some() => {
                    while let Some(of) = self.agenda.pop(self.clock.now()) {
                        self.waiting.insert(of);
                    }
                }
            }
            self.settle();
        }
    }

    fn lead(&mut self, leads: bool) {
        if std::mem::replace(&mut self.leads, leads) == leads {
            return;
        }
        if leads {
            self.world.touch_all();
        } else {
            // Another one writes from now on.
            self.writes = JoinSet::new();
            self.digests.stop();
            self.writing.clear();
            self.blocked.clear();
            self.waiting.clear();
            self.agenda = Agenda::default();
            self.retries.clear();
        }
    }

    fn follow(&mut self) {
        self.keep_watching(|client, to| watch::objects(client, to, Kind::Service, Found::Service));
        self.keep_watching(|client, to| {
            watch::objects(client, to, Kind::Configuration, Found::Configuration)
        });
        self.keep_watching(|client, to| watch::objects(client, to, Kind::Revision, Found::Revision));
        self.keep_watching(|client, to| watch::objects(client, to, Kind::Route, Found::Route));
        self.keep_watching(|client, to| {
            watch::objects(client, to, Kind::DomainMapping, Found::DomainMapping)
        });
        self.keep_watching(|client, to| watch::objects(client, to, Kind::Claim, Found::Claim));
        self.keep_watching(watch::deployments);
        self.keep_watching(watch::fronts);
        self.keep_watching(watch::pods);
        let namespace = self.identity.namespace.clone();
        self.keep_watching(move |client, to| watch::settings(client, to, namespace.clone()));
    }

    fn keep_watching<W>(&mut self, watch: impl Fn(Client, Seen<Fact>) -> W + Send + 'static)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        watches::keep(&mut self.watches, self.writer.calls.client.clone(), self.seen.clone(), watch);
    }

    fn on_fact(&mut self, fact: Fact) {
        for (map, taken) in self.world.take(fact) {
            for warning in &taken.warnings {
                warn!(map, "{warning}");
            }
            if taken.is_changed {
                info!(map, "the settings have changed");
            }
            if !taken.faults.is_empty() {
                self.tell_of_settings(&map, &taken.faults);
            }
        }
    }

    /// Reports settings that are not valid.
    fn tell_of_settings(&self, map: &str, faults: &[Fault]) {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let notice = Notice {
            api_version: "v1",
            kind: "ConfigMap",
            namespace: self.identity.namespace.clone(),
            name: map.to_owned(),
            uid: String::new(),
            is_warning: true,
            reason: "InvalidSettings",
            text: format!("{}; the last valid settings stay in effect", faults.join("; ")),
        };
        self.noticed.tell(notice, self.leads);
    }

    fn on_written(&mut self, Done { of, uid, events, written }: Done) {
        self.writing.remove(&of);
        if self.blocked.remove(&of) {
            self.waiting.insert(of.clone());
        }
        for fact in written.facts {
            self.on_fact(fact);
        }
        match written.failed {
            None => {
                self.retries.settled(&of);
                self.world.written(&of);
                self.tell_all(&of, &uid, events);
            }
            Some((write, error)) => self.on_failed(&of, &uid, write.as_ref(), &error),
        }
    }

    fn on_digests(&mut self, answered: Answered) {
        self.digests.answered(&answered, self.clock.now());
        // Whether it is the same Revision or a new one of its name, there may be more to ask for.
        self.waiting.insert(answered.revision.clone());
        for (image, digest) in answered.images {
            self.world.resolved(&answered.revision, &answered.uid, &image, digest);
        }
    }

    fn tell_all(&self, of: &Reference, uid: &str, events: Vec<Event>) {
        for event in events {
            self.tell(of, uid, event.is_warning, event.reason, event.text);
        }
    }

    fn on_failed(&mut self, of: &Reference, uid: &str, write: Option<&Write>, error: &CallError) {
        let failed = self.retries.failed(of.clone(), self.clock.now(), rand::random_range(0.5..1.0));
        if let Some(Write::Create(object)) = write
            && error.is_refusal()
        {
            if let Object::Revision(_) = object {
                self.world.revision_refused(of, error.to_string());
            }
            if failed.times == 1 {
                self.tell(of, uid, true, "CreationFailed", not_created(object, error));
            }
        }
        if error.is_conflict() {
            // The watch shows the new state soon.
            debug!(kind = of.kind.in_words().1, namespace = of.namespace, name = of.name, %error, "another client wrote first");
        } else {
            warn!(kind = of.kind.in_words().1, namespace = of.namespace, name = of.name, %error, tries = failed.times, "cannot write; trying again");
        }
        if failed.times == TRIES {
            self.tell(of, uid, true, "InternalError", error.to_string());
        }
        self.agenda.set(of.clone(), failed.again);
    }

    fn tell(&self, of: &Reference, uid: &str, is_warning: bool, reason: &'static str, text: String) {
        let (api_version, kind) = of.kind.in_words();
        let (namespace, name, uid) = (of.namespace.clone(), of.name.clone(), uid.to_owned());
        let notice = Notice { api_version, kind, namespace, name, uid, is_warning, reason, text };
        self.noticed.tell(notice, self.leads);
    }

    /// Examines what has changed, and publishes what others wait for.
    fn settle(&mut self) {
        if !Arc::ptr_eq(self.world.config(), &self.config.load()) {
            self.config.store(self.world.config().clone());
        }
        let is_complete = self.world.is_complete();
        self.synced.send_if_modified(|synced| !std::mem::replace(synced, is_complete) && is_complete);
        let touched = self.world.touched();
        if !self.leads || !is_complete {
            return;
        }
        self.waiting.extend(touched);
        for _ in 0..EXAMINED_AT_ONCE {
            let Some(of) = self.waiting.pop_first() else { break };
            self.examine(of);
        }
    }

    fn examine(&mut self, of: Reference) {
        if self.writing.contains(&of) {
            // Once that is written, there is more to know.
            self.blocked.insert(of);
            return;
        }
        let now = self.clock.now();
        if let Some(again) = self.retries.again(&of)
            && again > now
        {
            self.agenda.set(of, again);
            return;
        }
        let Some(mut plan) = self.world.plan(&of, timestamp(now)) else {
            self.retries.settled(&of);
            self.digests.forget(&of);
            return;
        };
        let (uid, events) = (std::mem::take(&mut plan.uid), std::mem::take(&mut plan.events));
        let again = plan.again.map(|again| {
            let again = Duration::try_from(again.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
            Tick::default().after(again)
        });
        if let Some(unresolved) = plan.images.take() {
            let within = self.world.config().deployment.digest_resolution_timeout;
            let may_ask = self.digests.want(&of, &uid, unresolved, within, now);
            if let Some(at) = again.into_iter().chain(may_ask).min() {
                self.agenda.set(of.clone(), at);
            }
        } else if let Some(at) = again {
            self.agenda.set(of.clone(), at);
        }
        if plan.is_empty() {
            return self.tell_all(&of, &uid, events);
        }
        self.writing.insert(of.clone());
        let (writer, places) = (self.writer.clone(), self.places.clone());
        self.writes.spawn(async move {
            // The semaphore is never closed.
            let _place = places.acquire_owned().await;
            let written = match caught(writer.carry_out(plan)).await {
                Ok(written) => written,
                Err(panicked) => Written { failed: Some((None, panicked.into())), ..Written::default() },
            };
            Done { of, uid, events, written }
        });
    }
}

/// Returns what is told of an object that the API server refuses to create.
fn not_created(object: &Object, error: &CallError) -> String {
    let Reference { kind, name, .. } = object.reference();
    match kind {
        Kind::Revision => format!("Failed to create Revision: {error}"),
        Kind::Front => format!("Failed to create placeholder service \"{name}\": {error}"),
        _ => format!("Failed to create {} \"{name}\": {error}", kind.in_words().1),
    }
}

/// Returns a time as the API has it.
fn timestamp(tick: Tick) -> Timestamp {
    let micros = i64::try_from(tick.since_epoch().as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}
