//! Requests at a given rate, whatever becomes of those before: as many clients as it takes, and each outcome is counted.

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
/// Idle connections are closed by a client that keeps them after so long: well before a pod that ends stops looking after them.
const KEPT: Duration = Duration::from_secs(2);

/// What is to be asked, and how often.
#[derive(Clone, Debug)]
pub struct Load {
    place: Place,
    path: String,
    per_second: u32,
    keeps: bool,
}

impl Load {
    /// So many GETs a second, each on a connection of its own.
    pub fn of(per_second: u32, place: impl Into<Place>, path: &str) -> Self {
        Self { place: place.into(), path: path.to_owned(), per_second, keeps: false }
    }

    /// By a client that keeps its connections, as most do, and repeats what was never sent.
    #[must_use]
    pub fn keeping_connections(mut self) -> Self {
        self.keeps = true;
        self
    }

    /// Begins, and goes on until it is told to stop.
    pub fn start(self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let (so_far, served) = watch::channel(0);
        let per_second = self.per_second;
        let running = async move { self.run(&told, &so_far).await };
        Running { stop, per_second, served, task: tokio::spawn(running) }
    }

    /// Tells how many were served while it goes on.
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

/// A load that goes on.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    per_second: u32,
    /// So far.
    served: watch::Receiver<u32>,
    task: JoinHandle<Report>,
}

impl Running {
    /// Waits until so many more requests have been served.
    ///
    /// # Panics
    ///
    /// When they are not.
    pub async fn serves(&self, more: u32) {
        let mut served = self.served.clone();
        let enough = served.borrow_and_update().saturating_add(more);
        let within = LATE + Duration::from_secs(1) * more / self.per_second;
        let reached = timeout(within, served.wait_for(|served| *served >= enough)).await;
        reached.expect("so many are served in time").expect("the load goes on");
    }

    /// Sends no more, waits for what was sent, and tells.
    ///
    /// # Panics
    ///
    /// When the load itself did.
    pub async fn stop(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load runs to its end")
    }
}

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Shot {
    /// When it was sent, from the load's begin.
    pub at: Duration,
    /// Until the last byte of its answer, or until there was none to be expected.
    pub took: Duration,
    /// What its answer said; empty if there was none.
    pub said: String,
    /// Its answer's status.
    pub outcome: Result<StatusCode, Lost>,
}

impl Shot {
    /// Whether a pod of that app answered.
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

/// What became of them all.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One by one, in the order in which they ended.
    pub shots: Vec<Shot>,
}

impl Report {
    /// How many were sent.
    pub fn sent(&self) -> usize {
        self.shots.len()
    }

    /// How many were not answered with 200.
    pub fn lost(&self) -> usize {
        self.shots.iter().filter(|shot| !shot.is_served()).count()
    }

    /// The longest time that a request took.
    pub fn slowest(&self) -> Duration {
        self.shots.iter().map(|shot| shot.took).max().unwrap_or_default()
    }

    /// # Panics
    ///
    /// When any request was not answered with 200, or none was sent.
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
