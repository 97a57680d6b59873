//! If strangers without requests occupy every place of a port, new clients are still served at once.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ebb_hops::{client::Client, soon};
use ebb_proxy::{Drain, Handler, Limits, RequestBody, ResponseBody, listen, serve};
use http::{Request, Response};
use tokio::{sync::Notify, task::JoinSet};

use crate::{http2, within};

/// Number of connections that the port accepts.
const PLACES: usize = 8;
/// Less than any time limit of the port.
const AT_ONCE: Duration = Duration::from_secs(2);

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const SLOW: &str = "GET /slow HTTP/1.1\r\nhost: a\r\n\r\n";

/// Responds at once, except to `/slow`.
#[derive(Default)]
struct App {
    came: Notify,
    goes_on: Notify,
}

impl Handler for App {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        if request.uri().path() == "/slow" {
            self.came.notify_one();
            self.goes_on.notified().await;
        }
        Response::new(ResponseBody::own("ok"))
    }
}

struct Port {
    address: SocketAddr,
    app: Arc<App>,
    _serving: JoinSet<()>,
}

impl Port {
    async fn open() -> Self {
        let listener = listen((Ipv4Addr::LOCALHOST, 0).into()).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (app, mut serving) = (Arc::new(App::default()), JoinSet::new());
        let limits = Limits { max_connections: PLACES, ..Limits::default() };
        serving.spawn(serve(listener, app.clone(), Drain::default(), limits));
        Self { address, app, _serving: serving }
    }

    /// Strangers occupy all places but one, which is busy, and more clients arrive than there are places.
    async fn serves_newcomers_among<S>(&self, stranger: impl AsyncFn(SocketAddr) -> S) {
        let mut busy = Client::connect(self.address).await;
        busy.send(SLOW).await;
        soon("the slow request", self.app.came.notified()).await;
        let mut strangers = Vec::new();
        for _ in 1..PLACES {
            strangers.push(stranger(self.address).await);
        }
        let mut newcomers = Vec::new();
        for _ in 0..2 * PLACES {
            let mut newcomer = Client::connect(self.address).await;
            let (answer, _) = within(AT_ONCE, "a newcomer", newcomer.ask(GET)).await;
            assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
            newcomers.push(newcomer);
        }
        self.app.goes_on.notify_one();
        let answer = busy.answers.next(false).await;
        assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "the busy one kept its place");
    }
}

/// Returns a connection on which these bytes were sent.
async fn having_sent(address: SocketAddr, bytes: &[u8]) -> Client {
    let mut client = Client::connect(address).await;
    client.send(bytes).await;
    client
}

/// Returns a connection on which a request was answered.
async fn having_asked(address: SocketAddr) -> Client {
    let mut client = Client::connect(address).await;
    assert_eq!(client.ask(GET).await.status, 200);
    client
}

#[tokio::test]
async fn among_connections_on_which_nothing_was_ever_sent() {
    Port::open().await.serves_newcomers_among(Client::connect).await;
}

#[tokio::test]
async fn among_idle_connections() {
    let port = Port::open().await;
    port.serves_newcomers_among(having_asked).await;
}

#[tokio::test]
async fn among_connections_with_half_a_head() {
    let port = Port::open().await;
    port.serves_newcomers_among(async |address| having_sent(address, &GET.as_bytes()[..20]).await).await;
}

#[tokio::test]
async fn among_connections_with_half_a_second_head() {
    let port = Port::open().await;
    let stranger = async |address| {
        let mut client = having_asked(address).await;
        client.send(&GET.as_bytes()[..20]).await;
        client
    };
    port.serves_newcomers_among(stranger).await;
}

#[tokio::test]
async fn among_idle_connections_of_http2() {
    let port = Port::open().await;
    let stranger = async |address| {
        let mut client = http2::Client::connect(address).await;
        assert_eq!(client.status().await, 200);
        client
    };
    port.serves_newcomers_among(stranger).await;
}

#[tokio::test]
async fn among_connections_of_http2_on_which_nothing_was_ever_asked_and_nobody_listens() {
    let port = Port::open().await;
    let settings: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // Whatever the server sends, this client sends nothing more.
    port.serves_newcomers_among(async |address| having_sent(address, settings).await).await;
}

/// These clients were answered, and keep sending a body that nobody reads.
#[tokio::test]
async fn among_connections_whose_uploads_outlive_their_answers() {
    let port = Port::open().await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegun";
    port.serves_newcomers_among(async |address| having_sent(address, head.as_bytes()).await).await;
}
