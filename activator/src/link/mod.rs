//! The streams to the autoscalers: reports go up, tables come down. A stream that ends is opened again; until
//! then the last tables hold, and requests wait.
//!
//! There are several autoscalers, of which one leads. All receive the reports, so that the next leader knows
//! what is held; only the leader's tables are applied. The autoscalers name each other, and
//! [`wanted`](wanted::wanted) decides which streams to keep. A report is counted and encoded once for all
//! streams. A stream that cannot take it is closed, so that no stream waits for another.

mod pauses;
mod stream;
mod wanted;

use std::{
    collections::BTreeMap, net::SocketAddr, panic::resume_unwind, path::PathBuf, sync::Arc, time::Duration,
};

use bytes::Bytes;
use ebb_core::{
    link::{Down, HEARTBEAT_EVERY, Hello, Listening, MOST_PIECES, Up, frame},
    stat::{WireStatMessage, WireStatMessages},
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::{AbortHandle, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};
use tracing::{info, warn};

use crate::{service::Common, table::ServiceTable};
use pauses::Pauses;
use stream::{OpenStream, Stream, StreamEvent, StreamId};
use wanted::{MOST_REPLICAS, wanted};

/// How often requests in flight are reported, while there are any.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// The first and the longest pause between attempts to bind ports that could not be bound.
const RETRY_PORTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// The number of messages that may wait to be applied; later ones wait in their streams.
const EVENT_CAPACITY: usize = 64;

/// Maintains the streams to the autoscalers.
#[derive(Debug)]
pub(crate) struct Links {
    hello: Hello,
    shared: Arc<Common>,
    services: Arc<ServiceTable>,
    pokes: mpsc::Receiver<WireStatMessage>,
    token_file: Option<PathBuf>,
    /// An address that leads to any one of the autoscalers.
    seed: SocketAddr,
    /// The addresses of all autoscalers, as far as they are known.
    replicas: Vec<SocketAddr>,
    streams: BTreeMap<StreamId, Kept>,
    tasks: JoinSet<()>,
    next: u64,
    /// When a message was last sent to all of them.
    told_at: Instant,
    /// When to try again to bind the ports that could not be bound.
    retry_ports: Option<Instant>,
    pauses: Pauses,
    /// The events of all streams.
    events: mpsc::Receiver<(StreamId, StreamEvent)>,
    event: mpsc::Sender<(StreamId, StreamEvent)>,
}

/// A stream that is kept, whether open or not.
#[derive(Debug)]
struct Kept {
    autoscaler: SocketAddr,
    open: Option<OpenStream>,
    task: AbortHandle,
    /// The pieces of an incomplete table, and their number.
    begun: Option<(Down, usize)>,
    confirming: Confirming,
}

/// The numbers of a stream's messages that are applied.
#[derive(Debug, Default)]
struct Confirming {
    /// The highest; 0 before the first.
    applied: u64,
    /// The highest that the autoscaler was told.
    told: u64,
}

impl Confirming {
    /// Returns the number to tell, unless it was told.
    fn news(&mut self) -> Option<u64> {
        (self.applied > std::mem::replace(&mut self.told, self.applied)).then_some(self.applied)
    }
}

impl Kept {
    /// Assembles a table from its pieces; returns `None` until it is complete. A table of too many pieces is
    /// dropped.
    fn whole(&mut self, down: Down) -> Option<Down> {
        let (whole, pieces) = match self.begun.take() {
            Some((mut begun, pieces)) => {
                begun.append(down);
                (begun, pieces + 1)
            }
            None => (down, 1),
        };
        if !whole.continues {
            return Some(whole);
        }
        if pieces < MOST_PIECES {
            self.begun = Some((whole, pieces));
        } else {
            warn!(autoscaler = %self.autoscaler, pieces, "a table does not come to its end");
        }
        None
    }

    /// Sends to the autoscaler, if the stream is open. A stream that does not keep up is closed and opened anew.
    fn send(&mut self, bytes: &Bytes) {
        let Some(open) = &self.open else { return };
        match open.up.try_send(bytes.clone()) {
            Ok(()) => return,
            // The stream reports its end itself.
            Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(_)) => {
                warn!(autoscaler = %self.autoscaler, "autoscaler does not keep up; opening its stream anew");
            }
        }
        self.open = None;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Links {
    pub(crate) fn new(
        seed: SocketAddr,
        token_file: Option<PathBuf>,
        hello: Hello,
        services: Arc<ServiceTable>,
        shared: Arc<Common>,
        pokes: mpsc::Receiver<WireStatMessage>,
    ) -> Self {
        let (event, events) = mpsc::channel(EVENT_CAPACITY);
        let (replicas, streams) = (Vec::new(), BTreeMap::new());
        let (told_at, retry_ports, pauses) = (Instant::now(), None, Pauses::new(RETRY_PORTS));
        Self {
            hello,
            shared,
            services,
            pokes,
            token_file,
            seed,
            replicas,
            streams,
            tasks: JoinSet::new(),
            next: 0,
            told_at,
            retry_ports,
            pauses,
            events,
            event,
        }
    }

    /// Runs forever.
    pub(crate) async fn run(mut self) {
        let mut reports = report_interval();
        let (mut spoke, mut unconfirmed) = (true, 0);
        loop {
            self.keep_wanted();
            let speaks = self.open() > 0 && !self.shared.speaking.lock().is_empty();
            if speaks && !spoke {
                // The first report interval starts at the first request after silence.
                reports.reset();
            }
            spoke = speaks;
            let retry_ports = self.retry_ports;
            tokio::select! {
                Some((id, event)) = self.events.recv() => {
                    match event {
                        StreamEvent::Opened(open) => self.on_opened(id, open),
                        StreamEvent::Said(down) => self.on_said(id, *down).await,
                        StreamEvent::Ended => self.on_ended(id),
                    }
                    unconfirmed += 1;
                    // What has arrived together is confirmed together.
                    if self.events.is_empty() || unconfirmed == EVENT_CAPACITY {
                        self.confirm();
                        unconfirmed = 0;
                    }
                }
                Some(first) = self.pokes.recv() => self.tell_pokes(Some(first)),
                // A closed stream ends here, too. A panic is a bug and is propagated, so that it is noticed.
                Some(Err(ended)) = self.tasks.join_next() => {
                    if let Ok(panicked) = ended.try_into_panic() {
                        resume_unwind(panicked);
                    }
                }
                _ = reports.tick(), if speaks => {
                    let report = self.report();
                    self.tell(&report);
                }
                () = self.shared.spoke.notified(), if !speaks => {}
                // An autoscaler takes silence as the activator's end.
                () = sleep_until(self.told_at + HEARTBEAT_EVERY), if self.open() > 0 => {
                    self.send(&frame(&Up::default()));
                }
                () = sleep_until(retry_ports.unwrap_or_else(Instant::now)), if retry_ports.is_some() => {
                    self.retry_ports().await;
                }
            }
        }
    }

    /// Opens the streams that are missing, and closes those that are not wanted.
    fn keep_wanted(&mut self) {
        let open: Vec<SocketAddr> =
            self.streams.values().filter(|kept| kept.open.is_some()).map(|kept| kept.autoscaler).collect();
        let wanted = wanted(self.seed, &self.replicas, &open);
        self.streams.retain(|_, kept| wanted.contains(&kept.autoscaler));
        for autoscaler in wanted {
            if self.streams.values().any(|kept| kept.autoscaler == autoscaler) {
                continue;
            }
            let id = StreamId(self.next);
            self.next += 1;
            let (token_file, events) = (self.token_file.clone(), self.event.clone());
            let task = self.tasks.spawn(Stream { id, autoscaler, token_file, events }.run());
            let confirming = Confirming::default();
            let kept = Kept { autoscaler, open: None, task, begun: None, confirming };
            self.streams.insert(id, kept);
        }
        self.show_open();
    }

    fn open(&self) -> usize {
        self.streams.values().filter(|kept| kept.open.is_some()).count()
    }

    fn show_open(&self) {
        self.shared.metrics.link_up.set(i64::try_from(self.open()).unwrap_or(i64::MAX));
    }

    fn on_opened(&mut self, id: StreamId, open: OpenStream) {
        // The introduction includes the pending pokes, so the other streams must have them first.
        self.tell_pokes(None);
        let alone = self.open() == 0;
        let Some(kept) = self.streams.get_mut(&id) else { return };
        let introduction = frame(&introduction(&self.hello, &self.shared, &self.services, alone));
        // The channel is empty, so this succeeds.
        if open.up.try_send(introduction).is_ok() {
            kept.open = Some(open);
        }
    }

    fn on_ended(&mut self, id: StreamId) {
        if let Some(kept) = self.streams.get_mut(&id) {
            // The numbers of the next stream are its own.
            (kept.open, kept.begun, kept.confirming) = (None, None, Confirming::default());
        }
    }

    async fn on_said(&mut self, id: StreamId, down: Down) {
        // The stream may have been closed meanwhile.
        let Some(down) = self.streams.get_mut(&id).and_then(|kept| kept.whole(down)) else { return };
        let replicas: Vec<SocketAddr> =
            down.replicas.iter().filter_map(|address| address.parse().ok()).take(MOST_REPLICAS).collect();
        if !replicas.is_empty() && replicas != self.replicas {
            info!(?replicas, "autoscalers have changed");
            self.replicas = replicas;
        }
        let number = down.number;
        let listening: Vec<Listening> = self.services.apply(down).await;
        if listening.iter().any(|news| !news.error.is_empty()) {
            self.pauses.reset();
            // Frequent tables do not postpone the retry.
            let soon = Instant::now() + self.pauses.pause();
            self.retry_ports = Some(self.retry_ports.map_or(soon, |at| at.min(soon)));
        }
        self.tell(&Up { listening, ..Up::default() });
        // While the activator drains, it takes nothing new, so it has not applied everything.
        if let Some(kept) = self.streams.get_mut(&id).filter(|_| !self.services.is_leaving()) {
            kept.confirming.applied = kept.confirming.applied.max(number);
        }
    }

    /// Tells each autoscaler which of its messages are applied by now. Each has numbers of its own.
    fn confirm(&mut self) {
        for kept in self.streams.values_mut() {
            if let Some(applied) = kept.confirming.news() {
                kept.send(&frame(&Up { applied, ..Up::default() }));
            }
        }
    }

    /// Tries again to bind the ports that could not be bound, and reports those that now are.
    async fn retry_ports(&mut self) {
        let listening = self.services.retry().await;
        self.retry_ports = self.services.lacks_ports().then(|| Instant::now() + self.pauses.pause());
        self.tell(&Up { listening, ..Up::default() });
    }

    /// Sends what must be told at once: `first`, and whatever has queued up since.
    fn tell_pokes(&mut self, first: Option<WireStatMessage>) {
        let mut messages: Vec<WireStatMessage> = first.into_iter().collect();
        while let Ok(more) = self.pokes.try_recv() {
            messages.push(more);
        }
        let messages = messages.into_iter().map(|message| signed(&self.hello, message)).collect();
        self.tell(&stats(messages));
    }

    /// Sends `message` to all autoscalers, unless it is empty.
    fn tell(&mut self, message: &Up) {
        if *message != Up::default() {
            self.send(&frame(message));
        }
    }

    /// Sends to all autoscalers.
    fn send(&mut self, bytes: &Bytes) {
        self.told_at = Instant::now();
        self.streams.values_mut().for_each(|kept| kept.send(bytes));
    }

    /// Returns the reports of the last second. A service with nothing more to report leaves the list.
    fn report(&self) -> Up {
        let now = self.shared.clock.now();
        let speaking = std::mem::take(&mut *self.shared.speaking.lock());
        let mut messages = Vec::with_capacity(speaking.len());
        let mut unanswered = Vec::new();
        for service in speaking {
            let (stat, again) = service.report(now);
            messages.push(signed(&self.hello, WireStatMessage::new(&service.key, stat)));
            unanswered.extend(service.take_unanswered());
            if again {
                self.shared.speaking.lock().push(service);
            }
        }
        Up { unanswered, ..stats(messages) }
    }
}

/// Returns the first message to an autoscaler. If it is the only one (`alone`), the next report period begins
/// here.
fn introduction(hello: &Hello, shared: &Common, services: &ServiceTable, alone: bool) -> Up {
    let now = shared.clock.now();
    let speaking = shared.speaking.lock();
    let messages = speaking
        .iter()
        .filter_map(|service| {
            let stat = if alone { service.catch_up(now) } else { service.so_far() };
            Some(signed(hello, WireStatMessage::new(&service.key, stat?)))
        })
        .collect();
    Up { hello: Some(hello.clone()), listening: services.listening(), ..stats(messages) }
}

fn signed(hello: &Hello, mut message: WireStatMessage) -> WireStatMessage {
    if let Some(stat) = &mut message.stat {
        stat.pod_name.clone_from(&hello.name);
    }
    message
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

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use ebb_core::link::{Frames, ServiceEntry};
    use ebb_proxy::{Budget, WallClock};
    use parking_lot::Mutex;
    use tokio::{net::TcpListener, sync::Notify};

    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::{memory::Memory, metrics::Metrics};

    /// Streams whose other ends the test holds, with the given capacities.
    fn links(rooms: &[usize]) -> (Links, Vec<mpsc::Receiver<Bytes>>) {
        let (poke, pokes) = mpsc::channel(4);
        let shared = Arc::new(Common {
            clock: WallClock::start(),
            metrics: Metrics::new(),
            memory: Memory::new(Budget::unlimited()),
            pokes: poke,
            speaking: Mutex::default(),
            spoke: Notify::new(),
            observer: None,
        });
        let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        let services = ServiceTable::new(shared.clone(), IpAddr::V4(Ipv4Addr::LOCALHOST), None);
        let mut links = Links::new(nowhere, None, Hello::default(), services, shared, pokes);
        let mut others = Vec::new();
        for (id, room) in (0..).map(StreamId).zip(rooms) {
            let (up, other) = mpsc::channel(*room);
            others.push(other);
            let task = links.tasks.spawn(std::future::pending());
            let (open, confirming) = (Some(OpenStream::of(up)), Confirming::default());
            let kept = Kept { autoscaler: nowhere, open, task, begun: None, confirming };
            links.streams.insert(id, kept);
        }
        (links, others)
    }

    #[tokio::test]
    async fn a_stream_that_does_not_keep_up_loses_its_place_and_holds_up_no_other() {
        let (mut links, mut others) = links(&[1, 8]);
        for port in 1..=3 {
            links.tell(&Up { listening: vec![Listening { port, ..Listening::default() }], ..Up::default() });
        }
        assert_eq!(links.open(), 1);
        let mut heard = Vec::new();
        for other in &mut others {
            let mut frames = Frames::default();
            let mut messages = 0;
            while let Ok(bytes) = other.try_recv() {
                frames.push(&bytes);
                messages += usize::from(frames.next_message::<Up>().unwrap().is_some());
            }
            heard.push(messages);
        }
        assert_eq!(heard, [1, 3]);
    }

    #[tokio::test]
    async fn a_stream_whose_other_end_has_gone_is_not_spoken_to_any_more() {
        let (mut links, mut others) = links(&[8, 8]);
        drop(others.remove(0));
        links.tell(&Up { hello: Some(Hello::default()), ..Up::default() });
        assert_eq!(links.open(), 1);
        links.tell(&Up::default());
        assert_eq!(others[0].len(), 1, "nothing to say is not said");
    }

    async fn next_news(other: &mut mpsc::Receiver<Bytes>) -> Vec<Listening> {
        let mut frames = Frames::default();
        frames.push(&other.recv().await.unwrap());
        frames.next_message::<Up>().unwrap().unwrap().listening
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_in_use_is_had_once_it_is_free_and_one_of_a_service_that_goes_is_not_sought() {
        let (mut links, mut others) = links(&[8]);
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = u32::from(taken.local_addr().unwrap().port());
        let entry = |name: &str, port| {
            let (namespace, name) = ("shop".into(), name.into());
            ServiceEntry { namespace, name, port, ..ServiceEntry::default() }
        };
        let services = vec![entry("stays", port), entry("goes", 70_000)];
        links.on_said(StreamId(0), Down { services, ..Down::default() }).await;
        let news = next_news(&mut others[0]).await;
        assert!(news.iter().all(|news| !news.error.is_empty()), "{news:?}");
        assert_eq!(links.shared.metrics.unbound_ports.get(), 2);

        for _ in 0..10 {
            let now = Instant::now();
            assert!(links.retry_ports.is_some_and(|at| at > now && at <= now + RETRY_PORTS[1]));
            links.retry_ports().await;
        }
        assert!(others[0].is_empty(), "what stays as it is is not told again");

        drop(taken);
        links.retry_ports().await;
        let had = next_news(&mut others[0]).await;
        assert_eq!((had.len(), had[0].name.as_str(), had[0].port), (1, "stays", port));
        assert_eq!(had[0].error, "");
        assert!(links.services.lacks_ports());
        links.on_said(StreamId(0), Down { gone: vec!["shop/goes".into()], ..Down::default() }).await;
        links.retry_ports().await;
        assert_eq!((links.retry_ports, links.shared.metrics.unbound_ports.get()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_that_could_not_be_had_is_tried_again_without_a_word_from_anybody() {
        let (mut links, mut others) = links(&[8]);
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = u32::from(taken.local_addr().unwrap().port());
        let services = vec![ServiceEntry { port, ..ServiceEntry::default() }];
        links.on_said(StreamId(0), Down { services, ..Down::default() }).await;
        let _running = AbortOnDropHandle::new(tokio::spawn(links.run()));
        assert_ne!(next_news(&mut others[0]).await[0].error, "");
        drop(taken);
        assert_eq!(next_news(&mut others[0]).await, [Listening { port, ..Listening::default() }]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_to_say_says_so_every_two_seconds_and_nothing_else() {
        let (mut links, mut others) = links(&[8, 8]);
        let port = u32::from(u16::MAX) + 1;
        let (mut said, begun) = (Vec::new(), Instant::now());
        links.tell(&Up { listening: vec![Listening { port, ..Listening::default() }], ..Up::default() });
        let _running = AbortOnDropHandle::new(tokio::spawn(links.run()));
        let mut frames = Frames::default();
        while said.len() < 4 {
            frames.push(&others[1].recv().await.unwrap());
            let message = frames.next_message::<Up>().unwrap().unwrap();
            said.push((begun.elapsed().as_secs(), message == Up::default()));
        }
        assert_eq!(said, [(0, false), (2, true), (4, true), (6, true)]);
        assert_eq!(others[0].len(), 4, "each of them hears it");
    }

    #[tokio::test]
    async fn what_arrives_together_is_confirmed_once_on_its_own_stream_and_anew_on_the_next() {
        let (mut links, mut others) = links(&[8, 8]);
        let confirmed = |other: &mut mpsc::Receiver<Bytes>| {
            let mut frames = Frames::default();
            while let Ok(bytes) = other.try_recv() {
                frames.push(&bytes);
            }
            let next = || frames.next_message::<Up>().unwrap().map(|up| up.applied);
            std::iter::from_fn(next).collect::<Vec<u64>>()
        };
        let numbered = |number, continues| Down { number, continues, ..Down::default() };
        for down in [numbered(3, false), numbered(4, false), numbered(0, false), numbered(0, true)] {
            links.on_said(StreamId(0), down).await;
        }
        links.confirm();
        assert_eq!((confirmed(&mut others[0]), confirmed(&mut others[1])), (vec![4], vec![]));
        links.confirm();
        assert_eq!(confirmed(&mut others[0]), [0; 0], "it was told");
        links.on_said(StreamId(0), numbered(5, false)).await;
        links.confirm();
        assert_eq!(confirmed(&mut others[0]), [5], "its table is whole now");

        links.on_ended(StreamId(0));
        let (up, mut other) = mpsc::channel(8);
        links.on_opened(StreamId(0), OpenStream::of(up));
        links.on_said(StreamId(0), numbered(1, false)).await;
        links.confirm();
        assert_eq!(confirmed(&mut other), [0, 1], "after its introduction");

        links.services.abort();
        links.on_said(StreamId(0), numbered(2, false)).await;
        links.confirm();
        assert_eq!(confirmed(&mut other), [0; 0], "while it drains, it takes nothing new");
    }

    #[tokio::test]
    async fn a_stream_that_panics_takes_all_with_it_and_one_that_is_closed_does_not() {
        let (mut links, _others) = links(&[8, 8]);
        links.streams.remove(&StreamId(0)).unwrap();
        links.tasks.spawn(async { panic!("a bug") });
        let ended = tokio::spawn(links.run()).await.unwrap_err();
        assert_eq!(ended.into_panic().downcast_ref(), Some(&"a bug"));
    }
}
