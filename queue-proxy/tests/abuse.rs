//! How much memory clients can make the program use. Each test has its own program, whose resident size is read from
//! the kernel.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use support::{until, within};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, ChildStderr, Command},
    sync::{Mutex, MutexGuard},
    task::JoinSet,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// The content of all bodies.
const BODY: u8 = b'#';

/// An app that answers every GET, and reads every POST to its end without ever responding.
struct App {
    address: SocketAddr,
    /// Number of bytes of bodies that it has read.
    read: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl App {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, read) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (mut serving, reads) = (JoinSet::new(), read.clone());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, reads.clone()));
            }
        });
        Self { address, read, _serving: serving }
    }
}

async fn connection(mut stream: TcpStream, reads: Arc<AtomicUsize>) {
    let (mut unread, mut posted) = (Vec::new(), false);
    while stream.read_buf(&mut unread).await.is_ok_and(|read| read > 0) {
        posted |= unread.starts_with(b"POST");
        if posted {
            let read = unread.split(|byte| *byte == BODY).count() - 1;
            reads.fetch_add(read, Ordering::Relaxed);
            unread.clear();
        } else if unread.ends_with(b"\r\n\r\n") {
            unread.clear();
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

/// Runs one program at a time, because thousands of connections need thousands of ports, and memory must be measured
/// undisturbed.
static ALONE: Mutex<()> = Mutex::const_new(());

/// The program in front of an app.
struct Program {
    _alone: MutexGuard<'static, ()>,
    child: Child,
    serving: SocketAddr,
    /// Is read as long as the program runs, so that the program can write.
    _told: BufReader<ChildStderr>,
}

impl Program {
    async fn start(app: &App) -> Self {
        let alone = ALONE.lock().await;
        let [serving, stats, admin] = [free_port().await, free_port().await, free_port().await];
        let mut child = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\"", env!("CARGO_BIN_EXE_queue-proxy")])
            .env_clear()
            .envs([
                ("USER_PORT", app.address.port().to_string()),
                ("SERVING_POD", "pod-1".into()),
                ("QUEUE_SERVING_PORT", serving.port().to_string()),
                ("EBB_STATS_PORT", stats.port().to_string()),
                ("EBB_ADMIN_PORT", admin.port().to_string()),
            ])
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(within(told.read_line(&mut line)).await.unwrap() > 0, "it ended at once");
        }
        let program = Self { _alone: alone, child, serving, _told: told };
        // The first requests allocate memory that does not count.
        for _ in 0..50 {
            program.serves_the_honest().await;
        }
        program
    }

    async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.serving)).await.unwrap()
    }

    async fn serves_the_honest(&self) {
        answered(&mut self.connect().await).await;
    }

    /// Sends a request whose head arrives in two segments.
    async fn serves_the_halting(&self) {
        let mut client = self.connect().await;
        let (begin, rest) = GET.split_at(20);
        within(client.write_all(begin)).await.unwrap();
        // By then, the first part has been read.
        self.serves_the_honest().await;
        within(client.write_all(rest)).await.unwrap();
        let mut answer = [0; 12];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    /// Returns the current resident size in bytes.
    fn resident(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * KIB
    }
}

/// Returns a port that is free at every address of this machine: connections that were just closed still occupy
/// theirs.
async fn free_port() -> SocketAddr {
    let listener = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap(),
    };
    (Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()).into()
}

