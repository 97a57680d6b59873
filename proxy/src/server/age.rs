//! How long a connection may last, regardless of its use.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use crate::upgrade::Term;

/// An HTTP/1 connection past its maximum age gets `Connection: close` with its next response. If it had no request
/// for this long, it is closed without one. Closing can collide with a request on its way, which is less likely the
/// longer the client has been silent.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// How long a client's connection may last, regardless of its use. All limits are off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum age. An older connection is asked to go; an upgraded one is closed this long after the switch. `None`
    /// is off. Each connection gets 90 to 110 % of it, so that connections that were opened together do not close
    /// together.
    pub max_age: Option<Duration>,
    /// An upgraded connection is closed after this long without a byte in either direction. `None` is off.
    pub tunnel_idle: Option<Duration>,
    /// Connections that started before this instant are asked to go, unless they were upgraded. `None` is off.
    pub renewed_at: Option<Instant>,
}

/// When a connection started, and the random number for its share of the maximum age.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    began: Instant,
    luck: u64,
}

impl Age {
    /// Returns the age of a connection that starts now.
    pub(crate) fn begin() -> Self {
        // The hasher's keys are random, and so is its hash of nothing.
        Self { began: Instant::now(), luck: RandomState::new().build_hasher().finish() }
    }

    /// Returns when the connection has lasted for as long as is `allowed`, or `None` for never.
    pub(crate) fn due(self, allowed: ConnectionLimits) -> Option<Instant> {
        let aged = self.aged(allowed.max_age);
        let renewed = allowed.renewed_at.filter(|at| self.began < *at);
        [aged, renewed].into_iter().flatten().min()
    }

    /// Returns when it reaches `max_age`, or `None` for never.
    fn aged(self, max_age: Option<Duration>) -> Option<Instant> {
        self.began.checked_add(share(max_age?, self.luck))
    }
}

/// Returns 90 to 110 % of `max_age`, depending on the connection's random number.
fn share(max_age: Duration, luck: u64) -> Duration {
    // The remainder is at most 200.
    let permille = 900 + u32::try_from(luck % 201).unwrap_or_default();
    (max_age / 1000).saturating_mul(permille)
}

/// How long one HTTP/1 connection may last, according to its server's current limits.
#[derive(Clone, Copy)]
pub(crate) struct Stay<'a> {
    pub(crate) age: Age,
    pub(crate) allowed: &'a (dyn Fn() -> ConnectionLimits + Sync),
}

impl Stay<'_> {
    /// Returns a stay without a limit.
    #[cfg(test)]
    pub(crate) fn forever() -> Self {
        Self { age: Age::begin(), allowed: &ConnectionLimits::default }
    }

    /// Returns whether the connection has lasted for long enough.
    pub(crate) fn is_over(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    /// Returns until when, from `now` on, nothing needs to be checked. `idle` is the maximum time to wait for the
    /// next request.
    pub(crate) fn idle_until(&self, now: Instant, idle: Duration) -> Instant {
        let latest = now + idle;
        self.due().map_or(latest, |due| latest.min(due.max(now + SILENT_FOR)))
    }

    /// Returns how long the tunnel may last that the connection becomes now. Its time starts here, because its client
    /// has just asked for it.
    pub(crate) fn tunnel(&self) -> Term {
        let allowed = (self.allowed)();
        let until =
            allowed.max_age.and_then(|max_age| Age { began: Instant::now(), ..self.age }.aged(Some(max_age)));
        Term { until, idle: allowed.tunnel_idle }
    }

    fn due(&self) -> Option<Instant> {
        self.age.due((self.allowed)())
    }
}

