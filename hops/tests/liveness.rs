//! Peers that vanish silently are detected in time: pods, clients, and strangers that only occupy places.
//!
//! These tests cut real links and take real time, because TCP is part of what is tested. The limits are those that
//! `ebb_proxy::net::liveness` promises; the measured times are printed. Links require root; without it, the tests are
//! skipped.

#[path = "liveness/clients.rs"]
mod clients;
#[path = "liveness/delay.rs"]
mod delay;
#[path = "liveness/http2.rs"]
mod http2;
#[path = "liveness/places.rs"]
mod places;
#[path = "liveness/pods.rs"]
mod pods;

use std::time::Duration;

use tokio::time::{Instant, timeout};

/// Waits for something that must happen in time, and prints how long it took.
async fn within<T>(bound: Duration, what: &str, future: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let come = timeout(bound, future).await;
    let took = began.elapsed();
    println!("{what}: {took:.3?}, at most {bound:?}");
    (come.unwrap_or_else(|_| panic!("{what}: not within {bound:?}")), took)
}

/// Waits for a condition without an event.
async fn reached(mut is: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    while !is() {
        looks.tick().await;
    }
}
