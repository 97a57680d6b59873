//! HTTP/2 clients and apps that are slow, or send small pieces, do not affect others.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use ebb_hops::{Hops, Path, each_on_paths, soon};
use h2::{
    RecvStream, SendStream,
    client::{self, ResponseFuture, SendRequest},
    server::{self, SendResponse},
};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const KIB: usize = 1024;
const LINES: usize = 20_000;
const LINE: &[u8] = b"thirteen byte";

struct App {
    address: SocketAddr,
    deliveries: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (deliveries, mut serving) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        let delivered = deliveries.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, delivered.clone()));
            }
        });
        Self { address, deliveries, _serving: serving }
    }
}

/// The test checks how a connection ends.
async fn serve(stream: TcpStream, deliveries: Arc<AtomicUsize>) {
    // Windows that no test fills.
    let mut builder = server::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 28).data_frame_budget(1 << 28);
    let Ok(mut connection) = builder.handshake(stream).await else { return };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        deliveries.fetch_add(1, Ordering::Relaxed);
        streams.spawn(play(request, respond));
    }
}

async fn play(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    let mut answer = Response::new(());
    match head.uri.path() {
        "/lines" => {
            let mut out = respond.send_response(answer, false).expect("it is open");
            for line in 1..=LINES {
                send(&mut out, Bytes::from_static(LINE), line == LINES).await;
            }
        }
        "/large" => {
            let mut out = respond.send_response(answer, false).expect("it is open");
            for piece in 1..=100 {
                send(&mut out, vec![b'x'; 50 * KIB].into(), piece == 100).await;
            }
        }
        "/count" => {
            let count = read(body).await.to_string();
            let mut out = respond.send_response(answer, false).expect("it is open");
            send(&mut out, count.into(), true).await;
        }
        "/both" => {
            let mut out = respond.send_response(answer, false).expect("it is open");
            let says = async {
                for piece in 1..=100 {
                    send(&mut out, vec![b'x'; 10 * KIB].into(), piece == 100).await;
                }
            };
            tokio::join!(says, read(body));
        }
        "/contradiction" => {
            answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("5"));
            respond.send_response(answer, true).expect("it is open");
        }
        // Does not read.
        _ => {
            std::future::pending::<()>().await;
            drop(body);
        }
    }
}

/// Sends as soon as there is room. The test checks whether the receiver is gone.
async fn send(out: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) {
    loop {
        out.reserve_capacity(data.len());
        let Some(Ok(room)) = poll_fn(|cx| out.poll_capacity(cx)).await else { return };
        let piece = data.split_to(room.min(data.len()));
        let ends = is_last && data.is_empty();
        if out.send_data(piece, ends).is_err() || data.is_empty() {
            return;
        }
    }
}

/// Reads to the end, and returns the number of bytes.
async fn read(mut body: RecvStream) -> usize {
    let mut count = 0;
    while let Some(data) = body.data().await {
        let data = data.expect("the body is whole");
        body.flow_control().release_capacity(data.len()).expect("it was taken");
        count += data.len();
    }
    count
}

struct Client {
    sender: SendRequest<Bytes>,
    _connection: JoinSet<()>,
}

impl Client {
    /// Returns a client whose streams accept this many bytes unread.
    async fn with_window(entry: SocketAddr, window: usize) -> Self {
        let stream = TcpStream::connect(entry).await.expect("it listens");
        let mut builder = client::Builder::new();
        builder.initial_window_size(u32::try_from(window).expect("a window")).data_frame_budget(1 << 28);
        let (sender, connection) = soon("a handshake", builder.handshake(stream)).await.expect("HTTP/2");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Its end shows in the responses.
            let _ = connection.await;
        });
        Self { sender, _connection: tasks }
    }

    async fn connect(entry: SocketAddr) -> Self {
        Self::with_window(entry, 64 * KIB).await
    }

    async fn ask(&mut self, method: Method, path: &str) -> (ResponseFuture, SendStream<Bytes>) {
        let ends = method != Method::POST;
        let request = Request::builder().method(method).uri(format!("http://shop.example{path}"));
        let mut sender = soon("room", self.sender.clone().ready()).await.expect("it is open");
        sender.send_request(request.body(()).expect("a request"), ends).expect("it is sent")
    }

    async fn counted(&mut self, method: Method, path: &str) -> (StatusCode, usize) {
        let (answer, _upload) = self.ask(method, path).await;
        let answer = soon("an answer", answer).await.expect("an answer");
        (answer.status(), soon("its body", read(answer.into_body())).await)
    }
}

