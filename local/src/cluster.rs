use std::{
    collections::{HashMap, VecDeque},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use activator::{Activator, GatewayConfig, HeldDispatch, Load, Trusted};
use autoscaler::Autoscaler;
use ebb_annotations::{RouteSpec, ScalingSpec};
use ebb_core::{ServiceKey, Tick};
use ebb_decide::{Periods, platform::Exposed, service::View};
use ebb_proxy::{Quiet, WallClock, listen};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{net::TcpListener, sync::mpsc};

use crate::{
    cold_start::ColdStart,
    config::{Role, Understood},
    fleet::{Fleet, Plan, Platform},
    front::Front,
    pod::{App, Machine, PodStatus, Template},
    process::{Guard, Launcher, Line, Ports, Spawner},
};

/// The namespace of all services on one machine.
const NAMESPACE: &str = "local";
/// Lines of output that may wait to be shown.
const LINE_CAPACITY: usize = 1024;
/// The most cold starts that wait to be recorded, and that are kept.
const OBSERVER_CAPACITY: usize = 1024;

/// The default address of the autoscaler's API.
pub const DEFAULT_API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8079);

/// The address of the autoscaler's API, which explains decisions and serves metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// This address, or starting fails.
    At(SocketAddr),
    /// This address if the port is free, otherwise any other port.
    Preferably(SocketAddr),
}

impl Api {
    async fn listen(self) -> Result<TcpListener, StartError> {
        let (Self::At(address) | Self::Preferably(address)) = self;
        match (listen(address).await, self) {
            (Ok(listener), _) => Ok(listener),
            (Err(_), Self::Preferably(_)) => Ok(listen(SocketAddr::new(address.ip(), 0)).await?),
            (Err(source), Self::At(_)) => Err(StartError::Api { source }),
        }
    }
}

/// How to run services on this machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program that is run again as `pod-exec` and `guard`: `ebb` itself.
    pub launcher: PathBuf,
    /// The address of the services.
    pub host: IpAddr,
    /// The address of the autoscaler's API.
    pub api: Api,
    /// The port at which services are reached by the host that a request names; `None` if there is none.
    pub gateway: Option<u16>,
    /// The periods of regular work.
    pub periods: Periods,
    /// How a pod drains. Its quiet time must be longer than clients keep idle connections, or a request may
    /// meet a connection that is just being closed.
    pub drain: Quiet,
    /// How long a process has to end after SIGTERM before it is killed.
    pub stop_grace: Duration,
}

impl Options {
    /// Returns the options of `ebb run`, for the program at `launcher`.
    pub fn new(launcher: PathBuf) -> Self {
        Self {
            launcher,
            host: Ipv4Addr::LOCALHOST.into(),
            api: Api::Preferably(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            gateway: None,
            periods: Periods::default(),
            drain: Quiet { quiet: Duration::from_secs(2), limit: Duration::from_secs(60) },
            stop_grace: Duration::from_secs(10),
        }
    }
}

/// Why nothing was started.
#[derive(Debug, Error)]
pub enum StartError {
    /// A service's port is taken or not permitted.
    #[error("service {service}")]
    Port {
        /// The service.
        service: String,
        /// The port, and the error.
        source: io::Error,
    },
    /// A service's program does not exist.
    #[error("service {service}: command {program:?} not found{hint}")]
    NoCommand {
        /// The service.
        service: String,
        /// The program.
        program: String,
        /// What may have been meant.
        hint: &'static str,
    },
    /// A service's image needs an engine, and there is none.
    #[error(
        "service {service}: its image {image} needs podman or docker, and neither is in PATH; install one, or give \
         the container a `command` that runs on this machine"
    )]
    NoEngine {
        /// The service.
        service: String,
        /// The image.
        image: String,
    },
    /// The autoscaler's port is taken or not permitted.
    #[error("the autoscaler")]
    Api {
        /// The port, and the error.
        source: io::Error,
    },
    /// The gateway's port is taken or not permitted.
    #[error("the gateway")]
    Gateway {
        /// The port, and the error.
        source: io::Error,
    },
    /// Another part of Ebb failed.
    #[error("cannot start")]
    Io(#[from] io::Error),
}

/// What a service needs on this machine, which is there.
enum Found {
    Route(RouteSpec),
    Pods(App, Box<ScalingSpec>),
}

