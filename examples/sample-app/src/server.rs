//! The listener, its connections, and their orderly end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::Options;
use super::identity::Identity;
use super::routes::App;
use super::unix_time;

/// How long accepting pauses when the system has no descriptor or memory for another connection: long enough for
/// some to be given back, short enough to go unnoticed otherwise.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A sample app that has its port and serves once it is [run](Server::run).
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    app: Arc<App>,
}

impl Server {
    /// Takes the port. The startup delay and the failures of [`Options`] are [`run`](super::run)'s business.
    ///
    /// # Errors
    ///
    /// When the port cannot be bound.
    pub async fn bind(options: &Options) -> io::Result<Self> {
        let listener = TcpListener::bind((options.address, options.port)).await?;
        let local_addr = listener.local_addr()?;
        let identity = Identity::from_lookup(|name| std::env::var(name).ok(), std::process::id());
        let listening_since = unix_time();
        Ok(Self { listener, local_addr, app: Arc::new(App::new(options, identity, listening_since)) })
    }

    /// The address that was bound, with the port that the system chose if it was to choose.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Since when connections are accepted, as time since the Unix epoch.
    pub fn listening_since(&self) -> Duration {
        self.app.listening_since
    }

    /// Serves until `shutdown` completes; then refuses new connections, closes idle ones, and returns when the
    /// requests and upgraded connections in flight have ended, however long they take.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let connections = Connections::default();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = &mut shutdown => break,
            };
            match accepted {
                Ok((stream, _)) => connections.serve(stream, Arc::clone(&self.app)),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    eprintln!("sample app: cannot accept: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        tokio::join!(connections.drain(), self.app.websockets.drain());
    }
}

/// The open HTTP connections.
#[derive(Default)]
struct Connections {
    graceful: GracefulShutdown,
    tasks: TaskTracker,
}

impl Connections {
    fn serve(&self, stream: TcpStream, app: Arc<App>) {
        // Only costs latency when it fails, and then the connection is about to fail as well.
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| {
            let app = Arc::clone(&app);
            async move { app.respond(request).await }
        });
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new());
        http.http2().timer(TokioTimer::new());
        let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        let connection = self.graceful.watch(connection);
        self.tasks.spawn(async move {
            // A connection that its client broke off is no news to a server.
            let _ = connection.await;
        });
    }

    async fn drain(self) {
        self.graceful.shutdown().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Whether an error of `accept` is about the connection that was next, so that the one after it may be fine.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