async fn small_messages_pass_both_ways(path: Path) {
    let app = App::start().await;
    let hops = Hops::start(path, &[app.address]).await;
    let mut client = Client::connect(hops.entry).await;
    assert_eq!(client.counted(Method::GET, "/lines").await, (StatusCode::OK, LINES * LINE.len()));
    let (answer, mut upload) = client.ask(Method::POST, "/count").await;
    let sending = async {
        for line in 1..=LINES {
            send(&mut upload, Bytes::from_static(LINE), line == LINES).await;
        }
    };
    let (answer, ()) = tokio::join!(soon("an answer", answer), soon("room", sending));
    let mut body = answer.expect("an answer").into_body();
    let count = soon("the count", body.data()).await.expect("a count").expect("all of it");
    assert_eq!(count, (LINES * LINE.len()).to_string());
}

async fn clients_that_do_not_read_are_in_nobodys_way(path: Path) {
    let app = App::start().await;
    let hops = Hops::start(path, &[app.address]).await;
    let mut stalled = Vec::new();
    for route in ["/large", "/lines"].repeat(10) {
        let mut client = Client::with_window(hops.entry, 1000).await;
        let (answer, _) = client.ask(Method::GET, route).await;
        let answer = soon("a head", answer).await.expect("an answer");
        stalled.push((client, answer));
    }
    let mut honest = Client::connect(hops.entry).await;
    assert_eq!(honest.counted(Method::GET, "/large").await, (StatusCode::OK, 5000 * KIB));
}

async fn uploads_that_the_app_does_not_read_are_in_nobodys_way(path: Path) {
    let app = App::start().await;
    let hops = Hops::start(path, &[app.address]).await;
    let (mut stalled, mut client) = (Vec::new(), Client::connect(hops.entry).await);
    for _ in 0..10 {
        let (answer, mut upload) = client.ask(Method::POST, "/ignore").await;
        upload.send_data(vec![b'x'; 1000 * KIB].into(), false).expect("it is open");
        stalled.push((answer, upload));
    }
    let mut honest = Client::connect(hops.entry).await;
    let (answer, mut upload) = honest.ask(Method::POST, "/count").await;
    let sending = send(&mut upload, vec![b'x'; 400 * KIB].into(), true);
    let (answer, ()) = tokio::join!(soon("an answer", answer), soon("room", sending));
    assert_eq!(answer.expect("an answer").status(), StatusCode::OK);
}

async fn an_upload_goes_on_while_its_client_does_not_read(path: Path) {
    let app = App::start().await;
    let hops = Hops::start(path, &[app.address]).await;
    let mut client = Client::connect(hops.entry).await;
    let (answer, mut upload) = client.ask(Method::POST, "/both").await;
    soon("all is sent", send(&mut upload, vec![b'x'; 2000 * KIB].into(), true)).await;
    let answer = soon("an answer", answer).await.expect("an answer");
    assert_eq!(soon("its body", read(answer.into_body())).await, 1000 * KIB);
}

async fn an_answer_that_contradicts_itself_is_not_asked_for_twice(path: Path) {
    let app = App::start().await;
    let hops = Hops::start(path, &[app.address]).await;
    let mut client = Client::connect(hops.entry).await;
    assert_eq!(client.counted(Method::GET, "/contradiction").await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(app.deliveries.load(Ordering::Relaxed), 1);
}

async fn to_head_no_reply_has_a_body(path: Path) {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let hops = Hops::start(path, &[gone]).await;
    let mut client = Client::connect(hops.entry).await;
    let (status, bytes) = client.counted(Method::HEAD, "/").await;
    assert!(status.is_server_error() && bytes == 0, "{status} {bytes}");
}

each_on_paths! {
    small_messages_pass_both_ways: sidecar Sidecar, both Both;
    clients_that_do_not_read_are_in_nobodys_way: sidecar Sidecar, both Both;
    uploads_that_the_app_does_not_read_are_in_nobodys_way: sidecar Sidecar, both Both;
    an_upload_goes_on_while_its_client_does_not_read: sidecar Sidecar, both Both;
    an_answer_that_contradicts_itself_is_not_asked_for_twice: sidecar Sidecar, both Both;
    to_head_no_reply_has_a_body: sidecar Sidecar, both Both;
}