/// Running services on this machine, until they are shut down.
#[derive(Debug)]
pub struct Cluster {
    api: SocketAddr,
    services: Vec<(ServiceKey, SocketAddr)>,
    fleet: Arc<Fleet>,
    activator: Activator,
    autoscaler: Autoscaler,
    drain: Quiet,
    starts: Mutex<Starts>,
}

#[derive(Debug)]
struct Starts {
    observed: mpsc::Receiver<HeldDispatch>,
    /// The request has not reached the app yet.
    pending: Vec<HeldDispatch>,
    /// When apps said that they began to listen, with their pods; the newest last.
    listening: VecDeque<(String, Tick)>,
    /// The last reported cold start of each service, by the time of its decision.
    ended: HashMap<String, Tick>,
}

/// The visible state of a service.
#[derive(Clone, Debug)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// The address for clients.
    pub address: SocketAddr,
    /// The autoscaler's view; `None` for a moment after the start.
    pub view: Option<View>,
    /// Its load at the activator.
    pub load: Load,
    /// Its pods, including those that drain.
    pub pods: Vec<PodStatus>,
    /// The total seconds for which its pods existed.
    pub pod_seconds: f64,
}

impl Cluster {
    /// Starts `services`. The receiver gets the pods' output; it may be dropped.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running then.
    pub async fn start(
        services: Vec<Understood>,
        options: Options,
    ) -> Result<(Self, mpsc::Receiver<Line>), StartError> {
        let mut found = Vec::with_capacity(services.len());
        for Understood { service, role, exposure, .. } in services {
            let (name, port) = (service.name.clone(), service.port);
            let app = match role {
                Role::Route(spec) => Found::Route(spec),
                Role::Pods(spec) => Found::Pods(App::of(service)?, spec),
            };
            found.push((name, port, exposure.hosts, app));
        }
        let mut plans = Vec::with_capacity(found.len());
        let mut addresses = Vec::with_capacity(found.len());
        let mut exposed = Vec::new();
        for (name, port, hosts, app) in found {
            let address = SocketAddr::new(options.host, port);
            let key = ServiceKey::new(NAMESPACE, name.clone());
            let listener =
                listen(address).await.map_err(|source| StartError::Port { service: name, source })?;
            addresses.push((key.clone(), listener.local_addr()?));
            if !hosts.is_empty() {
                // There are no Secrets on one machine, and so no TLS.
                let key = key.clone();
                exposed.push(Exposed { key, hosts, tls_secret: None, https_redirect: false });
            }
            let front = Front::start(listener);
            plans.push(match app {
                Found::Route(spec) => Plan::Route { key, spec, front },
                Found::Pods(app, spec) => {
                    let template = Template {
                        key,
                        app,
                        serving: spec.serving.clone(),
                        drain: options.drain,
                        stop_grace: options.stop_grace,
                    };
                    Plan::Pods { template: Box::new(template), spec, front }
                }
            });
        }
        let (lines, printed) = mpsc::channel(LINE_CAPACITY);
        let cluster = Self::assemble(plans, exposed, addresses, lines, &options).await?;
        Ok((cluster, printed))
    }

    async fn assemble(
        plans: Vec<Plan>,
        exposed: Vec<Exposed>,
        addresses: Vec<(ServiceKey, SocketAddr)>,
        lines: mpsc::Sender<Line>,
        options: &Options,
    ) -> Result<Self, StartError> {
        let clock = WallClock::start();
        let launcher = Launcher(options.launcher.clone());
        let guard = Guard::start(&launcher)?;
        let spawner = Spawner::new(launcher, guard)?;
        let machine = Machine { clock, spawner, ports: Arc::new(Ports::new()), lines };
        let fleet = Fleet::new(&machine, plans, exposed);
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = options.api.listen().await?;
        let api = listener.local_addr()?;
        let config = activator::Config {
            name: "activator".to_owned(),
            advertised: loopback.ip(),
            listen: loopback.ip(),
            autoscaler: api,
            token_file: None,
            request_memory: None,
            metrics: None,
            gateway: options.gateway.map(|port| GatewayConfig {
                http: SocketAddr::new(options.host, port),
                https: None,
                trusted: Trusted::default(),
            }),
            drain: options.drain,
        };
        // Before anything else sees the fleet: a service without pods at that time counts as at rest.
        fleet.begin().await;
        let platform = Arc::new(Platform(fleet.clone()));
        let autoscaler = Autoscaler::start(listener, platform, clock, options.periods, |_| {});
        let (observer, dispatches) = mpsc::channel(OBSERVER_CAPACITY);
        let activator = Activator::start(&config, clock, Some(observer)).await.map_err(|source| {
            if config.gateway.is_some() { StartError::Gateway { source } } else { StartError::Io(source) }
        })?;
        activator.knows_all_hosts().await;
        let starts = Starts {
            observed: dispatches,
            pending: Vec::new(),
            listening: VecDeque::new(),
            ended: HashMap::new(),
        };
        Ok(Self {
            api,
            services: addresses,
            fleet,
            activator,
            autoscaler,
            drain: options.drain,
            starts: Mutex::new(starts),
        })
    }

