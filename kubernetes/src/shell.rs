//! The task that feeds the [`World`] and carries out its decisions, one write at a time for each service.

mod conditions;

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use ebb_annotations::ClusterDefaults;
use ebb_cluster::{
    CallError, Notice, Notices,
    pacing::{Agenda, Retries},
    watches::{self, Name, Seen, kept},
};
use ebb_core::ServiceKey;
use ebb_proxy::{WallClock, program::caught};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::{Client, core::ApiResource};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch as observed},
    task::JoinSet,
    time::sleep_until,
};
use tracing::{debug, info, warn};

use super::{
    Confirmed, Directory, Identity, Known, http_routes, kinds, secrets,
    settings::{self, Refused},
    watch::{self, Fact},
    world::{Listing, Plan, Step, World},
    write::{Writer, Written},
};
use crate::Claims;
use conditions::Conditions;
use ebb_decide::endpoints::Endpoints;
use ebb_decide::platform::FleetEvent;
use ebb_decide::route::rollout::Progress;

/// Maximum number of pending facts.
const FACT_CAPACITY: usize = 1024;
/// Maximum number of services written for at once. Scales are written separately.
const WRITTEN_AT_ONCE: usize = 32;
/// Shortest and longest pause between two attempts to write for one service.
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(30)];
/// Number of failed attempts in a row after which the owner gets an Event.
const TRIES: u32 = 5;
/// Pause between two checks for a kind that the cluster does not have.
const KIND_RETRY: Duration = Duration::from_secs(30);
/// The labels of the autoscalers' and the activators' pods.
const OWN_LABEL: (&str, &str) = ("app.kubernetes.io/component", "autoscaler");
const ACTIVATOR_LABEL: (&str, &str) = ("app.kubernetes.io/component", "activator");

/// A request from the autoscaler.
#[derive(Debug)]
pub(super) enum Command {
    /// Publish these endpoints for the service. Answers when they are published.
    Publish(ServiceKey, Endpoints, oneshot::Sender<Result<(), String>>),
    /// Write the progress of the route's rollout on it.
    Keep(ServiceKey, Option<Progress>),
    /// This many pods were written.
    Scaled(ServiceKey, u32),
    /// Requests gave up because no pod answered.
    Unanswered(ServiceKey),
}

/// Where results go.
pub(super) struct Outlets {
    /// For scaling.
    pub(super) directory: Arc<Directory>,
    /// For the sidecar injector.
    pub(super) claims: Claims,
    /// Events for the autoscaler.
    pub(super) fleet: mpsc::Sender<FleetEvent>,
    /// Set once everything was listed.
    pub(super) syncing: observed::Sender<bool>,
    /// The cluster's settings.
    pub(super) defaults: Arc<ArcSwap<ClusterDefaults>>,
}

/// The state of the task.
pub(super) struct Shell {
    writer: Writer,
    clock: WallClock,
    identity: Identity,
    outlets: Outlets,
    world: World,
    seen: Seen<Fact>,
    noticed: Notices,
    leads: bool,
    replicas: Vec<SocketAddr>,
    activators: Vec<(IpAddr, bool)>,
    watched: HashSet<String>,
    writing: HashSet<ServiceKey>,
    /// When to look at each service again, even if nothing happens.
    agenda: Agenda<ServiceKey>,
    /// Services for which a write failed.
    retries: Retries<ServiceKey>,
    publishing: HashMap<ServiceKey, oneshot::Sender<Result<(), String>>>,
    conditions: Conditions,
    places: Arc<Semaphore>,
    writes: JoinSet<Done>,
    work: JoinSet<Done>,
    watches: JoinSet<()>,
    incoming: Option<mpsc::Receiver<Fact>>,
    /// The Secrets whose certificates are served.
    secrets: observed::Sender<HashMap<ServiceKey, u64>>,
    /// The HTTPRoutes that should exist; `None` while that is unknown, or while another autoscaler leads.
    http_routes: observed::Sender<Option<http_routes::Wanted>>,
    /// Whether valid settings were read. Before that it is unknown whether a Gateway is set.
    knows_settings: bool,
    /// The uid of the settings' ConfigMap.
    settings_uid: String,
}

