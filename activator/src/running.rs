use std::{io, net::SocketAddr, sync::Arc};

use ebb_core::{ServiceKey, link::Hello};
use ebb_proxy::{
    Budget, Drain, Handler, Limits, Quiet, Reply, RequestBody, ResponseBody, WallClock, listen, metrics,
    net::tls::Tls, serve, serve_over,
};
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use crate::{
    config::{Config, GatewayConfig},
    gateway::{Door, Gateway, Scheme},
    handler::RequestHandler,
    link::Links,
    memory::Memory,
    metrics::Metrics,
    service::{Common, HeldDispatch, Load},
    table::ServiceTable,
};

/// The number of first requests that may wait to be reported; each is also part of its second's report.
const POKE_CAPACITY: usize = 4096;

/// A running activator, until it is drained or dropped.
#[derive(Debug)]
pub struct Activator {
    services: Arc<ServiceTable>,
    gateway: Option<Opened>,
    beside: Drain,
    tasks: JoinSet<()>,
}

impl Activator {
    /// Starts serving. Ports of services are bound as the autoscaler names them.
    ///
    /// `observer` is called for the first held request of each pod.
    ///
    /// # Errors
    ///
    /// Returns an error if the metrics port or a gateway port cannot be bound.
    pub async fn start(
        config: &Config,
        clock: WallClock,
        observer: Option<mpsc::Sender<HeldDispatch>>,
    ) -> io::Result<Self> {
        let (poke, pokes) = mpsc::channel(POKE_CAPACITY);
        let metrics = Metrics::new();
        let shared = Arc::new(Common {
            clock,
            metrics: metrics.clone(),
            memory: Memory::new(config.request_memory.map_or_else(Budget::of_process, Budget::new)),
            pokes: poke,
            speaking: Mutex::default(),
            spoke: Notify::new(),
            observer,
        });
        let mut tasks = JoinSet::new();
        let beside = Drain::default();
        let gateway = match &config.gateway {
            Some(config) => Some(Opened::open(config, &shared, &mut tasks).await?),
            None => None,
        };
        let services = ServiceTable::new(
            shared.clone(),
            config.listen,
            gateway.as_ref().map(|opened| opened.gateway.clone()),
        );
        if let Some(address) = config.metrics {
            let listener = listen(address).await?;
            tasks.spawn(serve(
                listener,
                Arc::new(Observe {
                    shared: shared.clone(),
                    gateway: gateway.as_ref().map(|opened| opened.gateway.clone()),
                }),
                beside.clone(),
                Limits::default(),
            ));
        }
        let (name, address) = (config.name.clone(), config.advertised.to_string());
        let hello = Hello { name, address, heartbeats: true, confirms: true };
        let (seed, token_file) = (config.autoscaler, config.token_file.clone());
        tasks.spawn(Links::new(seed, token_file, hello, services.clone(), shared, pokes).run());
        Ok(Self { services, gateway, beside, tasks })
    }

    /// Returns the address of the gateway for HTTP; `None` if there is no gateway.
    pub fn gateway(&self) -> Option<SocketAddr> {
        self.gateway.as_ref().map(|opened| opened.http)
    }

    /// Returns the address of the gateway for HTTP over TLS; `None` if there is none.
    pub fn tls_gateway(&self) -> Option<SocketAddr> {
        self.gateway.as_ref()?.https
    }

    /// Resolves once the gateway knows all hosts; at once if there is no gateway.
    pub async fn knows_all_hosts(&self) {
        if let Some(Opened { gateway, .. }) = &self.gateway {
            gateway.completed().await;
        }
    }

    /// Returns the load of `service` here; `None` if this activator does not serve it.
    pub fn load(&self, service: &ServiceKey) -> Option<Load> {
        self.services.load(service)
    }

    /// Resolves if the task that follows services and pods has failed, which is a bug: the activator would
    /// learn nothing new. The program should drain and be restarted.
    pub async fn ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            tracing::error!(%error, "the activator has failed");
        }
    }

    /// Drains without losing a request, within `plan`'s limit. Returns the number of connections that were
    /// cut.
    ///
    /// The links stay open until the end, because held requests wait for pods that they announce.
    pub async fn drain(mut self, plan: Quiet) -> usize {
        let cut = self.services.drain(plan).await;
        self.beside.abort();
        self.tasks.shutdown().await;
        cut
    }
}

/// Ends at once and cuts all connections, unless the activator was drained.
impl Drop for Activator {
    fn drop(&mut self) {
        self.services.abort();
        self.beside.abort();
    }
}

/// The gateway and the addresses of its ports.
#[derive(Debug)]
struct Opened {
    gateway: Arc<Gateway>,
    http: SocketAddr,
    https: Option<SocketAddr>,
}

impl Opened {
    async fn open(config: &GatewayConfig, shared: &Common, tasks: &mut JoinSet<()>) -> io::Result<Self> {
        let gateway = Gateway::new(config.trusted.clone(), shared.metrics.clone());
        let door = |scheme| Arc::new(RequestHandler(Door { gateway: gateway.clone(), scheme }));
        let (drain, limits) = (&gateway.drain, shared.memory.limits());
        let listener = listen(config.http).await?;
        let http = listener.local_addr()?;
        tasks.spawn(serve(listener, door(Scheme::Http), drain.clone(), limits.clone()));
        let mut https = None;
        if let Some(address) = config.https {
            let listener = listen(address).await?;
            https = Some(listener.local_addr()?);
            let tls = Tls::new(gateway.clone());
            tasks.spawn(serve_over(tls, listener, door(Scheme::Https), drain.clone(), limits));
        }
        Ok(Self { gateway, http, https })
    }
}

/// Serves `/metrics`, `/healthz` and `/readyz`. Health covers only this process: the loss of an autoscaler
/// must not restart activators with all that they hold. A gateway becomes ready once it knows all hosts, and
/// stays ready; before, it would answer 404.
#[derive(Debug)]
struct Observe {
    shared: Arc<Common>,
    gateway: Option<Arc<Gateway>>,
}

impl Handler for Observe {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        match request.uri().path() {
            "/metrics" => {
                let (used, limit) = self.shared.memory.used_and_limit();
                metrics::reply(self.shared.metrics.scraped(used, limit))
            }
            "/readyz" if self.gateway.as_ref().is_some_and(|gateway| !gateway.is_complete()) => {
                let text = "the gateway does not know any hosts yet; it waits for an autoscaler that leads";
                Reply::new(StatusCode::SERVICE_UNAVAILABLE, "no-table", text).into_response()
            }
            "/healthz" | "/readyz" => Response::new(ResponseBody::own("ok\n")),
            _ => Reply::new(
                StatusCode::NOT_FOUND,
                "not-found",
                "only /metrics, /healthz and /readyz are served here",
            )
            .into_response(),
        }
    }
}
