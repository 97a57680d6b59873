//! An open-loop HTTP/1.1 load generator.
//!
//! Requests are sent at the times of a [`Plan`], each in its own task, whatever happened to earlier ones;
//! latency counts from the planned time. A closed loop, which waits for an answer before it sends the next
//! request, falls silent just when the system stalls, and reports the stall once instead of for every request
//! that it would have hit (coordinated omission). wrk2 does the same, but its clock is too coarse for warm
//! requests; see `pacer`.
//!
//! Nothing is retried: everything except a complete answer with a 2xx status counts as lost, by cause.
//!
//! Read [`Plan`] and [`Outcome`] first. A display reads the [`LoadMeter`] while [`Generator::run`] is
//! running.

mod client;
mod meter;
mod pacer;
mod plan;
mod pool;
mod recent;
mod report;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep_until};

pub(crate) use meter::LoadMeter;
pub(crate) use plan::{Arrivals, Phase, Plan, PlannedSend};
pub(crate) use recent::RecentView;
pub(crate) use report::{Outcome, Tally};

use client::Client;
use report::Loss;

/// How often idle connections are checked while nothing is sent.
const HOUSEKEEPING: Duration = Duration::from_millis(250);

/// The target of all requests.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The address to connect to.
    pub(crate) address: SocketAddr,
    /// The `Host` header, by which a gateway distinguishes services.
    pub(crate) authority: Authority,
    /// The path with its query.
    pub(crate) path: PathAndQuery,
}

/// Limits of the generator and of the system under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most requests at once, each with its own connection. Planned requests beyond it are lost as
    /// [`Loss::Saturated`].
    pub(crate) max_in_flight: NonZeroUsize,
    /// The time from the planned time to the end of the answer.
    pub(crate) request_timeout: Duration,
}

impl Limits {
    /// Returns limits for a process that may have `open_files` descriptors (`ulimit -n`). A quarter may be in
    /// flight: the gateway in the same process needs two more for each (for its client and its pod), and the
    /// rest of the program needs some.
    pub(crate) fn within_open_files(open_files: u64) -> Self {
        let quarter = usize::try_from(open_files / 4).unwrap_or(usize::MAX);
        Self { max_in_flight: NonZeroUsize::new(quarter).unwrap_or(NonZeroUsize::MIN), ..Self::default() }
    }
}

impl Default for Limits {
    /// 5,000 in flight, a quarter of the 20,000 descriptors that a common server allows, and 30 seconds,
    /// longer than any tolerable cold start.
    fn default() -> Self {
        const MAX_IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(5_000).expect("it is not zero");
        Self { max_in_flight: MAX_IN_FLIGHT, request_timeout: Duration::from_secs(30) }
    }
}

/// A run that has not begun.
#[derive(Debug)]
pub(crate) struct Generator {
    plan: Plan,
    target: Target,
    limits: Limits,
    meter: LoadMeter,
}

impl Generator {
    /// Creates a run; it sends nothing yet.
    pub(crate) fn new(plan: Plan, target: Target, limits: Limits) -> Self {
        let meter = LoadMeter::new(&plan);
        Self { plan, target, limits, meter }
    }

    /// Returns the meter of this run, which stays valid after it.
    pub(crate) fn meter(&self) -> LoadMeter {
        self.meter.clone()
    }

    /// Executes the plan, and returns when its time is over and every request has ended. The same `seed`
    /// gives the same plan. Dropping the future stops the run: requests in flight count as abandoned as soon
    /// as the runtime has dropped their tasks. The meter stays readable.
    pub(crate) async fn run(self, seed: u64) -> Outcome {
        let ends = self.plan.duration();
        let schedule = self.plan.clone().send_times(StdRng::seed_from_u64(seed));
        let started = Instant::now();
        self.run_schedule(schedule, started).await;
        // A plan may end in silence, in which pods go away.
        sleep_until(started + ends).await;
        self.meter.outcome()
    }

    async fn run_schedule(
        &self,
        schedule: impl Iterator<Item = PlannedSend> + Send + 'static,
        started: Instant,
    ) {
        self.meter.begin(started);
        let client = Arc::new(Client::new(&self.target, self.limits.request_timeout));
        let (mut due, pacer) = pacer::start(schedule, started);
        let mut requests = JoinSet::new();
        let mut housekeeping = interval(HOUSEKEEPING);
        loop {
            tokio::select! {
                send = due.recv() => match send {
                    Some(send) => self.dispatch(send, started, &client, &mut requests),
                    None => break,
                },
                _ = housekeeping.tick() => client.close_idle(),
            }
        }
        // A task that panicked has dropped its guard, and so counted its request as abandoned.
        while requests.join_next().await.is_some() {}
        pacer.await.expect("the pacer only sleeps and sends");
    }

    fn dispatch(
        &self,
        send: PlannedSend,
        started: Instant,
        client: &Arc<Client>,
        requests: &mut JoinSet<()>,
    ) {
        let in_flight = self.meter.send(send);
        while requests.try_join_next().is_some() {}
        if requests.len() >= self.limits.max_in_flight.get() {
            in_flight.lost(Loss::Saturated);
            return;
        }
        let client = Arc::clone(client);
        requests.spawn(async move { client.exchange(in_flight, started + send.at).await });
    }
}