    /// Returns the address of each service and each route, by its name.
    pub fn addresses(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.services.iter().map(|(key, address)| (&*key.name, *address))
    }

    /// Changes the split of a route. Returns whether the route exists.
    pub fn divide(&self, route: &str, spec: &RouteSpec) -> bool {
        self.fleet.divide(&ServiceKey::new(NAMESPACE, route), spec)
    }

    /// Returns the current state of all services; routes have none.
    pub fn status(&self) -> Vec<ServiceStatus> {
        self.services
            .iter()
            .filter(|(key, _)| self.fleet.has_pods(key))
            .map(|(key, address)| ServiceStatus {
                name: key.name.clone(),
                address: *address,
                view: self.autoscaler.view(key),
                load: self.activator.load(key).unwrap_or_default(),
                pods: self.fleet.pods(key),
                pod_seconds: self.fleet.pod_seconds(key),
            })
            .collect()
    }

    /// Resolves if the autoscaler or the activator has failed, which is a bug: nothing is scaled any more.
    pub async fn failed(&mut self) {
        tokio::select! {
            () = self.autoscaler.ended() => {}
            () = self.activator.ended() => {}
        }
    }

    /// Returns the address of the gateway; `None` if there is none.
    pub fn gateway(&self) -> Option<SocketAddr> {
        self.activator.gateway()
    }

    /// Returns the address of the autoscaler's API.
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// Records when an app said that it began to listen, which is more exact than probing.
    pub fn app_listened(&self, pod: &str, at: Tick) {
        let mut starts = self.starts.lock();
        // Only the pods of cold starts are ever looked up.
        if starts.listening.len() == OBSERVER_CAPACITY {
            starts.listening.pop_front();
        }
        starts.listening.push_back((pod.to_owned(), at));
    }

    /// Returns the cold starts since the last call, oldest first.
    pub fn take_cold_starts(&self) -> Vec<ColdStart> {
        let mut starts = self.starts.lock();
        let starts = &mut *starts;
        while let Ok(dispatch) = starts.observed.try_recv() {
            starts.pending.push(dispatch);
        }
        // A pod that died during its first request never completes.
        let surplus = starts.pending.len().saturating_sub(OBSERVER_CAPACITY);
        starts.pending.drain(..surplus);
        let mut found = Vec::new();
        starts.pending.retain(|dispatch| {
            let Some(timeline) = self.fleet.timeline(&dispatch.service, &dispatch.pod) else { return false };
            // The pod's task may notice a moment later than the activator that the app is ready.
            if !timeline.is_complete() {
                return true;
            }
            let listened = starts.listening.iter().find(|(pod, _)| *pod == dispatch.pod).map(|(_, at)| *at);
            found.extend(ColdStart::of(dispatch, &timeline, listened));
            false
        });
        // If there are several new pods, the first that takes a request ends the cold start.
        found.retain(|start| {
            starts.ended.insert(start.service.clone(), start.decided_at) != Some(start.decided_at)
        });
        found
    }

    /// Drains, stops all processes, and ends.
    pub async fn shut_down(self) {
        self.fleet.close_fronts();
        let cut = self.activator.drain(Quiet { quiet: Duration::from_millis(100), ..self.drain }).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "drain ran out of time; connections were cut");
        }
        // No decision is made after this.
        self.autoscaler.shut_down().await;
        self.fleet.end().await;
    }
}
