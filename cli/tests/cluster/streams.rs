//! Connections that outlive a scale-up.

use std::{net::SocketAddr, time::Duration};

use crate::support::{
    address,
    client::{get, get_in_background},
    ready_pods, service, start, until_service,
};
use ebb_decide::zero::Path;
use ebb_local::ServiceStatus;
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// Far more than what is awaited here takes.
const GENEROUS: Duration = Duration::from_secs(20);

async fn websocket(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(format!("ws://{address}/ws"), stream).await.unwrap().0
}

async fn echoes(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_live_through_a_scale_up_and_the_change_to_direct_traffic() {
    // One pod has no capacity for such a burst, and three have.
    let scale = [("target", "10"), ("max-scale", "4"), ("target-burst-capacity", "15")];
    let cluster = start(vec![service("streams", &scale, &[])]).await;
    let address = address(&cluster, "streams");
    let mut early = websocket(address).await;
    echoes(&mut early, "held and passed on").await;
    let events = get_in_background(address, "/events?count=100&ms=100");
    until_service(&cluster, "streams", |status| status.load.in_flight >= 2.0, "both are open").await;
    assert_eq!(cluster.status()[0].view.unwrap().path, Path::Proxy);

    let burst: Vec<_> = (0..60).map(|_| get_in_background(address, "/?ms=1500")).collect();
    until_service(&cluster, "streams", |status| ready_pods(status) >= 3, "scaled up").await;
    echoes(&mut early, "with more pods").await;
    for request in burst {
        request.await.unwrap().assert_ok();
    }
    let direct = |status: &ServiceStatus| status.view.is_some_and(|view| view.path == Path::Serve);
    until_service(&cluster, "streams", direct, "pods are reached directly").await;
    echoes(&mut early, "through the activator still").await;
    let mut late = websocket(address).await;
    echoes(&mut late, "directly").await;
    get(address, "/").await.assert_ok();

    let events = events.await.unwrap();
    events.assert_ok();
    assert_eq!(events.body.matches("data: event").count(), 100);
    assert!(events.body.ends_with("data: event 100 of 100\n\n"));
    echoes(&mut early, "to the end").await;
    for mut socket in [early, late] {
        socket.close(None).await.unwrap();
    }
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_ends_when_it_is_silent_or_old_and_counts_no_more() {
    for limit in ["tunnel-idle-timeout", "max-connection-age"] {
        for (capacity, path) in [("-1", Path::Proxy), ("0", Path::Serve)] {
            ends(limit, capacity, path).await;
        }
    }
}

/// A websocket that may stay for a second by `limit` ends, on the `path` that requests take with that burst `capacity`.
async fn ends(limit: &str, capacity: &str, path: Path) {
    let annotations = [(limit, "1s"), ("target-burst-capacity", capacity)];
    let cluster = start(vec![service("streams", &annotations, &[])]).await;
    let address = address(&cluster, "streams");
    get(address, "/").await.assert_ok();
    let on_path = |status: &ServiceStatus| status.view.is_some_and(|view| view.path == path);
    until_service(&cluster, "streams", on_path, "requests take the path").await;
    let mut socket = websocket(address).await;
    echoes(&mut socket, "open").await;
    let end = timeout(GENEROUS, socket.next()).await.expect("it ends");
    assert!(!matches!(end, Some(Ok(_))), "{limit} {capacity}: {end:?}");
    let is_idle = |status: &ServiceStatus| {
        status.load.in_flight == 0.0 && status.pods.iter().all(|pod| pod.in_flight == 0.0)
    };
    until_service(&cluster, "streams", is_idle, "it counts no more").await;
    cluster.shut_down().await;
}
