//! The task for all services: it collects events, decides, and starts the work that follows.
//!
//! If several autoscalers run, one of them leads ([`leadership`]). The others collect as well, so that the demand is
//! known when one of them takes over; they do not decide, scrape, write or send tables. What pods announce
//! ([`announcements`]) is passed on by every autoscaler that hears it.

mod announcements;
mod confirmations;
mod hosts;
mod leadership;
mod routes;
mod work;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
};

use ebb_core::{
    ServiceKey,
    link::{CertificateEntry, Down, Up},
    stat::Stat,
};
use ebb_proxy::{Drain, Limits, WallClock, net::Liveness, serve};
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::sleep_until};

use crate::{
    asks::{Ask, Asks, Known, Told, Why},
    collector::Collector,
    link::{Activators, Heard, LinkEvent, LinkHandler, LinkId},
    metrics::{Metrics, Views},
    route_views::RouteViews,
};
use confirmations::Confirmations;
use ebb_decide::platform::{EndpointSink, Exposed, FleetEvent, Gate, PodSource, ScaleTarget};
use ebb_decide::{
    Pod,
    route::RouteTable,
    service::{Cause, Explained, View},
    table::{Periods, Service, ServiceTable},
};
use work::Done;

/// Maximum number of pending messages of activators; each takes the task some microseconds.
const LINK_CAPACITY: usize = 4096;

/// Maximum number of pending announcements, for as many pods started at once; each takes the task some microseconds.
const ANNOUNCE_CAPACITY: usize = 1024;

/// A running autoscaler, until it is dropped or shut down.
#[derive(Debug)]
pub struct Autoscaler {
    views: Views,
    asks: Asks,
    drain: Drain,
    tasks: JoinSet<()>,
}

impl Autoscaler {
    /// Accepts activators on `listener` and scales the services of `platform`. `measured` adds the program's other
    /// metrics.
    pub fn start<P>(
        listener: TcpListener,
        platform: Arc<P>,
        clock: WallClock,
        periods: Periods,
        measured: impl FnOnce(&mut Registry),
    ) -> Self
    where
        P: PodSource + ScaleTarget + EndpointSink + Gate,
    {
        let (events, said) = mpsc::channel(LINK_CAPACITY);
        let (asks, asked) = Asks::new();
        let (heard, announced) = mpsc::channel(ANNOUNCE_CAPACITY);
        let views = Views::default();
        let route_views = RouteViews::default();
        let metrics = Metrics::new(&views, |registry| {
            registry.register_collector(Box::new(route_views.clone()));
            measured(registry);
        });
        let drain = Drain::default();
        let intake = Arc::new(LinkHandler {
            gate: platform.clone(),
            events: Arc::new(events),
            heard,
            asks: asks.clone(),
            metrics: metrics.clone(),
            drain: drain.clone(),
            next: AtomicU64::new(0),
            told_at: Mutex::default(),
        });
        let fleet = platform.watch();
        let runtime = Runtime {
            clock,
            platform,
            metrics,
            collector: Collector::new(),
            views: views.clone(),
            route_views,
            services: ServiceTable::new(periods),
            routes: RouteTable::default(),
            exposed: HashMap::new(),
            hosts_known: false,
            certificates: HashMap::new(),
            complete: false,
            leads: false,
            activators: Activators::default(),
            confirmations: Confirmations::default(),
            work: JoinSet::new(),
        };
        let mut tasks = JoinSet::new();
        // Activators and pods are in the same network as the autoscaler's pod.
        let limits = Limits { liveness: Liveness::POD, ..Limits::default() };
        tasks.spawn(serve(listener, intake, drain.clone(), limits));
        tasks.spawn(runtime.run(Inputs { said, announced, asked }, fleet));
        Self { views, asks, drain, tasks }
    }

    /// Returns the current view of `service`; `None` if it is not known.
    pub fn view(&self, service: &ServiceKey) -> Option<View> {
        self.views.get(service).map(|shown| shown.view)
    }

