use std::net::Ipv4Addr;

use tokio::net::TcpListener;

use super::*;

/// Returns the address of a port on which nobody listens.
async fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_held_probe_is_answered_when_the_app_begins_to_listen() {
    let app = free_port().await;
    let readiness = Readiness::new(app, vec![Probe::tcp()]);
    let runner = readiness.clone();
    let run = tokio::spawn(async move { runner.run().await });
    let held = readiness.wait(Duration::from_secs(30));
    tokio::pin!(held);
    assert!(futures_are_pending(&mut held).await, "nobody listens yet");
    let _app = TcpListener::bind(app).await.unwrap();
    assert!(held.await);
    assert!(readiness.check().await);
    run.abort();
}

#[tokio::test]
async fn an_app_that_went_away_is_not_ready_until_it_is_back() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let app = listener.local_addr().unwrap();
    let readiness = Readiness::new(app, vec![Probe::tcp()]);
    let runner = readiness.clone();
    let run = tokio::spawn(async move { runner.run().await });
    assert!(readiness.wait(Duration::from_secs(30)).await);
    drop(listener);
    assert!(!readiness.check().await, "a check finds out");
    assert!(!readiness.phase().is_ready());
    let _back = TcpListener::bind(app).await.unwrap();
    assert!(readiness.wait(Duration::from_secs(30)).await);
    run.abort();
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_runs_out_answers_no() {
    let readiness = Readiness::new((Ipv4Addr::LOCALHOST, 9).into(), vec![Probe::tcp()]);
    let began = Instant::now();
    assert!(!readiness.wait(Duration::from_secs(10)).await);
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn without_a_probe_the_app_counts_as_ready() {
    let readiness = Readiness::new((Ipv4Addr::LOCALHOST, 9).into(), Vec::new());
    assert!(readiness.check().await);
    readiness.lost();
    assert!(readiness.check().await, "there is nothing by which it could come back");
}

async fn futures_are_pending<F: Future<Output = bool> + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending()))
        .await
}
