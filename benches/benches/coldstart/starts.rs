//! Cold starts, phase by phase.
//!
//! All times are of this machine's clock: requests, watches (see [`timeline`](crate::timeline)), the sample
//! app's own report (`/started`), and the time stamps in the sidecar's log.

use std::{net::SocketAddr, time::Duration};

use e2e::{App, Cluster, Front, HTTP_PORT, SOON, Scenario, eventually, get};
use ebb_proxy::WallClock;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::LogParams};
use tokio::task::JoinSet;

use crate::{Failure, table::Table, timeline::Timeline};

const SIDECAR: &str = "queue-proxy";
/// How long the slow app takes until it listens.
const STARTUP_MS: u32 = 500;

/// The kind of app that is started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Plain,
    WithoutToken,
    SlowToStart,
}

impl Shape {
    fn in_words(self) -> &'static str {
        match self {
            Self::Plain => "an app that listens at once; its service-account token is mounted",
            Self::WithoutToken => "an app that listens at once; ebb.dev/mount-token: \"false\"",
            Self::SlowToStart => "an app that listens after 500 ms; its service-account token is mounted",
        }
    }

    fn app(self, name: &str) -> App {
        let app = App::deployment(name);
        if matches!(self, Self::SlowToStart) { app.starting_within_ms(STARTUP_MS) } else { app }
    }

    fn front(self, app: &App) -> Front {
        let front = Front::scaled(app);
        if matches!(self, Self::WithoutToken) { front.with("ebb.dev/mount-token", "false") } else { front }
    }
}

/// Wakes new services of a shape one after the other.
pub(crate) async fn one_by_one(cluster: &Cluster, shape: Shape, starts: usize) -> Result<(), Failure> {
    println!("{starts} cold starts, one by one: {}", shape.in_words());
    let scenario = Scenario::begin(cluster.clone(), "bench").await;
    let timeline = Timeline::follow(&scenario, WallClock::start());
    let mut table = Table::default();
    for n in 0..starts {
        let app = shape.app(&format!("s{n}"));
        let address = scenario.with(&app, &shape.front(&app)).await;
        let start = wake(&timeline, address).await?;
        start.tell(&mut table, &Inside::of(&scenario, app.name()).await?, &timeline, app.name())?;
        scenario.remove(&app).await;
    }
    table.print();
    scenario.end().await;
    Ok(())
}

/// Wakes all services at the same time.
pub(crate) async fn together(cluster: &Cluster, services: usize) -> Result<(), Failure> {
    println!("{services} services woken at one moment: {}", Shape::Plain.in_words());
    let scenario = Scenario::begin(cluster.clone(), "bench").await;
    let timeline = Timeline::follow(&scenario, WallClock::start());
    let mut apps = Vec::new();
    for n in 0..services {
        let app = App::deployment(&format!("s{n}"));
        let address = scenario.with(&app, &Front::scaled(&app)).await;
        apps.push((app, address));
    }
    let mut clients = JoinSet::new();
    let begin = timeline.now();
    for (app, address) in apps {
        let timeline_clock = timeline.clock();
        clients.spawn(async move {
            let sent = timeline_clock.now().since_epoch();
            let answer = get(address, "/").await;
            (app, sent, timeline_clock.now().since_epoch(), answer)
        });
    }
    let mut table = Table::default();
    let (mut last_patch, mut last_answer) = (Duration::ZERO, Duration::ZERO);
    while let Some(done) = clients.join_next().await {
        let (app, sent, answered, answer) = done?;
        answer.map_err(|lost| lost.to_string())?.assert_ok();
        let start = Start { sent, answered };
        last_answer = last_answer.max(answered);
        last_patch = last_patch.max(timeline.of(app.name()).patched.unwrap_or_default());
        start.tell(&mut table, &Inside::of(&scenario, app.name()).await?, &timeline, app.name())?;
    }
    table.print();
    println!("last scale patched after {:.1} ms", (last_patch.saturating_sub(begin)).as_secs_f64() * 1e3);
    println!("last request answered after {:.1} ms", (last_answer.saturating_sub(begin)).as_secs_f64() * 1e3);
    scenario.end().await;
    Ok(())
}

