//! What passes over HTTP/2. Each case runs directly, through the sidecar, and through both hops, with a ready pod and
//! with one that becomes ready while the request is held. Client and app see the same on each path.

use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use ebb_hops::{Hops, Path, soon, until};
use h2::{Reason, RecvStream, SendStream, client, server};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// More than any case sends.
const MAX_HEADER_BYTES: u32 = 4 * 1024 * 1024;
/// What a client sends at once of an endless upload.
const PIECE: &[u8] = &[b'x'; 16 * 1024];

type Fields = Vec<(String, Vec<u8>)>;

/// What the client sends.
#[derive(Clone)]
struct Asks {
    method: Method,
    target: String,
    fields: Fields,
    body: Body,
    /// Whether it reads the response only when it has sent everything, or can send no more.
    reads_last: bool,
}

/// A body of a client or an app.
#[derive(Clone)]
enum Body {
    /// There is no body.
    None,
    /// These bytes, and then the end.
    Data(Vec<u8>),
    /// These bytes, and then these trailers.
    Trailed(Vec<u8>, Fields),
    /// As much as is accepted, without an end.
    Endless,
    /// These bytes, and then a reset.
    Reset(Vec<u8>, Reason),
    /// These bytes, and then the connection breaks.
    Gone(Vec<u8>),
}

/// What the app does.
#[derive(Clone)]
struct Does {
    reads: Reads,
    status: u16,
    fields: Fields,
    body: Body,
}

/// What the app does with the body of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// It responds when it has read all of it.
    First,
    /// It responds, and resets the stream without reading the body.
    Nothing,
    /// It responds, and then reads and discards the body.
    Afterwards,
    /// The same, and it accepts no more requests on the connection.
    Lingering,
}

/// What one side has received of the other's message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Method, target and authority, or the status.
    line: String,
    fields: Fields,
    body: Bytes,
    trailers: Fields,
    /// Whether it ended early.
    is_broken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    client: Seen,
    app: Vec<Seen>,
}

fn fields(of: &[(&str, &str)]) -> Fields {
    of.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

fn map(fields: &Fields) -> HeaderMap {
    let each = |(name, value): &(String, Vec<u8>)| {
        let name: HeaderName = name.parse().expect("a name");
        (name, HeaderValue::from_bytes(value).expect("a value"))
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(each) {
        map.append(name, value);
    }
    map
}

/// Returns the fields ordered by name, without those that a hop adds.
fn unmapped(map: &HeaderMap) -> Fields {
    let added = ["x-forwarded-for", "date"];
    let mut fields: Fields = map
        .iter()
        .filter(|(name, _)| !added.contains(&name.as_str()))
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}

/// Sends `data` as it is accepted; returns an error if the other side accepts no more.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, ends: bool) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let capacity = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let capacity = capacity.unwrap_or_else(|| Err(Reason::CANCEL.into()))?;
        let piece = data.split_to(capacity.min(data.len()));
        let is_last = ends && data.is_empty();
        stream.send_data(piece, is_last)?;
    }
    Ok(())
}

async fn send_body(stream: &mut SendStream<Bytes>, body: Body) -> Result<(), h2::Error> {
    match body {
        Body::None => Ok(()),
        Body::Data(data) => send(stream, data.into(), true).await,
        Body::Trailed(data, trailers) => {
            send(stream, data.into(), false).await?;
            stream.send_trailers(map(&trailers))
        }
        Body::Endless => loop {
            send(stream, Bytes::from_static(PIECE), false).await?;
        },
        Body::Reset(data, reason) => {
            send(stream, data.into(), false).await?;
            drained(stream).await;
            stream.send_reset(reason);
            Ok(())
        }
        Body::Gone(data) => {
            send(stream, data.into(), false).await?;
            drained(stream).await;
            Ok(())
        }
    }
}