    /// Returns the last decisions about `service`, oldest first; none if it is not known.
    pub async fn history(&self, service: &ServiceKey) -> Vec<Explained> {
        match self.asks.explain(service).await {
            Some(Told { known: Known::Service(why), .. }) => why.history,
            _ => Vec::new(),
        }
    }

    /// Resolves if the autoscaler has ended by itself, because its platform is gone or its task panicked. Nothing is
    /// scaled any more, so the program should exit and be restarted.
    pub async fn ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            tracing::error!(%error, "the autoscaler has failed");
        } else {
            tracing::error!("the autoscaler's platform is gone");
        }
    }

    /// Stops the autoscaler. Scales and endpoints stay as they are.
    pub async fn shut_down(mut self) {
        self.drain.abort();
        self.tasks.shutdown().await;
    }
}

struct Runtime<P> {
    clock: WallClock,
    platform: Arc<P>,
    metrics: Arc<Metrics>,
    collector: Arc<Collector>,
    views: Views,
    route_views: RouteViews,
    services: ServiceTable,
    routes: RouteTable,
    /// How services and routes are reached through the gateway, for those that are.
    exposed: HashMap<ServiceKey, Exposed>,
    /// Whether the platform has reported the hosts.
    hosts_known: bool,
    /// The certificates that the gateway serves, by their Secrets.
    certificates: HashMap<ServiceKey, CertificateEntry>,
    /// Whether the platform has reported all services and routes.
    complete: bool,
    /// Whether this autoscaler leads, and thus decides and writes.
    leads: bool,
    activators: Activators,
    confirmations: Confirmations,
    work: JoinSet<Done>,
}

