//! A client that sends a request and then does not read its response.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ebb_core::LateResponse;
use ebb_proxy::{
    Drain, Handler, Hop, Limits, RequestBody, ResponseBody, Timeouts, Upstream, UpstreamLimits, forward,
    net::Liveness, serve,
};
use http::{Request, Response};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

const GENEROUS: Duration = Duration::from_secs(20);

/// Forwards everything, and reports when a request has ended.
struct Forwarder {
    upstream: Arc<Upstream>,
    ended: mpsc::Sender<()>,
}

/// Stands for a slot.
struct Slot(mpsc::Sender<()>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.try_send(()).expect("the test listens");
    }
}

impl Handler for Forwarder {
    type Guard = Slot;

    async fn call(&self, request: Request<RequestBody>, peer: SocketAddr) -> Response<ResponseBody<Slot>> {
        let Hop { head, body } = Hop::new(request, peer);
        // The request's own timeout is far away and does not end this.
        let timeouts = Timeouts {
            deadline: Instant::now() + Duration::from_secs(600),
            response_start: None,
            idle: None,
            late: LateResponse::Cut,
        };
        let forwarded = forward(&self.upstream, &head, body, timeouts).await.expect("the app answers");
        forwarded.into_response(Slot(self.ended.clone()))
    }
}

/// Responds without end.
async fn endless_app(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.expect("the hop connects");
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n";
    let mut written = stream.write_all(head).await;
    while written.is_ok() {
        written = stream.write_all(&vec![b'x'; 64 * 1024]).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_stops_reading_gives_its_slot_back() {
    let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let upstream = Upstream::new(app.local_addr().unwrap(), UpstreamLimits::default());
    tokio::spawn(endless_app(app));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, mut slot_is_free) = mpsc::channel(1);
    let drain = Drain::default();
    let handler = Arc::new(Forwarder { upstream, ended });
    let liveness = Liveness { stalled: Duration::from_millis(300), ..Liveness::CLIENT };
    let limits = Limits { liveness, ..Limits::default() };
    tokio::spawn(serve(listener, handler, drain, limits));

    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    timeout(GENEROUS, slot_is_free.recv()).await.expect("the slot is free in time");
    drop(client);
}
