//! The stream to the autoscaler: reports up, tables down. Opened again whenever it ends; until then the
//! last tables hold, and requests wait.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use ebb_core::{
    link::{Down, Frames, Hello, PATH, Up, frame},
    stat::{WireStatMessage, WireStatMessages},
};
use ebb_proxy::stream::{ChannelBody, open};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rand::RngExt;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, info, warn};

use crate::{service::Shared, services::Services};

/// Reports wait here while the network is slow; there is one a second and one for each first request.
const UP_CAPACITY: usize = 256;
/// The autoscaler must answer in so long.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// Between two tries to open the stream, at first and at most.
const RETRY: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(2)];
/// How often what is in flight is reported, while anything is.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A stream that takes no message for so long is broken.
const STALLED: Duration = Duration::from_secs(5);

/// Keeps a stream to the autoscaler open.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) autoscaler: SocketAddr,
    pub(crate) hello: Hello,
    pub(crate) shared: Arc<Shared>,
    pub(crate) services: Arc<Services>,
    pub(crate) pokes: mpsc::Receiver<WireStatMessage>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Open(#[from] ebb_proxy::stream::OpenError),
    #[error("cannot make the request: {0}")]
    Request(#[from] http::Error),
    #[error("the autoscaler answered {0}")]
    Refused(StatusCode),
    #[error("the autoscaler ended it")]
    Closed,
    #[error("it took no message for {STALLED:?}")]
    Stalled,
    #[error(transparent)]
    Frame(#[from] ebb_core::link::FrameError),
}

impl Link {
    /// Never ends.
    pub(crate) async fn run(mut self) {
        let mut pause = RETRY[0];
        loop {
            let began = Instant::now();
            let (ended, was_open) = self.session().await;
            self.shared.metrics.link_up.set(0);
            if was_open {
                warn!(autoscaler = %self.autoscaler, why = %ended, "link to the autoscaler ended");
            } else {
                debug!(autoscaler = %self.autoscaler, why = %ended, "no link to the autoscaler yet");
            }
            // One that takes the stream only to end it must not be asked fifty times a second.
            if was_open && began.elapsed() > RETRY[1] {
                pause = RETRY[0];
            }
            // Not all activators at the same moment.
            let jitter = rand::rng().random_range(0.5..1.0);
            sleep(pause.mul_f64(jitter)).await;
            pause = (pause * 2).min(RETRY[1]);
        }
    }

    async fn session(&mut self) -> (Ended, bool) {
        let (up, down) = match self.open().await {
            Ok(stream) => stream,
            Err(ended) => return (ended, false),
        };
        info!(autoscaler = %self.autoscaler, "link to the autoscaler is open");
        self.shared.metrics.link_up.set(1);
        match self.talk(up, down).await {
            Ok(never) => match never {},
            Err(ended) => (ended, true),
        }
    }

    async fn open(&self) -> Result<(mpsc::Sender<Bytes>, Incoming), Ended> {
        let (up, body) = ChannelBody::new(UP_CAPACITY);
        let request = Request::post(format!("http://{}{PATH}", self.autoscaler)).body(body)?;
        let response = open(self.autoscaler, request, OPEN_WITHIN).await?;
        if response.status() != StatusCode::OK {
            return Err(Ended::Refused(response.status()));
        }
        Ok((up, response.into_body()))
    }

    async fn talk(
        &mut self,
        up: mpsc::Sender<Bytes>,
        mut down: Incoming,
    ) -> Result<std::convert::Infallible, Ended> {
        // What was to be told while nobody listened is in the catching up.
        while self.pokes.try_recv().is_ok() {}
        send(&up, &self.introduction()).await?;
        let mut frames = Frames::default();
        let mut reports = report_interval();
        let mut spoke = true;
        loop {
            let speaks = !self.shared.speaking.lock().is_empty();
            if speaks && !spoke {
                // A second begins with what broke the silence.
                reports.reset();
            }
            spoke = speaks;
            tokio::select! {
                piece = down.frame() => {
                    let piece = piece.and_then(Result::ok).ok_or(Ended::Closed)?;
                    if let Ok(bytes) = piece.into_data() {
                        frames.push(&bytes);
                    }
                    while let Some(message) = frames.next_message::<Down>()? {
                        let listening = self.services.apply(message).await;
                        if !listening.is_empty() {
                            send(&up, &Up { listening, ..Up::default() }).await?;
                        }
                    }
                }
                Some(first) = self.pokes.recv() => {
                    let mut messages = vec![self.signed(first)];
                    while let Ok(more) = self.pokes.try_recv() {
                        messages.push(self.signed(more));
                    }
                    send(&up, &stats(messages)).await?;
                }
                _ = reports.tick(), if speaks => {
                    let messages = self.report();
                    if !messages.is_empty() {
                        send(&up, &stats(messages)).await?;
                    }
                }
                () = self.shared.spoke.notified(), if !speaks => {}
            }
        }
    }

    fn introduction(&self) -> Up {
        let now = self.shared.clock.now();
        let messages = self
            .shared
            .speaking
            .lock()
            .iter()
            .filter_map(|service| Some(WireStatMessage::new(&service.key, service.catch_up(now)?)))
            .map(|message| self.signed(message))
            .collect();
        Up { hello: Some(self.hello.clone()), listening: self.services.listening(), ..stats(messages) }
    }

    /// The reports of the last second. A service that has nothing more to say leaves the list.
    fn report(&self) -> Vec<WireStatMessage> {
        let now = self.shared.clock.now();
        let speaking = std::mem::take(&mut *self.shared.speaking.lock());
        let mut messages = Vec::with_capacity(speaking.len());
        for service in speaking {
            let (stat, again) = service.report(now);
            messages.push(self.signed(WireStatMessage::new(&service.key, stat)));
            if again {
                self.shared.speaking.lock().push(service);
            }
        }
        messages
    }

    fn signed(&self, mut message: WireStatMessage) -> WireStatMessage {
        if let Some(stat) = &mut message.stat {
            stat.pod_name.clone_from(&self.hello.name);
        }
        message
    }
}

fn report_interval() -> Interval {
    let mut reports = interval(REPORT_EVERY);
    reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
    reports.reset();
    reports
}

fn stats(messages: Vec<WireStatMessage>) -> Up {
    let stats = (!messages.is_empty()).then_some(WireStatMessages { messages });
    Up { stats, ..Up::default() }
}

async fn send(up: &mpsc::Sender<Bytes>, message: &Up) -> Result<(), Ended> {
    timeout(STALLED, up.send(frame(message))).await.map_err(|_| Ended::Stalled)?.map_err(|_| Ended::Closed)
}
