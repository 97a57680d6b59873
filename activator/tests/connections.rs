//! How long clients' connections stay, as the table says it.

mod support;

use ebb_core::link::ServiceEntry;
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use support::{
    World,
    client::{Answer, ask, begin, connect, get, whole},
    pod::Pod,
    service_with, soon,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A connection that may reach this age is past it by the time that a pod has answered.
const AGE_MS: u64 = 1;

#[tokio::test(flavor = "multi_thread")]
async fn an_age_that_is_set_counts_for_the_connections_that_are_open() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry = service_with(&[&pod]);
    let port = world.serve(&entry).await;
    pod.becomes_ready().await;
    let _serving = pod.serves(|asked| asked.says("hello"));
    let mut client = connect(port).await;
    for _ in 0..3 {
        let answer = soon("an answer", asked_on(&mut client)).await;
        assert_eq!((answer.status, answer.header("connection")), (StatusCode::OK, None));
    }
    world.tell(&ServiceEntry { max_connection_age_ms: AGE_MS, ..entry }).await;
    let closes = async {
        loop {
            let answer = asked_on(&mut client).await;
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "hello"));
            if answer.header("connection") == Some("close") {
                break;
            }
        }
        while !client.is_closed() {
            tokio::task::yield_now().await;
        }
    };
    soon("the last answer", closes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_on_which_nothing_passes_ends_and_gives_its_place_to_the_next() {
    let mut world = World::new().await;
    let mut pod = Pod::start("a").await;
    let entry =
        ServiceEntry { container_concurrency: 1, tunnel_idle_timeout_ms: 100, ..service_with(&[&pod]) };
    let port = world.serve(&entry).await;
    pod.becomes_ready().await;
    let client = tokio::spawn(begin(port, upgrade()));
    let upgraded = pod.request().await.switches_to("websocket");
    let response = soon("101", client).await.unwrap();
    let next = ask(port, get("/next"));
    let mut client = TokioIo::new(soon("the client's side", hyper::upgrade::on(response)).await.unwrap());
    let mut server = TokioIo::new(soon("the pod's side", upgraded).await.unwrap());
    client.write_all(b"ping").await.unwrap();
    soon("ping", server.read_exact(&mut [0; 4])).await.unwrap();
    assert_eq!(soon("the client's end", client.read(&mut [0; 4])).await.unwrap(), 0);
    assert_eq!(soon("the pod's end", server.read(&mut [0; 4])).await.unwrap(), 0);
    pod.request().await.says("hello");
    next.hears("hello").await;
    world.is_idle().await;
}

/// The answer to one request more on a connection that is open.
async fn asked_on(client: &mut SendRequest<Full<bytes::Bytes>>) -> Answer {
    client.ready().await.expect("it is open");
    whole(client.send_request(get("/")).await.expect("an answer")).await
}

fn upgrade() -> Request<Full<bytes::Bytes>> {
    let mut request = get("/socket");
    request.headers_mut().insert("connection", http::HeaderValue::from_static("Upgrade"));
    request.headers_mut().insert("upgrade", http::HeaderValue::from_static("websocket"));
    request
}
