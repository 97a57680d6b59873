//! A connection that the kernel has accepted must be served, even if the server is about to close.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    future::Future,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ebb_proxy::{Drain, Handler, Limits, Quiet, RequestBody, ResponseBody, listen, serve};
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const AT_ONCE: Quiet = Quiet { quiet: Duration::ZERO, limit: Duration::from_secs(10) };

/// Answers every request.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl Handler for Counting {
    type Guard = ();

    fn call(
        &self,
        _: Request<RequestBody>,
        _: SocketAddr,
    ) -> impl Future<Output = Response<ResponseBody<()>>> + Send {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Response::new(ResponseBody::own("ok")))
    }
}

async fn having_asked(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    client
}

/// It is up to chance which of several true conditions the server sees first, so this is tried often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_came_before_the_port_closed_is_answered() {
    for round in 0..100 {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (handler, drain) = (Arc::new(Counting::default()), Drain::default());
        let serving = tokio::spawn(serve(listener, handler.clone(), drain.clone(), Limits::default()));
        // Now it serves.
        let mut first = having_asked(address).await;
        first.read_exact(&mut [0; 12]).await.unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(having_asked(address).await);
        }
        drain.run(AT_ONCE).await.unwrap();
        // Everything that waited for this ends now.
        serving.abort();
        assert_eq!(handler.0.load(Ordering::Relaxed), 4, "round {round}");
        for mut client in clients {
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "round {round}: {answer:?}");
        }
    }
}
