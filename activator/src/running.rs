use std::{io, net::SocketAddr, sync::Arc};

use ebb_core::{ServiceKey, link::Hello};
use ebb_proxy::{
    Budget, Drain, Handler, Limits, Quiet, Reply, RequestBody, ResponseBody, WallClock, listen, metrics,
    serve,
};
use http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};

use crate::{
    config::Config,
    link::Links,
    memory::Memory,
    metrics::Metrics,
    service::{Common, HeldDispatch, Load},
    table::ServiceTable,
};

/// First requests that may wait to be told; each is told again with the report of its second.
const POKE_CAPACITY: usize = 4096;

/// An activator, running until it is drained or dropped.
#[derive(Debug)]
pub struct Activator {
    services: Arc<ServiceTable>,
    beside: Drain,
    tasks: JoinSet<()>,
}

impl Activator {
    /// Begins to serve. Its services' ports are bound as the autoscaler names them.
    ///
    /// `observer` is told of the first held request of each pod.
    ///
    /// # Errors
    ///
    /// If the port for metrics cannot be bound.
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
        let services = ServiceTable::new(shared.clone(), config.listen);
        let mut tasks = JoinSet::new();
        let beside = Drain::default();
        if let Some(address) = config.metrics {
            let listener = listen(address).await?;
            tasks.spawn(serve(
                listener,
                Arc::new(Observe { shared: shared.clone() }),
                beside.clone(),
                Limits::default(),
            ));
        }
        let (name, address) = (config.name.clone(), config.advertised.to_string());
        let hello = Hello { name, address, heartbeats: true };
        let (seed, token_file) = (config.autoscaler, config.token_file.clone());
        tasks.spawn(Links::new(seed, token_file, hello, services.clone(), shared, pokes).run());
        Ok(Self { services, beside, tasks })
    }

    /// How busy `service` is here; `None` if it is not answered for.
    pub fn load(&self, service: &ServiceKey) -> Option<Load> {
        self.services.load(service)
    }

    /// Resolves if what hears of services and pods has failed, which is a bug: nothing new would be learned any more. The
    /// program is to drain, and to be started anew.
    pub async fn ended(&mut self) {
        if let Some(Err(error)) = self.tasks.join_next().await {
            tracing::error!(%error, "the activator has failed");
        }
    }

    /// Leaves without losing a request, within `plan`'s limit; answers how many connections were cut.
    ///
    /// The links stay open until the end: who is held is waiting for what comes down on them.
    pub async fn drain(mut self, plan: Quiet) -> usize {
        let cut = self.services.drain(plan).await;
        self.beside.abort();
        self.tasks.shutdown().await;
        cut
    }
}

/// Whoever did not drain it wants it to end at once, connections included.
impl Drop for Activator {
    fn drop(&mut self) {
        self.services.abort();
        self.beside.abort();
    }
}

/// Answers `/metrics` and `/healthz`. Health is the process's own: an autoscaler that is away must not have
/// the activators restarted, with all that they hold.
#[derive(Debug)]
struct Observe {
    shared: Arc<Common>,
}

impl Handler for Observe {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        match request.uri().path() {
            "/metrics" => {
                let (used, limit) = self.shared.memory.used_and_limit();
                metrics::reply(self.shared.metrics.scraped(used, limit))
            }
            "/healthz" => Response::new(ResponseBody::own("ok\n")),
            _ => Reply::new(StatusCode::NOT_FOUND, "not-found", "only /metrics and /healthz are served here")
                .into_response(),
        }
    }
}
