//! Shuts down a server without losing a request.
//!
//! HTTP/1 cannot tell a silent client to send no further request on a connection: if a server closes an idle
//! connection, a request may already be on its way. A drain therefore has two steps. *Leaving*: every response has
//! `Connection: close` (HTTP/2 gets GOAWAY at once, which is safe), and idle connections stay open. *Closing*, after
//! some time without a request: idle connections are closed, and requests in flight finish.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::task::TaskTracker;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    Leaving,
    Closing,
    Aborted,
}

/// What was cut when a drain timed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Number of connections that were still open, including upgraded ones.
    pub connections: usize,
}

/// When *leaving* becomes *closing*.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// Time without a new request. It covers the time until the last client knows that the server leaves, and the
    /// time for which clients keep idle connections.
    pub quiet: Duration,
    /// Time after which the drain ends, whatever is still open.
    pub limit: Duration,
}

/// The drain state of one server, shared by its listeners and connections.
#[derive(Clone, Debug)]
pub struct Drain {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    stage: watch::Sender<Stage>,
    connections: watch::Sender<usize>,
    requests: AtomicU64,
    tasks: TaskTracker,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            state: Arc::new(State {
                stage: watch::Sender::new(Stage::Serving),
                connections: watch::Sender::new(0),
                requests: AtomicU64::new(0),
                tasks: TaskTracker::new(),
            }),
        }
    }
}

impl Drain {
    /// Returns whether a drain has started. Probes then report it, and responses close their connections.
    pub fn is_leaving(&self) -> bool {
        *self.state.stage.borrow() >= Stage::Leaving
    }

    /// Resolves when a drain starts.
    pub async fn leaving(&self) {
        self.reached(Stage::Leaving).await;
    }

    /// Resolves when a drain has reached *closing*.
    pub async fn ended(&self) {
        self.reached(Stage::Closing).await;
        self.state.tasks.wait().await;
    }

    /// Returns the tasks that a drain waits for: connections and upgraded streams.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.state.tasks
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.state.connections.send_modify(|open| *open += 1);
        OpenConnection { drain: self.clone() }
    }

    /// Records that a request arrived.
    pub(crate) fn request(&self) {
        self.state.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) async fn reached(&self, stage: Stage) {
        let mut watched = self.state.stage.subscribe();
        // This cannot fail: the sender lives as long as `self`.
        let _ = watched.wait_for(|current| *current >= stage).await;
    }

    /// Starts *leaving*: from now on responses close their connections; idle connections stay open.
    pub fn leave(&self) {
        self.advance(Stage::Leaving);
    }

    /// Ends at once and cuts every connection.
    pub fn abort(&self) {
        self.advance(Stage::Aborted);
    }

    /// Runs a complete drain: leaves, closes, and waits until the last request has ended, within `plan`'s limit.
    ///
    /// # Errors
    ///
    /// Returns [`Cut`] if the limit passed first. What was open then is cut.
    pub async fn run(&self, plan: Quiet) -> Result<(), Cut> {
        let deadline = Instant::now() + plan.limit;
        self.leave();
        let _ = timeout_at(deadline, self.quiet(plan.quiet)).await;
        self.advance(Stage::Closing);
        self.state.tasks.close();
        if timeout_at(deadline, self.state.tasks.wait()).await.is_ok() {
            return Ok(());
        }
        let cut = Cut { connections: *self.state.connections.borrow() };
        self.advance(Stage::Aborted);
        self.state.tasks.wait().await;
        Err(cut)
    }

    /// Resolves when no request has arrived for `quiet`.
    async fn quiet(&self, quiet: Duration) {
        loop {
            let seen = self.state.requests.load(Ordering::Relaxed);
            sleep(quiet).await;
            if self.state.requests.load(Ordering::Relaxed) == seen {
                return;
            }
        }
    }

    fn advance(&self, to: Stage) {
        self.state.stage.send_if_modified(|stage| {
            let later = to > *stage;
            if later {
                *stage = to;
            }
            later
        });
    }
}

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    drain: Drain,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.drain.state.connections.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Quiet = Quiet { quiet: Duration::from_secs(2), limit: Duration::from_secs(30) };

    #[tokio::test(start_paused = true)]
    async fn a_request_puts_off_the_close() {
        let drain = Drain::default();
        let run = tokio::spawn({
            let drain = drain.clone();
            async move { drain.run(PLAN).await }
        });
        let began = Instant::now();
        sleep(Duration::from_secs(1)).await;
        drain.request();
        drain.reached(Stage::Closing).await;
        assert_eq!(began.elapsed(), Duration::from_secs(4));
        assert_eq!(run.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_outlives_the_limit_is_cut_and_counted() {
        let drain = Drain::default();
        let task = drain.clone();
        drain.tasks().spawn(async move {
            let _open = task.connection();
            task.reached(Stage::Aborted).await;
        });
        tokio::task::yield_now().await;
        let began = Instant::now();
        assert_eq!(drain.run(PLAN).await, Err(Cut { connections: 1 }));
        assert_eq!(began.elapsed(), PLAN.limit);
    }
}