/// The sources of events other than the platform.
struct Inputs {
    said: mpsc::Receiver<LinkEvent>,
    announced: mpsc::Receiver<Heard>,
    asked: mpsc::Receiver<Ask>,
}

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    async fn run(mut self, inputs: Inputs, mut fleet: impl Stream<Item = FleetEvent> + Unpin) {
        let Inputs { mut said, mut announced, mut asked } = inputs;
        loop {
            let due = [
                self.services.next_due(),
                self.routes.next_due(),
                self.activators.next_look(),
                self.confirmations.next_due(),
            ];
            let due = due.into_iter().flatten().min();
            tokio::select! {
                Some(event) = said.recv() => self.on_link(event),
                Some(heard) = announced.recv() => self.on_announced(heard),
                Some(ask) = asked.recv() => self.on_ask(ask),
                event = fleet.next() => match event {
                    Some(event) => self.on_fleet(event),
                    // The platform is gone, so the autoscaler ends.
                    None => return,
                },
                // An error means that the task was stopped. A task that panics returns a result.
                Some(done) = self.work.join_next() => if let Ok(done) = done {
                    self.on_done(done);
                },
                () = sleep_until(self.clock.instant(due.unwrap_or_default())), if due.is_some() => self.on_due(),
            }
        }
    }

    fn on_ask(&self, ask: Ask) {
        let why = |service: &Service| Why {
            leads: self.leads,
            view: service.state.view(),
            history: service.state.history().iter().cloned().collect(),
        };
        let service = self.services.get(&ask.service).map(|service| Known::Service(why(service)));
        let route = || self.routes.get(&ask.service).map(|route| Known::Route(self.whither(route)));
        let exposed = self.exposed.get(&ask.service).cloned();
        let answer = service.or_else(route).map(|known| Told { known, exposed });
        // The asker may be gone.
        let _ = ask.answer.send(answer);
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Joined(id, down) => {
                let first = if self.leads {
                    self.tables()
                } else {
                    Down { announced: self.announced(), ..Down::default() }
                };
                self.activators.join(id, down, first);
                // It does not listen for any service yet.
                self.count_activators();
                self.confirm_all();
            }
            LinkEvent::Said(id, up) => self.on_up(id, &up),
            LinkEvent::Left(id, end) => {
                let answered = self.activators.leave(id, end, self.clock.now());
                self.answering_changed(answered);
            }
        }
    }

    fn on_up(&mut self, id: LinkId, up: &Up) {
        let now = self.clock.now();
        let again = self.activators.heard(id, now);
        if !again.is_empty() {
            self.answering_changed(again);
        }
        if let Some(hello) = &up.hello {
            self.activators.hello(id, hello, now);
            self.count_activators();
        }
        let mut changed: HashSet<Arc<ServiceKey>> = HashSet::new();
        for news in &up.listening {
            let key = news.service();
            let known = self.services.key(&key).or_else(|| self.routes.key(&key));
            let key = known.unwrap_or_else(|| Arc::new(key));
            self.activators.listening(id, key.clone(), news);
            changed.insert(key);
        }
        if up.hello.is_some() {
            // Its address is part of all its endpoints.
            changed.extend(self.activators.services_of(id).cloned());
        }
        for key in changed {
            self.activators_of_changed(&key);
        }
        if up.applied > 0 {
            self.activators.applied(id, up.applied);
        }
        if up.hello.is_some() || up.applied > 0 {
            self.confirm_all();
        }
        if self.activators.is_superseded(id) {
            // It sends the same on its newer stream.
            return;
        }
        for message in up.stats.iter().flat_map(|stats| &stats.messages) {
            if let Some(stat) = &message.stat {
                self.on_report(&message.service(), stat);
            }
        }
        for news in up.unanswered.iter().filter(|news| news.requests > 0) {
            self.platform.unanswered(&news.service());
        }
    }

    fn on_report(&mut self, key: &ServiceKey, stat: &Stat) {
        if !stat.is_sane() {
            self.metrics.insane_reports.inc();
            return;
        }
        let now = self.clock.now();
        let asks_for_more = self.services.get_mut(key).is_some_and(|service| service.state.report(now, stat));
        if asks_for_more {
            self.evaluate(key, Cause::Poke);
        }
        if !self.leads {
            self.services.look_again(key, now);
        }
    }

    fn count_activators(&self) {
        let count = |of: usize| i64::try_from(of).unwrap_or(i64::MAX);
        self.metrics.activators.set(count(self.activators.len()));
        self.metrics.doubtful_activators.set(count(self.activators.doubtful()));
    }

    /// Updates `services`, for which other activators answer than before.
    fn answering_changed(&mut self, services: impl IntoIterator<Item = Arc<ServiceKey>>) {
        self.count_activators();
        for key in services {
            self.activators_of_changed(&key);
        }
        self.confirm_all();
    }

    fn activators_of_changed(&mut self, key: &ServiceKey) {
        let answering = self.activators.answering(key);
        if let Some(service) = self.services.get_mut(key) {
            service.state.set_activators(answering, self.clock.now());
            self.evaluate(key, Cause::Change);
        } else if let Some(route) = self.routes.get_mut(key) {
            route.state.set_activators(answering);
            self.evaluate_route(key);
        }
    }

    fn on_fleet(&mut self, event: FleetEvent) {
        let now = self.clock.now();
        let key = match event {
            FleetEvent::Route { key, split, port } => return self.on_route(&key, split, port),
            FleetEvent::Service { key, spec, port } => {
                self.forget_route(&key);
                let is_new = self.services.get(&key).is_none();
                let service = self.services.set_spec(key.clone(), spec, port, now);
                if is_new {
                    service.state.set_activators(self.activators.answering(&key), now);
                    self.see_whether_any_activator_takes(&key);
                }
                key
            }
            FleetEvent::Pods { key, pods, replicas, trouble } => {
                let Some(service) = self.services.get_mut(&key) else { return };
                let before: Vec<SocketAddr> = service.state.pods().iter().filter_map(Pod::stats).collect();
                let was_known = service.state.replicas().is_some();
                service.state.set_pods(pods, replicas, now);
                let kept: HashSet<SocketAddr> = service.state.pods().iter().filter_map(Pod::stats).collect();
                self.collector.forget(before.into_iter().filter(|address| !kept.contains(address)));
                service.trouble = trouble;
                if !was_known {
                    // Activators must know it before the routes that were waiting for it.
                    self.tell(&key);
                    self.tell_routes_of(&key);
                }
                key
            }
            FleetEvent::Hosts(changed) => return self.on_hosts(changed),
            FleetEvent::Certificate(certificate) => return self.on_certificate(certificate),
            FleetEvent::Gone(key) => return self.on_gone(&key),
            FleetEvent::Confirm { key, ask } => return self.on_confirm(&key, ask),
            FleetEvent::Leadership { leads } => return self.on_leadership(leads),
            FleetEvent::Replicas(replicas) => return self.activators.tell_replicas(&replicas),
            FleetEvent::ActivatorPods(pods) => {
                let changed = self.activators.set_pods(&pods);
                return self.answering_changed(changed);
            }
            FleetEvent::Complete => {
                self.complete = true;
                return self.tell_tables();
            }
        };
        // Tell activators first: held requests should not wait for the decision below.
        self.tell(&key);
        self.evaluate(&key, Cause::Change);
    }

    /// Tells activators about a service, if it is known and this autoscaler leads.
    fn tell(&mut self, key: &ServiceKey) {
        if let Some(service) = self.services.get(key).filter(|_| self.leads)
            && service.state.replicas().is_some()
        {
            self.activators.tell(service);
            self.number_if_told(key);
        }
    }

    fn on_gone(&mut self, key: &ServiceKey) {
        self.confirmations.forget(key);
        self.forget_service(key);
        self.forget_route(key);
        // Evaluate before activators refuse its share: a rollout may be about to leave it.
        self.evaluate_routes_of(key);
        self.activators.tell_gone(key);
        self.views.remove(key);
    }

    fn forget_service(&mut self, key: &ServiceKey) {
        if let Some(service) = self.services.remove(key) {
            self.collector.forget(service.state.pods().iter().filter_map(Pod::stats));
        }
    }

    fn on_due(&mut self) {
        let now = self.clock.now();
        while let Some(key) = self.routes.due(now) {
            self.evaluate_route(&key);
        }
        self.confirm_due();
        while let Some(key) = self.services.due(now) {
            if self.leads {
                self.evaluate(&key, Cause::Tick);
            } else {
                self.services.rest_unled(&key, now);
            }
        }
        while let Some(key) = self.services.due_to_be_asked(now) {
            self.scrape(&key, now);
        }
        if self.activators.next_look().is_some_and(|at| at <= now) {
            let changed = self.activators.look(now);
            if changed.is_empty() {
                // One that is silent may answer for nothing.
                self.confirm_all();
            } else {
                self.answering_changed(changed);
            }
        }
    }

    /// Decides on a service, if this autoscaler leads. A service whose pods are not known yet is left unchanged.
    fn evaluate(&mut self, key: &ServiceKey, cause: Cause) {
        let is_known = self.services.get(key).is_some_and(|service| service.state.replicas().is_some());
        if !self.leads || !is_known {
            return;
        }
        let now = self.clock.now();
        let Some(actions) = self.services.evaluate(key, now, cause) else { return };
        let Some(service) = self.services.get_mut(key) else { return };
        service.pending.want_scale(actions.scale_to);
        let moved = actions.publish.is_some();
        if let Some(endpoints) = actions.publish {
            service.pending.publishing.want(endpoints);
        }
        self.views.show(&service.key, service.state.view());
        if actions.sharing_changed {
            self.activators.tell(service);
        }
        self.do_pending(key);
        if moved {
            self.evaluate_routes_of(key);
        }
    }
}
