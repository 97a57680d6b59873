//! The network between an autoscaler and its activators is cut: neither sees an end, a reset or an error.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use activator::Activator;
use bytes::Bytes;
use ebb_hops::net::{Spoke, in_a_net};
use ebb_proxy::{Quiet, Upstream, UpstreamLimits, WallClock, fetch};
use http::{HeaderValue, Request, header};
use support::{SOON, World, world_at};
use tokio::time::{Instant, sleep, timeout};

/// Time limit for noticing a vanished peer.
const NOTICED: Duration = Duration::from_secs(10);
/// The port on which activators answer for the service of these tests.
const PORT: u16 = 30_001;

/// Starts a real activator at `here`, with its autoscaler at `autoscaler` and its metrics at `metrics`.
async fn activator(here: IpAddr, autoscaler: SocketAddr, metrics: Option<SocketAddr>) -> Activator {
    let mut config = activator::Config::from_env(|name| match name {
        "POD_NAME" => Some(format!("activator-{here}")),
        "POD_IP" => Some(here.to_string()),
        "EBB_AUTOSCALER" => Some(autoscaler.to_string()),
        _ => None,
    })
    .expect("a configuration");
    (config.listen, config.metrics) = (here, metrics);
    config.drain = Quiet { quiet: Duration::ZERO, limit: Duration::from_secs(1) };
    Activator::start(&config, WallClock::start(), None).await.expect("it starts")
}

async fn activators_at(spokes: &[Spoke], world: &World) -> Vec<Activator> {
    let mut activators = Vec::new();
    for spoke in spokes {
        let (there, autoscaler) = (spoke.there, SocketAddr::new(spoke.here, world.address.port()));
        activators.push(spoke.run(activator(there, autoscaler, None)).await);
    }
    activators
}

async fn published_within(world: &mut World, spokes: &[&Spoke], what: &str) {
    let wanted: Vec<String> = spokes.iter().map(|spoke| format!("{}:{PORT}", spoke.there)).collect();
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    timeout(NOTICED, world.until_all_published(&wanted)).await.unwrap_or_else(|_| panic!("{what}"));
}

#[test]
fn an_activator_whose_network_is_cut_gets_no_traffic_until_it_is_back() {
    in_a_net(2, async |net| {
        let mut world = world_at(Ipv4Addr::UNSPECIFIED).await;
        let _activators = activators_at(&net.spokes, &world).await;
        let [first, second] = &net.spokes[..] else { unreachable!("two were asked for") };
        published_within(&mut world, &[first, second], "both are there").await;
        first.cut();
        published_within(&mut world, &[second], "the one that was cut is unpublished").await;
        first.mend();
        published_within(&mut world, &[first, second], "it is back").await;
    });
}

/// Returns the number of open streams, from the activator's metrics.
async fn streams(metrics: SocketAddr) -> Option<u32> {
    let upstream = Upstream::new(metrics, UpstreamLimits::default());
    let mut request = Request::get("/metrics").body(Bytes::new()).expect("a request");
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("activator"));
    let answer = fetch(&upstream, request, 1 << 20, SOON).await.expect("metrics");
    let text = String::from_utf8(answer.body().to_vec()).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("ebb_activator_autoscaler_link_up "))?;
    line.parse().ok()
}

async fn has_streams_within(metrics: SocketAddr, count: u32) {
    let began = Instant::now();
    while streams(metrics).await != Some(count) {
        assert!(began.elapsed() < NOTICED, "not {count} streams within {NOTICED:?}");
        // Metrics must be polled.
        sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn an_autoscaler_whose_network_is_cut_is_known_to_be_gone_and_found_when_it_is_back() {
    in_a_net(1, async |net| {
        let [spoke] = &net.spokes[..] else { unreachable!("one was asked for") };
        let world = spoke.run(world_at(Ipv4Addr::UNSPECIFIED)).await;
        let autoscaler = SocketAddr::new(spoke.there, world.address.port());
        let metrics = SocketAddr::new(spoke.here, 9090);
        let _activator = activator(spoke.here, autoscaler, Some(metrics)).await;
        has_streams_within(metrics, 1).await;
        spoke.cut();
        has_streams_within(metrics, 0).await;
        spoke.mend();
        has_streams_within(metrics, 1).await;
    });
}