/// A reset would overtake data that is not written yet; the connection writes when its task runs.
async fn drained(_: &SendStream<Bytes>) {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Receives the rest of a message.
async fn receive(mut stream: RecvStream, seen: &mut Seen) {
    let mut body = BytesMut::new();
    while let Some(data) = stream.data().await {
        let Ok(data) = data else {
            seen.is_broken = true;
            break;
        };
        body.extend_from_slice(&data);
        // A stream that has ended needs no capacity.
        let _ = stream.flow_control().release_capacity(data.len());
    }
    seen.body = body.freeze();
    if !seen.is_broken {
        match stream.trailers().await {
            Ok(trailers) => seen.trailers = trailers.as_ref().map(unmapped).unwrap_or_default(),
            Err(_) => seen.is_broken = true,
        }
    }
}

/// Like [`receive`], but discards the body.
async fn thrown_away(mut stream: RecvStream) {
    while let Some(Ok(data)) = stream.data().await {
        // A stream that has ended needs no capacity.
        let _ = stream.flow_control().release_capacity(data.len());
    }
}

struct App {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _serving: JoinSet<()>,
}

impl App {
    async fn start(does: Does) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (saw, mut serving) = (seen.clone(), JoinSet::new());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, does.clone(), saw.clone()));
            }
        });
        Self { address, seen, _serving: serving }
    }
}

async fn serve(stream: TcpStream, does: Does, saw: Arc<Mutex<Vec<Seen>>>) {
    stream.set_nodelay(true).expect("a living socket");
    let mut builder = server::Builder::new();
    builder.max_header_list_size(MAX_HEADER_BYTES);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut answering = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(Ok((request, respond))) = accepted else { return };
                if does.reads == Reads::Lingering {
                    connection.graceful_shutdown();
                }
                answering.spawn(answer(request, respond, does.clone(), saw.clone()));
            }
            Some(goes_on) = answering.join_next() => {
                if !goes_on.expect("no panic") {
                    return;
                }
            }
        }
    }
}

/// Handles a request. Returns whether the connection continues.
async fn answer(
    request: Request<RecvStream>,
    mut respond: server::SendResponse<Bytes>,
    does: Does,
    saw: Arc<Mutex<Vec<Seen>>>,
) -> bool {
    let (head, stream) = request.into_parts();
    let authority = head.uri.authority().map(ToString::to_string).unwrap_or_default();
    let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let line = format!("{} {target} {authority}", head.method);
    let mut seen = Seen { line, fields: unmapped(&head.headers), ..Seen::default() };
    let mut unread = Some(stream);
    if does.reads == Reads::First
        && let Some(stream) = unread.take()
    {
        receive(stream, &mut seen).await;
    }
    saw.lock().push(seen);
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(does.status).expect("a status");
    *response.headers_mut() = map(&does.fields);
    let ends = matches!(does.body, Body::None);
    let goes_on = !matches!(does.body, Body::Gone(_));
    if let Ok(mut stream) = respond.send_response(response, ends) {
        // The client may have disconnected.
        let _ = send_body(&mut stream, does.body).await;
    }
    if matches!(does.reads, Reads::Afterwards | Reads::Lingering)
        && let Some(stream) = unread.take()
    {
        thrown_away(stream).await;
    }
    goes_on
}

async fn ask(entry: SocketAddr, asks: Asks) -> Seen {
    let stream = TcpStream::connect(entry).await.expect("it listens");
    stream.set_nodelay(true).expect("a living socket");
    let mut builder = client::Builder::new();
    builder.max_header_list_size(MAX_HEADER_BYTES);
    let (mut sender, connection) = builder.handshake(stream).await.expect("HTTP/2");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // Its end shows in the response.
        let _ = connection.await;
    });
    let uri = Uri::builder().scheme("http").authority("hello.example").path_and_query(asks.target.as_str());
    let mut request = Request::new(());
    *request.method_mut() = asks.method;
    *request.uri_mut() = uri.build().expect("a target");
    *request.headers_mut() = map(&asks.fields);
    let ends = matches!(asks.body, Body::None);
    let (answer, mut stream) = sender.send_request(request, ends).expect("it is sent");
    let sending = async {
        // An early response may stop this.
        let _ = send_body(&mut stream, asks.body).await;
    };
    let receiving = async {
        let mut seen = Seen::default();
        match answer.await {
            Ok(response) => {
                let (head, stream) = response.into_parts();
                (seen.line, seen.fields) = (head.status.as_u16().to_string(), unmapped(&head.headers));
                receive(stream, &mut seen).await;
            }
            Err(_) => seen.is_broken = true,
        }
        seen
    };
    if asks.reads_last {
        sending.await;
        receiving.await
    } else {
        // A client that has the complete response need not continue sending.
        let mut sending = std::pin::pin!(sending);
        let mut receiving = std::pin::pin!(receiving);
        tokio::select! {
            seen = &mut receiving => seen,
            () = &mut sending => receiving.await,
        }
    }
}