/// The result of a piece of work.
enum Done {
    Wrote(ServiceKey, bool, Result<Written, CallError>),
    Showed(ServiceKey, Result<Box<Service>, CallError>),
    Resolved(String, Result<ApiResource, String>),
}

impl Shell {
    pub(super) fn new(writer: Writer, clock: WallClock, identity: Identity, outlets: Outlets) -> Self {
        let (to, incoming) = mpsc::channel(FACT_CAPACITY);
        let seen = Seen { to, metrics: writer.calls.metrics.clone() };
        let mut watches = JoinSet::new();
        let (noticed, write) = Notices::new(
            writer.calls.client.clone(),
            "ebb.dev/autoscaler",
            "Scaling",
            &identity.pod,
            writer.calls.metrics.clone(),
        );
        watches.spawn(write);
        Self {
            world: World::new(outlets.defaults.load_full()),
            writer,
            clock,
            identity,
            outlets,
            seen,
            noticed,
            leads: false,
            replicas: Vec::new(),
            activators: Vec::new(),
            watched: HashSet::new(),
            writing: HashSet::new(),
            agenda: Agenda::default(),
            retries: Retries::new(RETRY),
            publishing: HashMap::new(),
            conditions: Conditions::default(),
            places: Arc::new(Semaphore::new(WRITTEN_AT_ONCE)),
            writes: JoinSet::new(),
            work: JoinSet::new(),
            watches,
            incoming: Some(incoming),
            secrets: observed::Sender::default(),
            http_routes: observed::Sender::default(),
            knows_settings: false,
            settings_uid: String::new(),
        }
    }

