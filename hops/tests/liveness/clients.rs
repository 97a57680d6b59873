//! A client vanishes while there is nothing to write to it: its request does not run for ever.

use std::{net::SocketAddr, time::Duration};

use ebb_hops::{
    Hops,
    app::{Act, App, Script, write},
    client::{Answers, Client},
    net::{Net, in_a_net},
    pod_at,
};
use http_body_util::BodyExt;
use queue_proxy::QueueProxy;

use crate::{http2, reached, within};

/// [`ebb_proxy::net::Liveness::CLIENT`] is half a minute; plus five seconds.
const NOTICED: Duration = Duration::from_secs(35);

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
pub(crate) const SWITCH: &str =
    "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello";
const STREAMED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";

pub(crate) fn web_socket() -> Script {
    Script::of([Act::Read, write(SWITCHED), Act::Echo])
}

/// A response that continues when it is told to, which never happens.
fn stream() -> Script {
    Script::of([Act::Read, write(STREAMED), Act::UntilTold(1)])
}

/// Two clients send `request`, one to a sidecar and one to an activator, receive `hello`, and vanish.
fn vanish(request: &'static str, script: fn() -> Script) {
    in_a_net(1, async move |net| {
        let here = net.spokes[0].here;
        let apps = [App::start(script()).await, App::start(script()).await];
        let (direct, entry) = pod_at(here, apps[0].address).await;
        let (behind, pod) = pod_at(here, apps[1].address).await;
        let hops = Hops::before(here, &[pod]).await;
        for entry in [entry, hops.entry] {
            net.spokes[0].run(listens(entry, request)).await;
        }
        let sidecars = [&direct, &behind];
        free_their_slots_when_cut(&net, &sidecars).await;
    });
}

/// Sends `request`, receives `hello`, and keeps reading until its network is gone.
async fn listens(entry: SocketAddr, request: &'static str) {
    let mut client = Client::connect(entry).await;
    client.send(request).await;
    let tape = client.answers.tape.clone();
    tokio::spawn(async move {
        client.answers.wire.drain().await;
        drop(client);
    });
    Answers::have(&tape, "hello").await;
}

async fn free_their_slots_when_cut(net: &Net, sidecars: &[&QueueProxy]) {
    let in_flight = || sidecars.iter().map(|sidecar| sidecar.in_flight()).collect::<Vec<_>>();
    assert!(in_flight().iter().all(|count| *count == 1.0), "{:?}", in_flight());
    net.spokes[0].cut();
    let free = reached(|| in_flight().iter().all(|count| *count == 0.0));
    within(NOTICED, "the slots are free", free).await;
}

#[test]
fn a_client_that_vanishes_from_a_web_socket_frees_its_slot() {
    vanish(SWITCH, web_socket);
}

#[test]
fn a_client_that_vanishes_in_a_streamed_answer_frees_its_slot() {
    vanish(GET, stream);
}

#[test]
fn a_client_of_http2_that_vanishes_in_a_streamed_answer_frees_its_slot() {
    in_a_net(1, async move |net| {
        let app = http2::App::start_streaming().await;
        let (sidecar, entry) = pod_at(net.spokes[0].here, app.address).await;
        let asked = async move {
            let mut client = http2::Client::connect(entry).await;
            let mut body = client.get().await.expect("an answer").into_body();
            let first = body.frame().await.expect("a beginning").expect("no error");
            assert_eq!(first.data_ref().map(|data| &data[..]), Some(&b"hello"[..]));
            (client, body)
        };
        let _client = net.spokes[0].run(asked).await;
        free_their_slots_when_cut(&net, &[&sidecar]).await;
    });
}
