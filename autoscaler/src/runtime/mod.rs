//! One task for all services: it gathers what happens, has it decided, and has it done.

mod work;

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use ebb_core::{ServiceKey, Tick, link::Up, stat::Stat};
use ebb_proxy::{Drain, Limits, WallClock, serve};
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    collector::Collector,
    link::{Activators, Intake, LinkEvent, LinkId, entry},
    metrics::{Metrics, ServiceMetrics},
    platform::{EndpointSink, FleetEvent, PodSource, ScaleTarget},
    scheduler::{Scheduler, first_tick},
    service::{Cause, Explained, ServiceState, View},
};
use work::{Done, Pending};

/// Messages of activators that may wait for the task; each takes it some microseconds.
const LINK_CAPACITY: usize = 4096;

/// Questions that may wait for the task.
const ASK_CAPACITY: usize = 16;

/// How often what is done without being asked for.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// Each service is decided on so often.
    pub decide: Duration,
    /// Each service's pods are asked so often. Windows count in whole seconds: this must stay one.
    pub scrape: Duration,
}

impl Default for Periods {
    /// The reference's (`spec/autoscaler.md`, section 1).
    fn default() -> Self {
        Self { decide: Duration::from_secs(2), scrape: Duration::from_secs(1) }
    }
}

/// An autoscaler, running until it is dropped or shut down.
#[derive(Debug)]
pub struct Autoscaler {
    views: Views,
    asks: mpsc::Sender<Ask>,
    drain: Drain,
    tasks: JoinSet<()>,
}

type Views = Arc<Mutex<HashMap<ServiceKey, View>>>;

/// Somebody wants to know why a service has the pods it has.
struct Ask {
    service: ServiceKey,
    answer: oneshot::Sender<Vec<Explained>>,
}

impl Autoscaler {
    /// Takes activators on `listener` and scales what `platform` tells of.
    pub fn start<P>(listener: TcpListener, platform: Arc<P>, clock: WallClock, periods: Periods) -> Self
    where
        P: PodSource + ScaleTarget + EndpointSink,
    {
        let (events, said) = mpsc::channel(LINK_CAPACITY);
        let (asks, asked) = mpsc::channel(ASK_CAPACITY);
        let metrics = Metrics::new();
        let drain = Drain::default();
        let intake = Arc::new(Intake {
            events: Arc::new(events),
            metrics: metrics.clone(),
            drain: drain.clone(),
            next: AtomicU64::new(0),
        });
        let views = Views::default();
        let fleet = platform.watch();
        let runtime = Runtime {
            clock,
            periods,
            platform,
            metrics,
            collector: Collector::new(),
            views: views.clone(),
            services: HashMap::new(),
            activators: Activators::default(),
            scheduler: Scheduler::default(),
            work: JoinSet::new(),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, intake, drain.clone(), Limits::default()));
        tasks.spawn(runtime.run(said, asked, fleet));
        Self { views, asks, drain, tasks }
    }

    /// What is seen of `service` now; `None` if it is not known.
    pub fn view(&self, service: &ServiceKey) -> Option<View> {
        self.views.lock().get(service).copied()
    }

    /// The last decisions about `service`, oldest first; none if it is not known.
    pub async fn history(&self, service: &ServiceKey) -> Vec<Explained> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask { service: service.clone(), answer };
        // An autoscaler that has ended knows nothing any more.
        if self.asks.send(ask).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Ends. Scales and endpoints stay as they are.
    pub async fn shut_down(mut self) {
        self.drain.abort();
        self.tasks.shutdown().await;
    }
}

struct Runtime<P> {
    clock: WallClock,
    periods: Periods,
    platform: Arc<P>,
    metrics: Arc<Metrics>,
    collector: Arc<Collector>,
    views: Views,
    services: HashMap<ServiceKey, Service>,
    activators: Activators,
    scheduler: Scheduler,
    work: JoinSet<Done>,
}

struct Service {
    state: ServiceState,
    port: u16,
    trouble: String,
    pending: Pending,
    metrics: ServiceMetrics,
}

