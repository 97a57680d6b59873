//! What happens over HTTP/2 to a request that its app refuses, abandons or breaks off. A gRPC call is a POST, and is
//! sent again only if the app has said that it has not started it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use ebb_hops::{Hops, Path, on_both_ways, soon};
use h2::{Reason, client};
use http::{Method, Request, StatusCode};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 1 | 4;

/// What an app does when the head of a request has arrived.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// 200, without a body.
    Answer,
    /// Resets the stream with that reason, and continues to serve.
    Reset(Reason),
    /// Sends GOAWAY, which says that it has not started this request; then closes.
    GoAway,
    /// Closes the connection.
    Break,
}

/// An app without a library: for each request it does what it is told, and then responds.
struct App {
    address: SocketAddr,
    /// Number of heads that have arrived.
    deliveries: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl App {
    /// Starts an app that does `acts`, and then always `then`.
    async fn start(acts: &[Act], then: Act) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let deliveries = Arc::new(AtomicUsize::new(0));
        let acts = Arc::new(Mutex::new(acts.iter().copied().collect::<VecDeque<_>>()));
        let mut serving = JoinSet::new();
        let count = deliveries.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acts, count) = (acts.clone(), count.clone());
                connections.spawn(async move {
                    let next = || {
                        count.fetch_add(1, Ordering::Relaxed);
                        acts.lock().pop_front().unwrap_or(then)
                    };
                    // The connection ends with it.
                    let _ = serve(stream, next).await;
                });
            }
        });
        Self { address, deliveries, _serving: serving }
    }

    fn deliveries(&self) -> usize {
        self.deliveries.load(Ordering::Relaxed)
    }
}

/// Reads frames; `next` returns what to do about a request.
async fn serve(mut stream: TcpStream, next: impl Fn() -> Act) -> std::io::Result<()> {
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    assert_eq!(preface, PREFACE);
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut before = 0;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let (length, id) = (u32::from_be_bytes([0, a, b, c]), u32::from_be_bytes(id));
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            SETTINGS | PING if flags & ACK == 0 => {
                let payload = if kind == PING { &payload[..] } else { &[] };
                stream.write_all(&frame(kind, ACK, 0, payload)).await?;
            }
            HEADERS => {
                match next() {
                    // `:status: 200` is the eighth entry of HPACK's static table.
                    Act::Answer => {
                        stream.write_all(&frame(HEADERS, END_STREAM_AND_HEADERS, id, &[0x88])).await?;
                    }
                    Act::Reset(reason) => {
                        let reason = u32::from(reason).to_be_bytes();
                        stream.write_all(&frame(RST_STREAM, 0, id, &reason)).await?;
                    }
                    Act::GoAway => {
                        let last: u32 = before;
                        let payload =
                            [last.to_be_bytes(), u32::from(Reason::NO_ERROR).to_be_bytes()].concat();
                        stream.write_all(&frame(GOAWAY, 0, 0, &payload)).await?;
                        // Close gracefully: read what has arrived, so that nothing is reset.
                        stream.shutdown().await?;
                        while stream.read(&mut [0; 1024]).await? > 0 {}
                        return Ok(());
                    }
                    Act::Break => return Ok(()),
                }
                before = id;
            }
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(id.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Returns what a client gets for a `method` request with a body of five bytes.
async fn ask(entry: SocketAddr, method: Method) -> StatusCode {
    let stream = TcpStream::connect(entry).await.expect("it listens");
    let (mut sender, connection) = soon("a handshake", client::handshake(stream)).await.expect("HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Its end shows in the response.
        let _ = connection.await;
    });
    let request = Request::builder().method(method).uri("http://hello/call").body(()).expect("a request");
    let (answer, mut body) = sender.send_request(request, false).expect("it is sent");
    body.send_data(Bytes::from_static(b"hello"), true).expect("it is sent");
    soon("an answer", answer).await.expect("an answer, not a reset").status()
}

/// Checks that a request is delivered `times` before a response with `status`, over a connection that was used
/// before.
async fn delivered(path: Path, act: Act, method: Method, status: StatusCode, times: usize) {
    let app = App::start(&[Act::Answer, act], Act::Answer).await;
    let hops = Hops::start(path, &[app.address]).await;
    assert_eq!(ask(hops.entry, Method::GET).await, StatusCode::OK);
    assert_eq!(ask(hops.entry, method).await, status);
    assert_eq!(app.deliveries(), 1 + times, "the first is the one before");
}

/// Maximum number of deliveries of one request that its app keeps refusing: three by each hop.
const MOST_DELIVERIES: usize = 9;

const OK: StatusCode = StatusCode::OK;
const BAD_GATEWAY: StatusCode = StatusCode::BAD_GATEWAY;

on_both_ways! {
    a_post_whose_stream_the_app_refuses_is_sent_again =>
        |path| delivered(path, Act::Reset(Reason::REFUSED_STREAM), Method::POST, OK, 2);
    a_post_that_an_app_that_goes_has_not_begun_with_is_sent_again =>
        |path| delivered(path, Act::GoAway, Method::POST, OK, 2);
    a_post_that_the_app_resets_is_not_sent_again =>
        |path| delivered(path, Act::Reset(Reason::INTERNAL_ERROR), Method::POST, BAD_GATEWAY, 1);
    a_post_that_the_app_breaks_off_is_not_sent_again =>
        |path| delivered(path, Act::Break, Method::POST, BAD_GATEWAY, 1);
    a_get_that_the_app_breaks_off_is_sent_once_more => |path| delivered(path, Act::Break, Method::GET, OK, 2);
    a_post_that_the_app_refuses_for_ever_is_given_up => |path| async move {
        let app = App::start(&[Act::Answer], Act::Reset(Reason::REFUSED_STREAM)).await;
        let hops = Hops::start(path, &[app.address]).await;
        assert_eq!(ask(hops.entry, Method::GET).await, OK);
        let status = ask(hops.entry, Method::POST).await;
        assert!(status.is_server_error(), "{status}");
        assert!(app.deliveries() <= 1 + MOST_DELIVERIES, "delivered {} times", app.deliveries() - 1);
    };
}
