//! An app that handles each request as its script says, and records what it received.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::{
    Text,
    message::{Field, Framing, Head},
    soon, until,
    wire::{Tape, Wire},
};

/// What the app does after it has read the head of a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Reads the body.
    Read,
    /// Writes bytes.
    Write(Vec<u8>),
    /// Waits until the client has told it to continue, this many times in total.
    UntilTold(usize),
    /// Closes the connection at once. If a part of the request was not read, this sends a reset.
    Close,
    /// Closes its sending half, and reads until the other side closes, too.
    Linger,
    /// Crashes: all connections break, and new ones are refused.
    Die,
    /// From now on sends back whatever arrives.
    Echo,
}

/// What the app does with requests. After the acts, it reads the rest of the request and waits for the next one.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// For all requests except those below.
    pub acts: Vec<Act>,
    /// For requests to a path.
    pub at: Vec<(&'static str, Vec<Act>)>,
}

impl Script {
    /// Reads the request and writes `answer`.
    pub fn answering(answer: impl AsRef<[u8]>) -> Self {
        Self::of([Act::Read, write(answer)])
    }

    /// Returns a script with these acts for every request.
    pub fn of(acts: impl Into<Vec<Act>>) -> Self {
        Self { acts: acts.into(), at: Vec::new() }
    }

    /// Uses other acts for requests to `path`.
    #[must_use]
    pub fn at(mut self, path: &'static str, acts: impl Into<Vec<Act>>) -> Self {
        self.at.push((path, acts.into()));
        self
    }

    fn for_line(&self, line: &Text) -> Vec<Act> {
        let target = line.0.split(|byte| *byte == b' ').nth(1);
        let named = self.at.iter().find(|(path, _)| target == Some(path.as_bytes()));
        named.map_or(&self.acts, |(_, acts)| acts).clone()
    }
}

/// Returns [`Act::Write`].
pub fn write(bytes: impl AsRef<[u8]>) -> Act {
    Act::Write(bytes.as_ref().to_vec())
}

/// A request that the app received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The head.
    pub head: Head,
    /// The body, as far as it was read.
    pub body: Text,
    /// The trailers.
    pub trailers: Vec<Field>,
    /// What was wrong with the request, if anything; [`UNREAD`] until it was read completely.
    pub fault: Option<String>,
}

/// The fault of a request that the app has not read completely.
pub const UNREAD: &str = "not read to its end";

/// A scripted app. Dropping it has the effect of a crash.
#[derive(Debug)]
pub struct App {
    /// Its address.
    pub address: SocketAddr,
    /// Keeps the port while the app is down: otherwise another test's server gets it, and answers in its place. Bound
    /// without listening, it refuses connections.
    #[expect(dead_code, reason = "held for its drop alone")]
    port: TcpSocket,
    shared: Arc<Shared>,
    serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    script: Script,
    seen: watch::Sender<Vec<Seen>>,
    tapes: watch::Sender<Vec<Tape>>,
    told: watch::Sender<usize>,
    busy: watch::Sender<usize>,
    died: watch::Sender<usize>,
}

impl App {
    /// Starts to serve.
    pub async fn start(script: Script) -> Self {
        let port = TcpSocket::new_v4().expect("a socket");
        // So that the listener, which reuses addresses as well, can have the same one.
        port.set_reuseaddr(true).expect("an option");
        port.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = port.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script,
            seen: watch::Sender::default(),
            tapes: watch::Sender::default(),
            told: watch::Sender::default(),
            busy: watch::Sender::default(),
            died: watch::Sender::default(),
        });
        let mut app = Self { address, port, shared, serving: JoinSet::new() };
        app.restart().await;
        app
    }

    /// Breaks all connections and refuses new ones.
    pub async fn crash(&mut self) {
        self.serving.shutdown().await;
        let address = self.address;
        until("the port is closed", || std::net::TcpStream::connect(address).is_err()).await;
    }

    /// Accepts connections again, at the same address.
    pub async fn restart(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port is the app's");
        self.serve(listener);
    }

    /// Tells an app that waits for it to continue.
    pub fn tell(&self) {
        self.shared.told.send_modify(|told| *told += 1);
    }

    /// Returns the requests of which it has read at least the head.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// Returns how many of them were for `path`.
    pub fn deliveries(&self, path: &str) -> usize {
        let is_it =
            |seen: &&Seen| seen.head.line.0.split(|byte| *byte == b' ').nth(1) == Some(path.as_bytes());
        self.shared.seen.borrow().iter().filter(is_it).count()
    }

    /// Waits until it has received this many requests.
    pub async fn has_seen(&self, count: usize) {
        let mut seen = self.shared.seen.subscribe();
        let waited = seen.wait_for(|seen| seen.len() >= count);
        soon("a request at the app", waited).await.expect("the app lives");
    }

    /// Waits until it has finished every request. One that hangs is detected elsewhere.
    pub async fn idle(&self) {
        let mut busy = self.shared.busy.subscribe();
        let _ = timeout(Duration::from_secs(5), busy.wait_for(|busy| *busy == 0)).await;
    }

    /// Returns the bytes of each connection on which any arrived.
    pub fn received(&self) -> Vec<Text> {
        let tapes = self.shared.tapes.borrow();
        let all = tapes.iter().map(|tape| Text(tape.borrow().clone()));
        all.filter(|text| !text.0.is_empty()).collect()
    }

    fn serve(&mut self, listener: TcpListener) {
        let shared = self.shared.clone();
        self.serving.spawn(async move {
            let mut connections = JoinSet::new();
            let mut died = shared.died.subscribe();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = died.changed() => return,
                };
                let Ok((stream, _)) = accepted else { return };
                let tape = Tape::default();
                shared.tapes.send_modify(|tapes| tapes.push(tape.clone()));
                connections.spawn(connection(stream, tape, shared.clone()));
            }
        });
    }
}