async fn outcome(path: Path, asks: Asks, does: Does) -> Outcome {
    let app = App::start(does).await;
    let hops = Hops::start(path, &[app.address]).await;
    let entry = hops.entry;
    let asked = tokio::spawn(ask(entry, asks));
    if path == Path::Held {
        until("the request is held, or answered", || hops.held() > 0 || asked.is_finished()).await;
        hops.release().await;
    }
    let client = soon("the answer", asked).await.expect("the client does not panic");
    let app = app.seen.lock().clone();
    Outcome { client, app }
}

/// Checks that the result on `path` is the same as directly.
async fn is_as_directly(path: Path, asks: Asks, does: Does) {
    let directly = outcome(Path::Direct, asks.clone(), does.clone()).await;
    assert_eq!((directly.client.line.as_str(), directly.app.len()), (does.status.to_string().as_str(), 1));
    let through = outcome(path, asks, does).await;
    assert_eq!(through, directly);
}

/// Defines modules with one test for each path.
macro_rules! on_every_way {
    ($($name:ident => $asks:expr, $does:expr;)*) => { $(
        mod $name {
            use super::*;

            async fn check(path: Path) {
                is_as_directly(path, $asks, $does).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sidecar() {
                check(Path::Sidecar).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn both() {
                check(Path::Both).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn held() {
                check(Path::Held).await;
            }
        }
    )* };
}

fn asks(method: Method, target: &str) -> Asks {
    Asks { method, target: target.to_owned(), fields: Vec::new(), body: Body::None, reads_last: false }
}

fn get() -> Asks {
    asks(Method::GET, "/")
}

fn post(body: Body) -> Asks {
    Asks { body, ..asks(Method::POST, "/") }
}

fn says(status: u16, of: &[(&str, &str)], body: Body) -> Does {
    Does { reads: Reads::First, status, fields: fields(of), body }
}

fn ok() -> Does {
    says(200, &[], Body::Data(b"ok".to_vec()))
}

/// A response to a request that is not read.
fn early(status: u16, of: &[(&str, &str)]) -> Does {
    Does { reads: Reads::Nothing, ..says(status, of, Body::Data(b"no".to_vec())) }
}

/// More than can be in flight at once, whatever is between the client and the app.
fn long_upload_that_reads_last() -> Asks {
    Asks { reads_last: true, ..post(Body::Data(vec![b'x'; 4 * 1024 * 1024])) }
}

fn data(text: &str) -> Body {
    Body::Data(text.as_bytes().to_vec())
}

fn many_fields() -> Fields {
    (0..300).map(|n| (format!("x-field-{n}"), format!("value {n}").into_bytes())).collect()
}

on_every_way! {
    an_early_401 => post(Body::Endless), early(401, &[("www-authenticate", "Basic")]);
    an_early_302 => post(Body::Endless), early(302, &[("location", "/elsewhere")]);
    an_early_413 => post(Body::Endless), early(413, &[]);
    an_early_401_to_a_client_that_reads_last =>
        Asks { reads_last: true, ..post(Body::Endless) }, early(401, &[("www-authenticate", "Basic")]);
    an_early_answer_without_a_body => post(Body::Endless), Does { body: Body::None, ..early(401, &[]) };
    an_early_answer_to_a_short_upload => post(data("hello")), early(401, &[]);

    a_413_of_an_app_that_reads_on => post(Body::Endless), Does { reads: Reads::Afterwards, ..early(413, &[]) };
    a_413_of_an_app_that_reads_on_to_a_client_that_reads_last =>
        long_upload_that_reads_last(), Does { reads: Reads::Afterwards, ..early(413, &[]) };
    a_413_of_an_app_that_lingers => post(Body::Endless), Does { reads: Reads::Lingering, ..early(413, &[]) };
    a_413_of_an_app_that_lingers_to_a_client_that_reads_last =>
        long_upload_that_reads_last(), Does { reads: Reads::Lingering, ..early(413, &[]) };
    a_302_without_a_body_of_an_app_that_lingers => post(Body::Endless),
        Does { reads: Reads::Lingering, body: Body::None, ..early(302, &[("location", "/elsewhere")]) };

    a_delete_with_a_body => Asks { method: Method::DELETE, ..post(data("all of it")) }, ok();
    a_get_with_a_body => Asks { method: Method::GET, ..post(data("a query")) }, ok();
    a_get_whose_body_has_a_length => Asks {
        method: Method::GET, fields: fields(&[("content-length", "7")]), ..post(data("a query"))
    }, ok();
    a_post_without_a_body => post(Body::None), ok();
    a_post_of_a_megabyte => post(Body::Data(vec![b'x'; 1024 * 1024])), ok();
    an_answer_of_a_megabyte => get(), says(200, &[], Body::Data(vec![b'y'; 1024 * 1024]));
    a_head_with_a_length => asks(Method::HEAD, "/"), says(200, &[("content-length", "9")], Body::None);
    options_of_everything => asks(Method::OPTIONS, "*"), ok();
    a_method_that_nobody_knows => asks(Method::from_bytes(b"BREW").expect("a method"), "/pot"), ok();

    a_204 => get(), says(204, &[], Body::None);
    a_304 => get(), says(304, &[("etag", "\"1\"")], Body::None);
    a_304_with_a_length => get(), says(304, &[("content-length", "5")], Body::None);
    a_status_that_nobody_knows => get(), says(599, &[], data("odd"));
    an_answer_without_a_body => get(), says(200, &[], Body::None);
    an_answer_that_is_empty => get(), says(200, &[("content-length", "0")], Body::None);

    three_hundred_fields => Asks { fields: many_fields(), ..get() }, ok();
    an_answer_with_three_hundred_fields => get(), Does { fields: many_fields(), ..ok() };
    values_that_are_no_text =>
        Asks { fields: vec![("x-name".to_owned(), b"caf\xe9".to_vec())], ..get() },
        Does { fields: vec![("x-name".to_owned(), b"na\xefve".to_vec())], ..ok() };
    fields_that_come_more_than_once =>
        Asks { fields: fields(&[("x-a", "1"), ("x-b", "2"), ("x-a", "3")]), ..get() },
        Does { fields: fields(&[("set-cookie", "a=1"), ("set-cookie", "b=2")]), ..ok() };
    cookies_in_pieces => Asks { fields: fields(&[("cookie", "a=1"), ("cookie", "b=2")]), ..get() }, ok();

    a_target_with_a_bar => asks(Method::GET, "/a|b?c|d"), ok();
    a_target_with_quotes_and_braces => asks(Method::GET, "/\"a\"/{b}?c={d}"), ok();
    a_target_that_is_escaped => asks(Method::GET, "/%7e/%2F/%00?q=%20+"), ok();
    a_target_with_dots => asks(Method::GET, "/a/../b/./c//d"), ok();
    a_target_of_60_kilobytes => asks(Method::GET, &format!("/{}", "a".repeat(60_000))), ok();
    a_target_with_an_empty_query => asks(Method::GET, "/a?"), ok();

    trailers_of_a_request => post(Body::Trailed(b"hi".to_vec(), fields(&[("x-sum", "1"), ("x-sum", "2")]))), ok();
    trailers_alone => post(Body::Trailed(Vec::new(), fields(&[("x-sum", "1")]))), ok();
    trailers_of_an_answer =>
        get(), says(200, &[("trailer", "x-sum")], Body::Trailed(b"hi".to_vec(), fields(&[("x-sum", "1")])));
    trailers_without_data => get(), says(200, &[], Body::Trailed(Vec::new(), fields(&[("grpc-status", "0")])));
    an_answer_of_grpc_that_is_its_trailers_alone => post(data("call")),
        says(200, &[("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "no")], Body::None);
    a_call_of_grpc => Asks {
        fields: fields(&[("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1S")]),
        ..post(data("call"))
    }, says(200, &[("content-type", "application/grpc")],
        Body::Trailed(b"reply".to_vec(), fields(&[("grpc-status", "0"), ("grpc-message", "fine")])));

    an_answer_that_is_reset => get(), says(200, &[], Body::Reset(b"half".to_vec(), Reason::INTERNAL_ERROR));
    an_answer_that_is_cancelled => get(), says(200, &[], Body::Reset(b"half".to_vec(), Reason::CANCEL));
    an_answer_whose_app_is_gone => get(), says(200, &[], Body::Gone(b"half".to_vec()));
    an_answer_that_is_shorter_than_it_says => get(), says(200, &[("content-length", "9")], data("half"));
}
