//! Sends requests at a given rate, whatever happens to earlier ones, with as many clients as needed, and
//! records each outcome.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    http::{Answer, Lost, cause, get_within, whole},
    place::Place,
    wait::LATE,
};

/// When a client of the load gives up. Longer than any cold start, shorter than a test.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long clients keep idle connections: much less than a draining pod waits for them.
const KEPT: Duration = Duration::from_secs(2);

/// What to request, and how often.
#[derive(Clone, Debug)]
pub struct Load {
    place: Place,
    path: String,
    per_second: u32,
    keeps: bool,
}

impl Load {
    /// Creates a load of `per_second` GETs, each on a new connection.
    pub fn of(per_second: u32, place: impl Into<Place>, path: &str) -> Self {
        Self { place: place.into(), path: path.to_owned(), per_second, keeps: false }
    }

    /// Makes clients keep their connections, as most do, and repeat requests that were never sent.
    #[must_use]
    pub fn keeping_connections(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// Starts the load, which continues until it is stopped.
    pub fn start(self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let (so_far, served) = watch::channel(0);
        let per_second = self.per_second;
        let running = async move { self.run(&told, &so_far).await };
        Running { stop, per_second, served, task: tokio::spawn(running) }
    }

    /// Publishes the number of served requests while it runs.
    async fn run(self, stop: &AtomicBool, so_far: &watch::Sender<u32>) -> Report {
        let start = Instant::now();
        let kept: Option<Kept> = self.keeps.then(kept);
        let mut clients = JoinSet::new();
        let mut report = Report::default();
        for n in 0_u32.. {
            let due = Duration::from_secs(1) * n / self.per_second;
            if stop.load(Ordering::Relaxed) {
                break;
            }
            sleep_until(start + due).await;
            let (kept, place, path) = (kept.clone(), self.place.clone(), self.path.clone());
            clients.spawn(async move {
                let sent = Instant::now();
                let answer = match kept {
                    None => get_within(place, &path, PATIENCE).await,
                    Some(kept) => ask(&kept, &place, &path).await,
                };
                let said = answer.as_ref().map(|answer| answer.body.clone()).unwrap_or_default();
                Shot {
                    at: sent - start,
                    took: sent.elapsed(),
                    said,
                    outcome: answer.map(|answer| answer.status),
                }
            });
            while let Some(done) = clients.try_join_next() {
                let is_served = done.as_ref().is_ok_and(Shot::is_served);
                report.shots.extend(done);
                so_far.send_modify(|served| *served += u32::from(is_served));
            }
        }
        while let Some(done) = clients.join_next().await {
            report.shots.extend(done);
        }
        report
    }
}

type Kept = Client<HttpConnector, Full<Bytes>>;

fn kept() -> Kept {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEPT)
        .build(connector)
}

async fn ask(client: &Kept, place: &Place, path: &str) -> Result<Answer, Lost> {
    timeout(PATIENCE, async {
        let request = Request::get(format!("http://{}{path}", place.address))
            .header(header::HOST, &place.host)
            .body(Full::default())
            .map_err(|error| Lost::Unanswered(error.to_string()))?;
        let response = client.request(request).await.map_err(|error| Lost::Unanswered(cause(&error)))?;
        whole(response).await
    })
    .await
    .unwrap_or(Err(Lost::TimedOut))
}

/// A running load.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    per_second: u32,
    /// Requests served so far.
    served: watch::Receiver<u32>,
    task: JoinHandle<Report>,
}

impl Running {
    /// Waits until `more` further requests have been served.
    ///
    /// # Panics
    ///
    /// Panics if they are not.
    pub async fn serves(&self, more: u32) {
        let mut served = self.served.clone();
        let enough = served.borrow_and_update().saturating_add(more);
        let within = LATE + Duration::from_secs(1) * more / self.per_second;
        let reached = timeout(within, served.wait_for(|served| *served >= enough)).await;
        reached.expect("so many are served in time").expect("the load goes on");
    }

    /// Stops sending, waits for the requests in flight, and returns the report.
    ///
    /// # Panics
    ///
    /// Panics if the load's task panicked.
    pub async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load runs to its end")
    }
}

/// The outcome of one request.
#[derive(Clone, Debug)]
pub struct Shot {
    /// When it was sent, since the start of the load.
    pub at: Duration,
    /// The time until the last byte of its answer, or until it failed.
    pub took: Duration,
    /// The text of its answer; empty if there was none.
    pub said: String,
    /// Its answer's status.
    pub outcome: Result<StatusCode, Lost>,
}

impl Shot {
    /// Returns whether a pod of that app answered.
    pub fn is_by(&self, app: &str) -> bool {
        self.said
            .strip_prefix("hello from ")
            .and_then(|pod| pod.strip_prefix(app))
            .is_some_and(|rest| rest.starts_with('-'))
    }

    fn is_served(&self) -> bool {
        self.outcome == Ok(StatusCode::OK)
    }
}

/// The outcomes of all requests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// All requests, in the order in which they ended.
    pub shots: Vec<Shot>,
}

impl Report {
    /// Returns how many were sent.
    pub fn sent(&self) -> usize {
        self.shots.len()
    }

    /// Returns how many were not answered with 200.
    pub fn lost(&self) -> usize {
        self.shots.iter().filter(|shot| !shot.is_served()).count()
    }

    /// Returns the longest time that a request took.
    pub fn slowest(&self) -> Duration {
        self.shots.iter().map(|shot| shot.took).max().unwrap_or_default()
    }

    /// # Panics
    ///
    /// Panics if any request was not answered with 200, or none was sent.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        assert!(self.sent() > 0, "nothing was sent");
        assert!(self.lost() == 0, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sent, {} lost, the slowest in {:?}", self.sent(), self.lost(), self.slowest())?;
        let mut kinds: BTreeMap<String, Vec<&Shot>> = BTreeMap::new();
        for shot in self.shots.iter().filter(|shot| !shot.is_served()) {
            let kind = match &shot.outcome {
                Ok(status) => status.to_string(),
                Err(lost) => lost.to_string(),
            };
            kinds.entry(kind).or_default().push(shot);
        }
        for (kind, shots) in kinds {
            let at: Vec<String> =
                shots.iter().take(12).map(|shot| format!("{:.2}", shot.at.as_secs_f64())).collect();
            write!(f, "; {} × {kind}, sent {} s after the begin", shots.len(), at.join(", "))?;
        }
        Ok(())
    }
}
