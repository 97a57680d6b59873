//! Interim responses over HTTP/2: Early Hints, and `Expect: 100-continue`, which the app answers.

use std::{future::poll_fn, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use ebb_hops::{Hops, Path, each_on_paths, soon, until};
use h2::{
    RecvStream, SendStream,
    client::{self, ResponseFuture},
    server::{self, SendResponse},
};
use http::{HeaderValue, Request, Response, StatusCode, header};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

/// What the app does with a request.
#[derive(Clone, Copy, Debug)]
enum Script {
    /// Sends 103 twice, and responds when it is told to.
    Hints,
    /// Sends 100, reads the body, responds.
    Asks,
    /// Responds with 417 without reading the body.
    Refuses,
}

struct App {
    address: SocketAddr,
    told: Arc<Notify>,
    _serving: JoinSet<()>,
}

impl App {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (told, mut serving) = (Arc::new(Notify::new()), JoinSet::new());
        let hears = told.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, script, hears.clone()));
            }
        });
        Self { address, told, _serving: serving }
    }
}

/// The test checks how a connection ends.
async fn serve(stream: TcpStream, script: Script, told: Arc<Notify>) {
    let Ok(mut connection) = server::handshake(stream).await else { return };
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        streams.spawn(play(script, request, respond, told.clone()));
    }
}

async fn play(
    script: Script,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    told: Arc<Notify>,
) {
    let (head, body) = request.into_parts();
    let status = match script {
        Script::Hints => {
            for link in ["</a.css>; rel=preload", "</b.js>; rel=preload"] {
                let mut hint = Response::new(());
                *hint.status_mut() = StatusCode::EARLY_HINTS;
                hint.headers_mut().insert(header::LINK, HeaderValue::from_static(link));
                respond.send_informational(hint).expect("the stream is open");
            }
            told.notified().await;
            StatusCode::OK
        }
        Script::Asks => {
            assert_eq!(head.headers[header::EXPECT], "100-continue");
            let mut go_on = Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            respond.send_informational(go_on).expect("the stream is open");
            assert_eq!(read(body).await, b"hello");
            StatusCode::OK
        }
        Script::Refuses => StatusCode::EXPECTATION_FAILED,
    };
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    let mut out = respond.send_response(answer, false).expect("the stream is open");
    out.send_data(Bytes::from_static(b"done"), true).expect("the stream is open");
}

async fn read(mut body: RecvStream) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.expect("the body is whole");
        body.flow_control().release_capacity(data.len()).expect("it was taken");
        read.extend_from_slice(&data);
    }
    read
}

/// A request that was sent, through hops that live as long as this.
struct Asked {
    answer: ResponseFuture,
    upload: SendStream<Bytes>,
    hops: Hops,
    _connection: JoinSet<()>,
}

impl Asked {
    /// Sends only the head of a request that has a body.
    async fn begin(path: Path, app: &App, expects: bool) -> Self {
        let hops = Hops::start(path, &[app.address]).await;
        let stream = TcpStream::connect(hops.entry).await.expect("it listens");
        let (mut sender, connection) = soon("a handshake", client::handshake(stream)).await.expect("HTTP/2");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            // Its end shows in the response.
            let _ = connection.await;
        });
        let mut request = Request::post("http://shop.example/").body(()).expect("a request");
        if expects {
            request.headers_mut().insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        }
        let (mut answer, upload) = sender.send_request(request, false).expect("it is sent");
        if path == Path::Held {
            until("the request is held", || hops.held() > 0).await;
            let heard = poll_fn(|cx| std::task::Poll::Ready(answer.poll_informational(cx).is_ready())).await;
            assert!(!heard, "while no pod can take it nothing is said");
            hops.release().await;
        }
        Self { answer, upload, hops, _connection: tasks }
    }

    async fn interim(&mut self) -> Response<()> {
        let interim = soon("an interim answer", poll_fn(|cx| self.answer.poll_informational(cx))).await;
        interim.expect("the answer does not come first").expect("the stream lives")
    }

    /// Returns the status of the response, whose body must be complete.
    async fn answered(mut self) -> StatusCode {
        let more = soon("the answer", poll_fn(|cx| self.answer.poll_informational(cx))).await;
        assert!(more.is_none(), "{more:?}");
        let answer = soon("the answer", self.answer).await.expect("an answer");
        let status = answer.status();
        assert_eq!(soon("its body", read(answer.into_body())).await, b"done");
        drop((self.upload, self.hops));
        status
    }
}

async fn hints_come_before_the_answer(path: Path) {
    let app = App::start(Script::Hints).await;
    let mut asked = Asked::begin(path, &app, false).await;
    for link in ["</a.css>; rel=preload", "</b.js>; rel=preload"] {
        let hint = asked.interim().await;
        assert_eq!(
            (hint.status(), &hint.headers()[header::LINK]),
            (StatusCode::EARLY_HINTS, &link.parse().expect("a value"))
        );
    }
    app.told.notify_one();
    assert_eq!(asked.answered().await, StatusCode::OK);
}

async fn a_body_is_asked_for_by_the_app(path: Path) {
    let app = App::start(Script::Asks).await;
    let mut asked = Asked::begin(path, &app, true).await;
    assert_eq!(asked.interim().await.status(), StatusCode::CONTINUE);
    asked.upload.send_data(Bytes::from_static(b"hello"), true).expect("the stream is open");
    assert_eq!(asked.answered().await, StatusCode::OK);
}

async fn a_body_that_the_app_refuses_is_not_asked_for(path: Path) {
    let app = App::start(Script::Refuses).await;
    let asked = Asked::begin(path, &app, true).await;
    assert_eq!(asked.answered().await, StatusCode::EXPECTATION_FAILED);
}

each_on_paths! {
    hints_come_before_the_answer: direct Direct, sidecar Sidecar, both Both, held Held;
    a_body_is_asked_for_by_the_app: direct Direct, sidecar Sidecar, both Both, held Held;
    a_body_that_the_app_refuses_is_not_asked_for: direct Direct, sidecar Sidecar, both Both, held Held;
}