impl fmt::Debug for Stay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stay").field("age", &self.age).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use http::{Request, Response};
    use parking_lot::Mutex;
    use tokio::{
        sync::Notify,
        task::yield_now,
        time::{advance, timeout},
    };

    use super::*;
    use crate::{
        Drain, Handler, Limits, RequestBody, ResponseBody,
        server::{Connection, Presence},
    };

    #[test]
    fn each_connection_has_a_share_of_90_to_110_percent() {
        let second = Duration::from_secs(1);
        for (luck, millis) in [(0, 900), (1, 901), (100, 1000), (200, 1100), (201, 900)] {
            assert_eq!(share(second, luck), Duration::from_millis(millis), "{luck}");
        }
        let longest = share(second, u64::MAX);
        assert!((Duration::from_millis(900)..=Duration::from_millis(1100)).contains(&longest), "{longest:?}");
    }

    fn of(max_age: Duration) -> ConnectionLimits {
        ConnectionLimits { max_age: Some(max_age), ..ConnectionLimits::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn connections_from_before_a_renewal_are_due_and_later_ones_are_not() {
        let second = Duration::from_secs(1);
        let age = Age { began: Instant::now(), luck: 100 };
        let renewed = |at| ConnectionLimits { renewed_at: Some(at), ..ConnectionLimits::default() };
        assert_eq!(age.due(renewed(age.began)), None, "it came with it");
        assert_eq!(age.due(renewed(age.began + second)), Some(age.began + second));
        let both = ConnectionLimits { renewed_at: Some(age.began + 9 * second), ..of(5 * second) };
        assert_eq!(age.due(both), Some(age.began + 5 * second));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_off_or_beyond_all_time_is_never_due() {
        let age = Age { began: Instant::now(), luck: 100 };
        assert_eq!(age.due(ConnectionLimits::default()), None);
        assert_eq!(age.due(of(Duration::MAX)), None);
        assert_eq!(age.due(of(Duration::from_secs(5))), Some(Instant::now() + Duration::from_secs(5)));
    }

    /// Has limits for connections, and answers no request.
    #[derive(Default)]
    struct Limiting(Mutex<ConnectionLimits>);

    impl Handler for Limiting {
        type Guard = ();

        async fn call(&self, _: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
            std::future::pending().await
        }

        fn connection_limits(&self) -> ConnectionLimits {
            *self.0.lock()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nobody_notices_within_a_minute_that_it_has_become_too_old() {
        let second = Duration::from_secs(1);
        let (handler, began) = (Arc::new(Limiting::default()), Instant::now());
        let connection = connection(&handler);
        let aged = tokio::spawn(async move { connection.aged().await });
        for max_age in [None, Some(5000 * second)] {
            handler.0.lock().max_age = max_age;
            for _ in 0..20 {
                advance(50 * second).await;
                yield_now().await;
            }
            assert!(!aged.is_finished(), "{max_age:?}");
        }
        handler.0.lock().max_age = Some(100 * second);
        timeout(61 * second, aged).await.expect("in time").unwrap();
        assert!(began.elapsed() > 2000 * second);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_asks_nobody_is_told_at_its_very_age() {
        let (handler, began) = (Arc::new(Limiting::default()), Instant::now());
        let age = Duration::from_secs(100);
        handler.0.lock().max_age = Some(age);
        connection(&handler).aged().await;
        assert_eq!(began.elapsed(), age);
    }

    fn connection(handler: &Arc<Limiting>) -> Connection<Limiting> {
        Connection {
            handler: handler.clone(),
            drain: Drain::default(),
            limits: Arc::new(Limits::default()),
            presence: Presence::alone(),
            age: Age { began: Instant::now(), luck: 100 },
            overdue: Notify::new(),
            peer: "10.0.0.9:1".parse().unwrap(),
        }
    }

    #[test]
    fn connections_differ_in_luck() {
        let first = Age::begin().luck;
        assert!((0..100).any(|_| Age::begin().luck % 201 != first % 201));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_kept_until_its_age_or_idle_time_is_over_and_a_moment_at_least() {
        let now = Instant::now();
        let age = Age { began: now, luck: 100 };
        for (max_age, idle, until) in [(0, 620, 620), (100, 620, 100), (100, 60, 60), (3, 620, 10), (3, 5, 5)]
        {
            let seconds = Duration::from_secs;
            let max_age = (max_age > 0).then(|| seconds(max_age));
            let allowed = move || ConnectionLimits { max_age, ..ConnectionLimits::default() };
            let stay = Stay { age, allowed: &allowed };
            assert_eq!(stay.idle_until(now, seconds(idle)), now + seconds(until), "{max_age:?} {idle}");
        }
    }
}
