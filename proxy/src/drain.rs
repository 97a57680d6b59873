//! Leaving without losing a request.
//!
//! HTTP/1 has no way to say "not another one on this connection" to a client that is silent: a server that
//! closes an idle connection may close it over a request that is on its way. So a drain has two steps.
//! *Leaving*: every answer says `Connection: close` (HTTP/2 gets GOAWAY at once, which is safe), and what
//! is idle stays open. *Closing*, once nothing came for a while: idle connections are closed, and what is
//! in flight is finished.

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

/// What a drain that ran out of time cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Connections, upgraded ones among them, that were still open.
    pub connections: usize,
}

/// When *leaving* may become *closing*.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// So long must no new request have come. It covers the time until the last client has heard that we
    /// leave, and the time for which clients keep idle connections.
    pub quiet: Duration,
    /// After so long it is over, whatever is still open.
    pub limit: Duration,
}

/// The state of one server, shared by its listeners and connections.
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
    /// Whether a drain has begun: probes answer so, and answers close their connections.
    pub fn is_leaving(&self) -> bool {
        *self.state.stage.borrow() >= Stage::Leaving
    }

    /// Resolves when a drain begins.
    pub async fn leaving(&self) {
        self.reached(Stage::Leaving).await;
    }

    /// Resolves when a drain has come so far that nothing new is expected.
    pub async fn ended(&self) {
        self.reached(Stage::Closing).await;
        self.state.tasks.wait().await;
    }

    /// The tasks that a drain waits for: connections and upgraded streams.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.state.tasks
    }

    /// Counts a connection until the guard is dropped.
    pub(crate) fn connection(&self) -> OpenConnection {
        self.state.connections.send_modify(|open| *open += 1);
        OpenConnection { drain: self.clone() }
    }

    /// A request has come.
    pub(crate) fn request(&self) {
        self.state.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) async fn reached(&self, stage: Stage) {
        let mut watched = self.state.stage.subscribe();
        // The sender lives as long as `self`.
        let _ = watched.wait_for(|current| *current >= stage).await;
    }

    /// Begins to leave: answers say so from now on, connections stay.
    pub fn leave(&self) {
        self.advance(Stage::Leaving);
    }

    /// Ends at once: every connection is cut.
    pub fn abort(&self) {
        self.advance(Stage::Aborted);
    }

    /// Leaves, closes and waits until the last request has ended, within `plan`'s limit.
    ///
    /// # Errors
    ///
    /// [`Cut`] if the limit passed first; what was open then is cut.
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

    /// Resolves when no request came for `quiet`.
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

/// A connection that is counted while this lives.
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
