//! Who vanishes without a word is noticed in time: pods, clients, and strangers that only take up room.
//!
//! Real links are cut here and real time passes, because TCP is a part of what is tried. The bounds are those that
//! `ebb_proxy::net::liveness` promises; what it took is printed. Links need root: without it those tests are skipped.

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

/// Awaits what must come in time, and says how long it took.
async fn within<T>(bound: Duration, what: &str, future: impl Future<Output = T>) -> (T, Duration) {
    let began = Instant::now();
    let come = timeout(bound, future).await;
    let took = began.elapsed();
    println!("{what}: {took:.3?}, at most {bound:?}");
    (come.unwrap_or_else(|_| panic!("{what}: not within {bound:?}")), took)
}

/// Awaits a state that nobody announces.
async fn reached(mut is: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    while !is() {
        looks.tick().await;
    }
}