impl<P: ScaleTarget + EndpointSink> Runtime<P> {
    async fn run(
        mut self,
        mut said: mpsc::Receiver<LinkEvent>,
        mut asked: mpsc::Receiver<Ask>,
        mut fleet: mpsc::Receiver<FleetEvent>,
    ) {
        let mut scrape = interval(self.periods.scrape);
        scrape.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.scheduler.next_due();
            tokio::select! {
                Some(event) = said.recv() => self.on_link(event),
                Some(ask) = asked.recv() => self.on_ask(ask),
                event = fleet.recv() => match event {
                    Some(event) => self.on_fleet(event),
                    // The platform is gone; so are we.
                    None => return,
                },
                Some(done) = self.work.join_next() => match done {
                    Ok(done) => self.on_done(done),
                    Err(error) => tracing::error!(%error, "work failed"),
                },
                () = sleep_until(self.clock.instant(due.unwrap_or_default())), if due.is_some() => self.on_due(),
                _ = scrape.tick() => self.scrape_all(),
            }
        }
    }

    fn on_ask(&self, ask: Ask) {
        let history = self.services.get(&ask.service).map(|service| service.state.history());
        let answer = history.map(|history| history.iter().cloned().collect()).unwrap_or_default();
        // Who asked may have gone.
        let _ = ask.answer.send(answer);
    }

    fn on_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Joined(id, down) => {
                let all = self.services.iter().map(|(key, service)| service.entry(key)).collect();
                self.activators.join(id, down, all);
                // It answers for nothing before it has said so.
                self.count_activators();
            }
            LinkEvent::Said(id, up) => self.on_up(id, &up),
            LinkEvent::Left(id) => {
                self.activators.leave(id);
                self.count_activators();
                // All, because what it answered for may be forgotten: one that did not keep up was let go of.
                let keys: Vec<ServiceKey> = self.services.keys().cloned().collect();
                for key in keys {
                    self.activators_of_changed(&key);
                }
            }
        }
    }

    fn on_up(&mut self, id: LinkId, up: &Up) {
        if let Some(hello) = &up.hello {
            self.activators.hello(id, hello);
        }
        let mut changed: HashSet<ServiceKey> = HashSet::new();
        for news in &up.listening {
            self.activators.listening(id, news);
            changed.insert(news.service());
        }
        if up.hello.is_some() {
            // Its address is a part of wherever it answers.
            changed.extend(self.activators.services_of(id).cloned());
        }
        for key in changed {
            self.activators_of_changed(&key);
        }
        let now = self.clock.now();
        for message in up.stats.iter().flat_map(|stats| &stats.messages) {
            if let Some(stat) = &message.stat {
                self.record(&message.service(), stat, now);
            }
        }
    }

    fn record(&mut self, key: &ServiceKey, stat: &Stat, now: Tick) {
        if !stat.is_sane() {
            self.metrics.insane_reports.inc();
            return;
        }
        let Some(service) = self.services.get_mut(key) else { return };
        if service.state.record(now, stat) {
            self.evaluate(key, Cause::Poke);
        }
    }

    fn count_activators(&self) {
        self.metrics.activators.set(i64::try_from(self.activators.len()).unwrap_or(i64::MAX));
    }

    fn activators_of_changed(&mut self, key: &ServiceKey) {
        let answering = self.activators.answering(key);
        if let Some(service) = self.services.get_mut(key) {
            service.state.set_activators(answering);
            self.evaluate(key, Cause::Change);
        }
    }

    fn on_fleet(&mut self, event: FleetEvent) {
        let key = match event {
            FleetEvent::Service { key, spec, port } => {
                let now = self.clock.now();
                if let Some(service) = self.services.get_mut(&key) {
                    service.state.set_spec(spec, now);
                    service.port = port;
                } else {
                    let state = ServiceState::new(key.clone(), spec, now);
                    let metrics = self.metrics.service(&key);
                    let service =
                        Service { state, port, trouble: String::new(), pending: Pending::default(), metrics };
                    self.services.insert(key.clone(), service);
                    self.scheduler.schedule(&key, first_tick(&key, now, self.periods.decide));
                }
                key
            }
            FleetEvent::Gone(key) => {
                self.services.remove(&key);
                self.scheduler.forget(&key);
                self.activators.tell_gone(&key);
                self.views.lock().remove(&key);
                return;
            }
            FleetEvent::Pods { key, pods, replicas, trouble } => {
                let Some(service) = self.services.get_mut(&key) else { return };
                service.state.set_pods(pods, replicas);
                service.trouble = trouble;
                key
            }
        };
        if let Some(service) = self.services.get(&key) {
            // Activators first: who waits should not wait for what is decided below.
            self.activators.tell(service.entry(&key));
            self.evaluate(&key, Cause::Change);
        }
    }

    fn on_due(&mut self) {
        let now = self.clock.now();
        while let Some(key) = self.scheduler.pop(now) {
            self.evaluate(&key, Cause::Tick);
        }
    }

    fn evaluate(&mut self, key: &ServiceKey, cause: Cause) {
        let Some(service) = self.services.get_mut(key) else { return };
        let now = self.clock.now();
        let actions = service.state.evaluate(now, cause);
        match actions.look_again {
            Some(within) => {
                // At the latest with the next regular tick.
                let next = now.after(within.min(self.periods.decide));
                self.scheduler.schedule(key, next);
            }
            None => self.scheduler.forget(key),
        }
        if let Some(pods) = actions.scale_to {
            service.pending.want_scale(pods);
        }
        if let Some(endpoints) = actions.publish {
            service.pending.want_published(endpoints);
        }
        self.do_pending(key);
        self.show(key, now);
    }

    fn show(&mut self, key: &ServiceKey, now: Tick) {
        let Some(service) = self.services.get_mut(key) else { return };
        let view = service.state.view(now);
        service.metrics.show(&view);
        let mut views = self.views.lock();
        match views.get_mut(key) {
            Some(seen) => *seen = view,
            None => drop(views.insert(key.clone(), view)),
        }
    }

    fn scrape_all(&mut self) {
        let all: HashSet<SocketAddr> = self
            .services
            .values()
            .flat_map(|service| service.state.pods().iter().map(|pod| pod.stats))
            .collect();
        self.collector.keep_only(&all);
        let keys: Vec<ServiceKey> = self
            .services
            .iter()
            .filter(|(_, service)| service.wants_scrape())
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            self.scrape(&key);
        }
    }
}

impl Service {
    fn entry(&self, key: &ServiceKey) -> ebb_core::link::ServiceEntry {
        entry(key, &self.state, self.port, &self.trouble)
    }
}