/// A request to a service at zero.
struct Start {
    sent: Duration,
    answered: Duration,
}

async fn wake(timeline: &Timeline, address: SocketAddr) -> Result<Start, Failure> {
    let sent = timeline.now();
    let answer = get(address, "/").await.map_err(|lost| lost.to_string())?;
    let answered = timeline.now();
    answer.assert_ok();
    Ok(Start { sent, answered })
}

impl Start {
    fn tell(
        &self,
        table: &mut Table,
        inside: &Inside,
        timeline: &Timeline,
        app: &str,
    ) -> Result<(), Failure> {
        let seen = timeline.of(app);
        let patched = seen.patched.ok_or("the watch did not tell of the scale")?;
        let created = seen.created.ok_or("the watch did not tell of the pod")?;
        let scheduled = seen.scheduled.ok_or("the watch did not tell of the pod's node")?;
        let running = inside.app.max(inside.sidecar);
        table.add("request sent → scale patched", self.sent, patched);
        table.add("scale patched → pod created", patched, created);
        table.add("pod created → scheduled", created, scheduled);
        table.add("scheduled → app listens", scheduled, inside.app);
        table.add("scheduled → sidecar listens", scheduled, inside.sidecar);
        if let Some(noticed) = inside.noticed {
            table.add("both listen → the sidecar knows", running, noticed);
            table.add("the sidecar knows → answered", noticed, self.answered);
        }
        table.add("app listens → answered", inside.app, self.answered);
        table.add("total", self.sent, self.answered);
        let total = self.answered.saturating_sub(self.sent).as_secs_f64();
        let others = running.saturating_sub(created).as_secs_f64();
        table.add_ms("own share: total − (created → both listen)", (total - others) * 1e3);
        Ok(())
    }
}

/// Times reported from inside the pod.
struct Inside {
    /// When the app began to listen.
    app: Duration,
    /// When the sidecar began to listen.
    sidecar: Duration,
    /// When the sidecar knew that the app is ready.
    noticed: Option<Duration>,
}

impl Inside {
    async fn of(scenario: &Scenario, app: &str) -> Result<Self, Failure> {
        let pod = scenario.pods(app).await.into_iter().next().ok_or("the pod is gone")?;
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
        let ip = match ip {
            Some(ip) => ip,
            // The request was answered before the API knew the pod's address.
            None => eventually("the pod has its address", SOON, async || address(scenario, app).await).await,
        };
        let answer = get(SocketAddr::new(ip.parse()?, HTTP_PORT), "/started").await;
        let text = answer.map_err(|lost| lost.to_string())?.body;
        let micros: u64 = text.trim().strip_prefix("listening_us=").ok_or("no /started")?.parse()?;
        let pods = scenario.api::<Pod>();
        let of_sidecar = LogParams { container: Some(SIDECAR.to_owned()), ..LogParams::default() };
        let log = eventually("the sidecar's log can be read", SOON, async || {
            let log = pods.logs(&pod.name_any(), &of_sidecar).await.ok()?;
            time_of(&log, "listening").is_some().then_some(log)
        })
        .await;
        Ok(Self {
            app: Duration::from_micros(micros),
            sidecar: time_of(&log, "listening").ok_or("the sidecar does not say when it listens")?,
            noticed: time_of(&log, "app is ready"),
        })
    }
}

async fn address(scenario: &Scenario, app: &str) -> Option<String> {
    scenario.pods(app).await.into_iter().next()?.status?.pod_ip
}

/// Returns the time stamp of the first log line that contains the text.
fn time_of(log: &str, text: &str) -> Option<Duration> {
    let line = log.lines().find(|line| line.contains(text))?;
    let stamp: Timestamp = line.split_whitespace().next()?.parse().ok()?;
    u64::try_from(stamp.as_microsecond()).ok().map(Duration::from_micros)
}
