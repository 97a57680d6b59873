//! Tests the generator against real sockets.

use std::future::Future;
use std::iter;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ebb_sample_app as sample_app;
use http::uri::{Authority, PathAndQuery};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::time::Instant;

use super::report::{Loss, Losses};
use super::{Generator, Limits, Outcome, Phase, Plan, PlannedSend, Target};

const MS: Duration = Duration::from_millis(1);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn generator(address: SocketAddr, path: &'static str, limits: Limits) -> Generator {
    let phase =
        |name: &str, rate_per_second| Phase { name: name.to_owned(), duration: 100 * MS, rate_per_second };
    let plan = Plan { phases: vec![phase("load", 500.0), phase("silence", 0.0)], ..Plan::default() };
    let target = Target {
        address,
        authority: Authority::from_static("sample.example"),
        path: PathAndQuery::from_static(path),
    };
    Generator::new(plan, target, limits)
}

/// Sends requests at these milliseconds, in the first phase.
async fn send_at(millis: &[u64], address: SocketAddr, limits: Limits) -> Outcome {
    let schedule: Vec<_> =
        millis.iter().map(|at| PlannedSend { at: Duration::from_millis(*at), phase: 0 }).collect();
    let generator = generator(address, "/", limits);
    generator.run_schedule(schedule.into_iter(), Instant::now()).await;
    generator.meter().outcome()
}

/// Starts a server that passes every connection to `serve` once a request's head has arrived.
async fn serve_with<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            tokio::spawn(serve(stream));
        }
    });
    address
}

async fn running_sample_app() -> SocketAddr {
    let server = sample_app::Server::bind(&sample_app::Options::default()).await.unwrap();
    let address = server.local_addr();
    tokio::spawn(server.run(std::future::pending()));
    address
}

#[tokio::test]
async fn a_healthy_server_answers_everything() {
    let generator = generator(running_sample_app().await, "/healthz", Limits::default());
    let meter = generator.meter();
    let outcome = generator.run(1).await;
    let load = &outcome.phases[0].1;
    assert!((20..100).contains(&load.sent), "50 on average: {load:?}");
    assert_eq!((load.answered, load.lost_total()), (load.sent, 0));
    assert_eq!(outcome.phases[1].1.sent, 0);
    assert_eq!(outcome.total, *load);
    assert!(load.latency.p50 > Duration::ZERO && load.latency.p50 <= load.latency.max);
    assert!(meter.elapsed() >= 200 * MS, "the silence belongs to the run");
    assert!(meter.recent().answered_per_second > 0.0);
}

#[tokio::test]
async fn a_status_other_than_2xx_is_a_loss() {
    let generator = generator(running_sample_app().await, "/status/503", Limits::default());
    let total = generator.run(1).await.total;
    assert_eq!(total.lost, Losses::from([(Loss::Status(503), total.sent)]));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_loss() {
    let address = serve_with(|mut stream| async move {
        stream.write_all(&ANSWER[..ANSWER.len() - 1]).await.unwrap();
    })
    .await;
    let total = send_at(&[0, 1, 2], address, Limits::default()).await.total;
    assert_eq!((total.sent, total.answered, total.lost), (3, 0, Losses::from([(Loss::Reset, 3)])));
}

#[tokio::test]
async fn without_a_listener_every_request_is_a_loss() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let total = send_at(&[0, 0], address, Limits::default()).await.total;
    assert_eq!(total.lost, Losses::from([(Loss::Connect, 2)]));
}

#[tokio::test]
async fn a_stalled_server_delays_no_send_and_the_stall_counts_for_every_request() {
    // Nothing is answered before the last request has come: a closed loop would wait forever.
    let all_here = Arc::new(Barrier::new(3));
    let address = serve_with(move |mut stream| {
        let all_here = Arc::clone(&all_here);
        async move {
            all_here.wait().await;
            stream.write_all(ANSWER).await.unwrap();
        }
    })
    .await;
    let total = send_at(&[0, 30, 60], address, Limits::default()).await.total;
    assert_eq!((total.sent, total.answered), (3, 3));
    assert!(total.latency.max >= 60 * MS && total.latency.p50 >= 30 * MS, "{:?}", total.latency);
}

#[tokio::test]
async fn latency_counts_from_the_planned_time_also_when_the_generator_is_late() {
    let generator = generator(running_sample_app().await, "/healthz", Limits::default());
    let late = iter::once(PlannedSend { at: Duration::ZERO, phase: 0 });
    generator.run_schedule(late, Instant::now() - 500 * MS).await;
    let outcome = generator.meter().outcome();
    assert!(outcome.send_lag.p50 >= 500 * MS, "{outcome:?}");
    assert!(outcome.total.latency.p50 >= 500 * MS, "{outcome:?}");
}

#[tokio::test]
async fn what_cannot_be_sent_and_what_takes_too_long_is_counted() {
    let address = serve_with(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let limits = Limits { max_in_flight: NonZeroUsize::MIN, request_timeout: 300 * MS };
    let total = send_at(&[0, 0], address, limits).await.total;
    assert_eq!(total.lost, Losses::from([(Loss::TimedOut, 1), (Loss::Saturated, 1)]));
}

#[tokio::test]
async fn a_run_that_is_dropped_abandons_what_is_in_flight() {
    let (arrived, mut arrival) = tokio::sync::mpsc::channel(1);
    let address = serve_with(move |stream| {
        let arrived = arrived.clone();
        async move {
            arrived.send(stream).await.unwrap();
        }
    })
    .await;
    let generator = generator(address, "/", Limits::default());
    let meter = generator.meter();
    let schedule = iter::once(PlannedSend { at: Duration::ZERO, phase: 0 });
    let mut unanswered = tokio::select! {
        () = generator.run_schedule(schedule, Instant::now()) => panic!("nobody answered"),
        stream = arrival.recv() => stream.unwrap(),
    };
    assert_eq!(unanswered.read(&mut [0]).await.unwrap(), 0, "the request's connection is closed");
    assert_eq!(meter.outcome().total.lost, Losses::from([(Loss::Abandoned, 1)]));
}

#[test]
fn limits_leave_descriptors_to_the_rest_of_the_process() {
    assert_eq!(Limits::within_open_files(20_000), Limits::default());
    assert_eq!(Limits::within_open_files(3).max_in_flight, NonZeroUsize::MIN);
}