async fn connection(stream: TcpStream, tape: Tape, shared: Arc<Shared>) {
    stream.set_nodelay(true).expect("a living socket");
    let (read, write) = stream.into_split();
    let mut connection = Connection { wire: Wire::new(read, tape), write, shared };
    while connection.request().await.is_some() {}
}

struct Connection {
    wire: Wire<OwnedReadHalf>,
    write: OwnedWriteHalf,
    shared: Arc<Shared>,
}

/// Counts a request that is being served.
struct Busy(Arc<Shared>);

impl Busy {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.busy.send_modify(|busy| *busy += 1);
        Self(shared.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy -= 1);
    }
}

/// The body of a request that the app has started to serve.
struct Unread {
    index: usize,
    framing: Framing,
}

impl Connection {
    /// Serves one request; returns `None` if it was the last.
    async fn request(&mut self) -> Option<()> {
        let bytes = self.wire.head().await.ok()??;
        let _busy = Busy::new(&self.shared);
        let mut seen = Seen { fault: Some(UNREAD.into()), ..Seen::default() };
        let mut framing = Framing::Nothing;
        match Head::parse(&bytes) {
            Ok(head) => {
                match head.request_framing() {
                    Ok(told) => framing = told,
                    Err(fault) => seen.fault = Some(fault),
                }
                seen.head = head;
            }
            Err(fault) => {
                seen.head.line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default().into();
                seen.fault = Some(fault);
            }
        }
        let acts = self.shared.script.for_line(&seen.head.line);
        let mut index = 0;
        self.shared.seen.send_modify(|all| {
            index = all.len();
            all.push(seen);
        });
        let mut unread = Some(Unread { index, framing });
        for act in acts {
            self.act(act, &mut unread).await?;
        }
        self.read(&mut unread).await
    }

    async fn act(&mut self, act: Act, unread: &mut Option<Unread>) -> Option<()> {
        match act {
            Act::Read => self.read(unread).await?,
            Act::Write(bytes) => self.write.write_all(&bytes).await.ok()?,
            Act::UntilTold(times) => {
                let mut told = self.shared.told.subscribe();
                told.wait_for(|told| *told >= times).await.ok()?;
            }
            Act::Close => return None,
            Act::Die => {
                self.shared.died.send_modify(|died| *died += 1);
                return std::future::pending().await;
            }
            Act::Linger => {
                self.write.shutdown().await.ok()?;
                self.wire.drain().await;
                return None;
            }
            Act::Echo => loop {
                let bytes = self.wire.some().await.ok()?;
                if bytes.is_empty() {
                    return None;
                }
                self.write.write_all(&bytes).await.ok()?;
            },
        }
        Some(())
    }

    async fn read(&mut self, unread: &mut Option<Unread>) -> Option<()> {
        let Some(Unread { index, framing }) = unread.take() else { return Some(()) };
        let mut body = Vec::new();
        let read = self.wire.body(framing, &mut body).await;
        let whole = read.is_ok();
        self.shared.seen.send_modify(|all| {
            all[index].body = Text(body);
            match read {
                Ok(trailers) => {
                    all[index].trailers = trailers;
                    all[index].fault.take_if(|fault| fault == UNREAD);
                }
                Err(fault) => all[index].fault = Some(fault),
            }
        });
        whole.then_some(())
    }
}