/// Sends a request and reads the response.
async fn answered(stream: &mut TcpStream) {
    within(stream.write_all(GET)).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        assert!(within(stream.read_buf(&mut answer)).await.unwrap() > 0, "closed without an answer");
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", answer.escape_ascii());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_chunks_of_a_byte_take_no_more_than_their_bytes() {
    const BODIES: usize = 20;
    const CHUNKS: usize = 65_000;
    let app = App::start().await;
    let program = Program::start(&app).await;
    let before = program.resident();
    let began = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunks = [b"1\r\n", &[BODY][..], b"\r\n"].concat().repeat(CHUNKS);
    let mut held = Vec::new();
    for _ in 0..BODIES {
        let mut client = program.connect().await;
        within(client.write_all(began)).await.unwrap();
        within(client.write_all(&chunks)).await.unwrap();
        held.push(client);
    }
    until(|| app.read.load(Ordering::Relaxed) == BODIES * CHUNKS).await;
    let grown = program.resident().saturating_sub(before);
    eprintln!("{BODIES} bodies of {CHUNKS} chunks: {} KiB", grown / KIB);
    assert!(grown < 8 * MIB, "{} KiB", grown / KIB);
    program.serves_the_honest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_never_end_take_no_more_than_there_is_for_them() {
    const HEADS: usize = 200;
    const BYTES: usize = 200 * KIB;
    let app = App::start().await;
    let program = Program::start(&app).await;
    let before = program.resident();
    let grown = || program.resident().saturating_sub(before);
    let began = [b"GET / HTTP/1.1\r\nhost: a\r\nx-long: ", &vec![BODY; BYTES][..]].concat();
    let mut held = Vec::new();
    for _ in 0..HEADS {
        let mut client = program.connect().await;
        within(client.write_all(&began)).await.unwrap();
        held.push(client);
        program.serves_the_honest().await;
    }
    // Bodies for which there is room were read, and all others were refused.
    let refused = async {
        let mut answer = vec![0; 12];
        let last = held.last_mut().expect("some were sent");
        last.read_exact(&mut answer).await.map(|_| answer)
    };
    assert_eq!(within(refused).await.unwrap(), b"HTTP/1.1 503");
    program.serves_the_honest().await;
    program.serves_the_halting().await;
    let kept = grown();
    eprintln!("{HEADS} heads of {} KiB: {} KiB", BYTES / KIB, kept / KIB);
    assert!(kept < 32 * MIB, "{} KiB", kept / KIB);
}

/// HTTP/2 frames as bytes.
mod http2 {
    /// The preface and empty settings.
    pub(super) const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    /// `GET http://a/`, without dynamic entries.
    pub(super) const GET: &[u8] = b"\x82\x86\x84\x01\x01a";
    pub(super) const HEADERS: u8 = 1;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const CONTINUATION: u8 = 9;
    pub(super) const END_OF_ALL: u8 = 0x05;
    const GOAWAY: u8 = 7;

    pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Returns whether a frame in `bytes` is a GOAWAY.
    pub(super) fn says_goaway(mut bytes: &[u8]) -> bool {
        while let [a, b, c, kind, rest @ ..] = bytes {
            if *kind == GOAWAY {
                return true;
            }
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            bytes = rest.get(5 + length..).unwrap_or_default();
        }
        false
    }
}

/// Writes `pieces` for as long as they are accepted, while honest requests are served on other connections. Returns
/// how much was accepted, and whether the connection was ended, by GOAWAY or otherwise.
async fn flood(program: &Program, pieces: impl Iterator<Item = Vec<u8>>) -> (usize, bool) {
    let (mut reader, mut writer) = program.connect().await.into_split();
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        // A reset also ends it.
        while reader.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {
            if http2::says_goaway(&heard) {
                return true;
            }
        }
        true
    });
    let mut taken = 0;
    within(writer.write_all(http2::BEGIN)).await.unwrap();
    for (index, piece) in pieces.enumerate() {
        if heard.is_finished() || within(writer.write_all(&piece)).await.is_err() {
            break;
        }
        taken += piece.len();
        if index % 100 == 0 {
            program.serves_the_honest().await;
        }
    }
    program.serves_the_honest().await;
    (taken, within(heard).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_as_soon_as_they_are_opened_end_their_connection() {
    let app = App::start().await;
    let program = Program::start(&app).await;
    let before = program.resident();
    let streams = (0..10_000).map(|index| {
        let stream = 2 * index + 1;
        let open = http2::frame(http2::HEADERS, http2::END_OF_ALL, stream, http2::GET);
        [open, http2::frame(http2::RST_STREAM, 0, stream, &8u32.to_be_bytes())].concat()
    });
    let (taken, ended) = flood(&program, streams).await;
    let grown = program.resident().saturating_sub(before);
    eprintln!("reset streams: {taken} bytes taken, {} KiB", grown / KIB);
    assert!(ended && grown < 32 * MIB, "{} KiB", grown / KIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_over_http2_that_goes_on_for_ever_ends_its_connection() {
    let app = App::start().await;
    let program = Program::start(&app).await;
    let before = program.resident();
    let fields = b"\0\x01a\x01b".repeat(3000);
    let head = [http2::GET, &fields].concat();
    let open = http2::frame(http2::HEADERS, 0x01, 1, &head);
    let more = std::iter::repeat_with(|| http2::frame(http2::CONTINUATION, 0, 1, &fields)).take(5000);
    let (taken, ended) = flood(&program, std::iter::once(open).chain(more)).await;
    let grown = program.resident().saturating_sub(before);
    eprintln!("endless head: {taken} bytes taken, {} KiB", grown / KIB);
    assert!(ended && grown < 32 * MIB, "{} KiB", grown / KIB);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_over_http2_that_do_not_end_take_no_more_than_there_is_for_them() {
    const HEADS: usize = 100;
    let app = App::start().await;
    let program = Program::start(&app).await;
    let before = program.resident();
    // A value of 600 KiB, in frames that do not end the head.
    let value = [&b"\0\x01a\x7f\x81\xbf\x24"[..], &vec![b'v'; 600 * KIB]].concat();
    let mut frames = [http2::BEGIN, &http2::frame(http2::HEADERS, 0x01, 1, http2::GET)].concat();
    for piece in value.chunks(16 * KIB) {
        frames.extend(http2::frame(http2::CONTINUATION, 0, 1, piece));
    }
    let mut held = Vec::new();
    for _ in 0..HEADS {
        let mut client = program.connect().await;
        // The connection may be closed before all is accepted.
        let _ = within(client.write_all(&frames)).await;
        held.push(client);
        program.serves_the_honest().await;
    }
    let grown = program.resident().saturating_sub(before);
    eprintln!("{HEADS} heads of 600 KiB over HTTP/2: {} KiB", grown / KIB);
    assert!(grown < 32 * MIB, "{} KiB", grown / KIB);
    program.serves_the_halting().await;
}

/// Most of it is the connection's task; its buffers are empty.
const MOST_OF_AN_IDLE_CONNECTION: usize = 6 * KIB;

/// Returns how many connections this process may open, up to ten thousand.
fn many() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let files = files.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    files.saturating_sub(500).min(10_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_takes_a_few_kibibytes() {
    let app = App::start().await;
    let program = Program::start(&app).await;
    let before = program.resident();
    let mut idle = Vec::new();
    for index in 0..many() {
        let socket = TcpSocket::new_v4().unwrap();
        // Use many source addresses, as in a network.
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + index % 16).unwrap());
        socket.bind((source, 0).into()).unwrap();
        let mut client = within(socket.connect(program.serving)).await.unwrap();
        // Close by a reset: thousands of ports in TIME-WAIT would be missing in other tests.
        client.set_zero_linger().unwrap();
        answered(&mut client).await;
        idle.push(client);
    }
    let each = program.resident().saturating_sub(before) / idle.len();
    eprintln!("{} idle connections: {each} bytes each", idle.len());
    assert!(each < MOST_OF_AN_IDLE_CONNECTION, "{each} bytes");
    program.serves_the_honest().await;
}