    pub(super) async fn run(
        mut self,
        mut commanded: mpsc::Receiver<Command>,
        confirmed: Arc<Confirmed>,
        mut leads: observed::Receiver<bool>,
    ) {
        let Some(mut incoming) = self.incoming.take() else { return };
        self.follow();
        loop {
            let due = [self.agenda.next(), self.conditions.next_due()].into_iter().flatten().min();
            tokio::select! {
                Some(fact) = incoming.recv() => {
                    self.on_fact(fact);
                    // Facts that arrive together are handled together.
                    while let Ok(fact) = incoming.try_recv() {
                        self.on_fact(fact);
                    }
                }
                command = commanded.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
                news = confirmed.take() => {
                    for (key, (ask, applied)) in news {
                        self.world.confirmed(&key, ask, applied);
                    }
                }
                // A task that panics reports it in its result; the result of a stopped one is not needed.
                Some(Ok(done)) = self.writes.join_next() => self.on_done(done),
                Some(Ok(done)) = self.work.join_next() => self.on_done(done),
                changed = leads.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let leads = *leads.borrow_and_update();
                    if self.outlets.fleet.send(FleetEvent::Leadership { leads }).await.is_err() {
                        return;
                    }
                    self.leads = leads;
                    if leads {
                        self.world.lead(self.clock.now());
                    } else {
                        // Another autoscaler writes from now on.
                        self.writes = JoinSet::new();
                        for key in self.writing.drain() {
                            self.world.slices_written(&key, Vec::new());
                        }
                        self.publishing.clear();
                        self.retries.clear();
                        self.conditions.stand_by();
                    }
                }
                () = sleep_until(self.clock.instant(due.unwrap_or_default())), if due.is_some() => self.on_due(),
            }
            if self.settle().await.is_err() {
                return;
            }
        }
    }

    /// Starts the watches that every cluster needs.
    fn follow(&mut self) {
        self.keep_watching(watch::services);
        self.keep_watching(watch::pods);
        self.keep_watching(watch::slices);
        self.keep_watching(watch::namespaces);
        let (calls, wanted, told) =
            (self.writer.calls.clone(), self.secrets.subscribe(), self.seen.to.clone());
        self.watches.spawn(kept(self.seen.metrics.clone(), move || {
            secrets::follow(calls.clone(), wanted.clone(), told.clone())
        }));
        let (calls, clock) = (self.writer.calls.clone(), self.clock);
        let (wanted, told) = (self.http_routes.subscribe(), self.seen.to.clone());
        self.watches.spawn(kept(self.seen.metrics.clone(), move || {
            http_routes::keep(calls.clone(), clock, wanted.clone(), told.clone())
        }));
        let namespace = self.identity.namespace.clone();
        self.keep_watching(move |client, seen| {
            watch::settings(client, seen, namespace.clone(), settings::NAME)
        });
    }

    fn keep_watching<W>(&mut self, watch: impl Fn(Client, Seen<Fact>) -> W + Send + 'static)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        watches::keep(&mut self.watches, self.writer.calls.client.clone(), self.seen.clone(), watch);
    }

    fn on_fact(&mut self, fact: Fact) {
        let world = &mut self.world;
        match fact {
            Fact::Service(service) => world.service(*service),
            Fact::ServiceGone(key) => world.service_gone(&key),
            Fact::Pod((namespace, name), facts) => world.pod(&namespace, &name, facts.map(|facts| *facts)),
            Fact::Slice(service, name, Some(facts)) => world.slice(&service, &name, facts),
            Fact::Slice(service, name, None) => world.slice_gone(&service, &name),
            Fact::Target(target, facts) => world.target_seen(&target, facts.as_ref()),
            Fact::Namespace(name, uid, allowed) => world.namespace(&name, &uid, allowed.as_deref()),
            Fact::Certificate(secret, read) => world.certificate(&secret, read),
            Fact::HttpRoute(service, trouble) => world.http_route_trouble(&service, trouble),
            Fact::HttpRoutes(Ok(())) => info!("HTTPRoutes can be written"),
            Fact::HttpRoutes(Err(why)) => {
                let text = format!("gateway-parent: Ebb cannot write HTTPRoutes: {why}; it tries again");
                self.tell_of_settings("NoHttpRoutes", text);
            }
            Fact::NamespaceGone(name) => world.namespace_gone(&name),
            Fact::Listed(listing, names) => {
                self.forget_others(&listing, &names);
                self.world.listed(&listing);
            }
            Fact::Settings(map) => {
                self.on_settings(map.as_deref());
                self.world.listed(&Listing::Settings);
            }
            Fact::Unknowable(kind, why) => world.unknowable(&kind, why),
            Fact::SliceLost((namespace, name)) => world.slice_lost(&namespace, &name),
        }
    }

    /// Removes everything known that is not among `names`.
    fn forget_others(&mut self, listing: &Listing, names: &HashSet<Name>) {
        let world = &mut self.world;
        let is_gone = |namespace: &str, name: &str| !names.contains(&(namespace.to_owned(), name.to_owned()));
        match listing {
            Listing::Services => {
                for key in world.known_services() {
                    if is_gone(&key.namespace, &key.name) {
                        world.service_gone(&key);
                    }
                }
            }
            Listing::Pods => {
                for (namespace, name) in world.known_pods() {
                    if is_gone(&namespace, &name) {
                        world.pod(&namespace, &name, None);
                    }
                }
            }
            Listing::Slices => {
                for (service, name) in world.known_slices() {
                    if is_gone(&service.namespace, &name) {
                        world.slice_gone(&service, &name);
                    }
                }
            }
            Listing::Namespaces => {
                for name in world.kept_namespaces() {
                    if is_gone("", &name) {
                        world.namespace_gone(&name);
                    }
                }
            }
            Listing::Settings if names.is_empty() => self.on_settings(None),
            Listing::Settings => {}
            Listing::Targets(kind) => {
                for target in world.known_targets(kind) {
                    if is_gone(&target.namespace, &target.name) {
                        world.target_seen(&target, None);
                    }
                }
            }
        }
    }

    fn on_settings(&mut self, map: Option<&ConfigMap>) {
        self.settings_uid = map.and_then(|map| map.metadata.uid.clone()).unwrap_or_default();
        match settings::read(map) {
            Ok(settings) => {
                self.knows_settings = true;
                self.world.set_gateway(settings.gateway);
                let defaults = Arc::new(settings.defaults);
                self.outlets.defaults.store(defaults.clone());
                self.world.set_defaults(defaults, settings.releases);
            }
            Err(Refused { faults, releases }) => {
                // Giving services back must work even if other settings are invalid.
                self.world.set_defaults(self.outlets.defaults.load_full(), releases);
                let text = format!("{}; the last valid settings stay in effect", faults.join("; "));
                self.tell_of_settings("InvalidSettings", text);
            }
        }
    }

    /// Reports a problem with the cluster's settings.
    fn tell_of_settings(&self, reason: &'static str, text: String) {
        let notice = Notice {
            api_version: "v1",
            kind: "ConfigMap",
            namespace: self.identity.namespace.clone(),
            name: settings::NAME.to_owned(),
            uid: self.settings_uid.clone(),
            is_warning: true,
            reason,
            text,
        };
        self.noticed.tell(notice, self.leads);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish(service, endpoints, done) => {
                if self.world.want(&service, endpoints) {
                    // Dropping the earlier sender tells its receiver that the request is out of date.
                    self.publishing.insert(service, done);
                }
            }
            Command::Keep(route, progress) => self.world.keep(&route, progress),
            Command::Scaled(service, pods) => self.world.scaled(&service, pods),
            Command::Unanswered(service) => self.world.unanswered(&service, self.clock.now()),
        }
    }

    fn on_due(&mut self) {
        let now = self.clock.now();
        while let Some(key) = self.agenda.pop(now) {
            self.advance(key);
        }
        self.show_due_conditions();
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Wrote(key, is_slices, result) => {
                self.writing.remove(&key);
                match result {
                    Ok(written) => {
                        self.retries.settled(&key);
                        if let Some(service) = written.service {
                            self.world.written(*service);
                        }
                        self.world.slices_written(&key, written.slices);
                        self.advance(key);
                    }
                    Err(error) => self.on_failed(key, is_slices, &error),
                }
            }
            Done::Showed(key, result) => self.on_showed(&key, result),
            Done::Resolved(kind, Ok(resource)) => {
                self.outlets.directory.kinds.write().insert(kind.clone(), resource.clone());
                self.keep_watching(move |client, seen| {
                    watch::targets(client, seen, kind.clone(), resource.clone())
                });
            }
            Done::Resolved(kind, Err(why)) => {
                warn!(kind, why, "cannot scale objects of this kind; trying again");
                self.world.unknowable(&kind, why);
                self.resolve(kind, KIND_RETRY);
            }
        }
    }

    fn on_failed(&mut self, key: ServiceKey, is_slices: bool, error: &CallError) {
        let failed = self.retries.failed(key.clone(), self.clock.now(), rand::random_range(0.5..1.0));
        if error.is_conflict() {
            // The watch shows the new state soon.
            debug!(service = %key, %error, "another client wrote first");
        } else {
            warn!(service = %key, %error, tries = failed.times, "cannot write; trying again");
            if failed.times == TRIES {
                self.world.cannot_write(&key, &error.to_string());
            }
        }
        if is_slices && let Some(done) = self.publishing.remove(&key) {
            // The receiver may be gone.
            let _ = done.send(Err(error.to_string()));
        }
        self.agenda.set(key, failed.again);
    }

    /// Passes on the results of what happened.
    async fn settle(&mut self) -> Result<(), mpsc::error::SendError<FleetEvent>> {
        self.watch_kinds();
        let events = self.world.take_events();
        let secrets = self.world.wanted_secrets();
        self.secrets.send_if_modified(|wanted| {
            let is_news = wanted != secrets;
            if is_news {
                wanted.clone_from(secrets);
            }
            is_news
        });
        self.want_http_routes();
        for event in events {
            self.outlets.fleet.send(event).await?;
        }
        let replicas = self.world.addresses(&self.identity.namespace, OWN_LABEL, self.identity.link.port());
        if replicas != self.replicas {
            self.replicas.clone_from(&replicas);
            self.outlets.fleet.send(FleetEvent::Replicas(replicas)).await?;
        }
        let activators = self.world.readiness(&self.identity.namespace, ACTIVATOR_LABEL);
        if activators != self.activators {
            self.activators.clone_from(&activators);
            self.outlets.fleet.send(FleetEvent::ActivatorPods(activators)).await?;
        }
        let is_complete = self.world.is_complete();
        self.outlets
            .syncing
            .send_if_modified(|synced| !std::mem::replace(synced, is_complete) && is_complete);
        for key in self.world.take_touched() {
            self.know(&key);
            // First, because somebody may be waiting for it.
            self.show_condition(&key);
            self.advance(key);
        }
        for notice in self.world.take_notices() {
            self.noticed.tell(notice, self.leads);
        }
        Ok(())
    }

    /// Passes on which HTTPRoutes should exist.
    fn want_http_routes(&self) {
        let is_known = self.leads && self.knows_settings && self.world.is_complete();
        let now = self.world.http_routes().filter(|_| is_known);
        self.http_routes.send_if_modified(|wanted| {
            let is_news = wanted.as_ref() != now;
            if is_news {
                *wanted = now.cloned();
            }
            is_news
        });
    }

    /// Watches objects of kinds that were not named before.
    fn watch_kinds(&mut self) {
        let new: HashSet<String> =
            self.world.kinds().filter(|kind| !self.watched.contains(*kind)).map(str::to_owned).collect();
        for kind in new {
            self.watched.insert(kind.clone());
            self.resolve(kind, Duration::ZERO);
        }
    }

    /// Resolves the kind in the API after `pause`.
    fn resolve(&mut self, kind: String, pause: Duration) {
        let (client, metrics) = (self.writer.calls.client.clone(), self.writer.calls.metrics.clone());
        self.work.spawn(async move {
            tokio::time::sleep(pause).await;
            let resolved = caught(kinds::resolve(&client, &kind)).await.unwrap_or_else(|panicked| {
                metrics.panicked("resolve");
                Err(panicked.to_string())
            });
            Done::Resolved(kind, resolved)
        });
    }

    /// Updates what others need to know of the service, to scale it and to inject sidecars.
    fn know(&self, key: &ServiceKey) {
        match self.world.claim_of(key) {
            Some(claim) => self.outlets.claims.put(claim.clone()),
            None => self.outlets.claims.remove(key),
        }
        self.outlets.claims.set_route(key, self.world.is_route(key));
        let known = self.world.target(key).map(|target| {
            let (replicas, sharing) = self.world.shared(&target);
            Known { target, replicas, sharing, marked: self.world.marked_pods(key) }
        });
        self.outlets.directory.know(key, known);
    }

    /// Carries out the next step for the service, if this autoscaler leads and no write is under way.
    fn advance(&mut self, key: ServiceKey) {
        if !self.leads || self.writing.contains(&key) || !self.world.is_complete() {
            return;
        }
        let now = self.clock.now();
        if !self.retries.may_try(&key, now) {
            return;
        }
        let plan = self.world.step(&key, now);
        let is_slices = matches!(plan, Plan::Do(Step::Slices { .. }));
        if !is_slices && let Some(done) = self.publishing.remove(&key) {
            let _ = done.send(Ok(()));
        }
        match plan {
            Plan::Rest => {
                // Nothing is left to write; the service may be gone.
                self.retries.settled(&key);
            }
            Plan::Wait(rest) => {
                self.agenda.set(key, now.after(rest));
            }
            Plan::Do(step) => {
                let (writer, places) = (self.writer.clone(), self.places.clone());
                self.writing.insert(key.clone());
                self.writes.spawn(async move {
                    // The semaphore is never closed.
                    let _place = places.acquire().await;
                    let result = caught(writer.carry_out(&key, step)).await.unwrap_or_else(|panicked| {
                        writer.calls.metrics.panicked("write");
                        Err(panicked.into())
                    });
                    Done::Wrote(key, is_slices, result)
                });
            }
        }
    }
}
