//! What a held request costs, as the kernel sees the program.

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use ebb_core::link::{Down, ServiceEntry};
use http::Request;
use support::{
    autoscaler::Autoscaler,
    client::{connect_http2, raw},
    service, soon, until,
};
use tokio::task::JoinSet;

/// Of a held request with its connection: its tasks, its head as it came and as it is read, its place in the queue.
const MOST_BYTES: usize = 10 * 1024;
const REQUESTS: usize = 2000;
/// What the first requests of a program take once: code that is read from its file, an allocator's arena for each
/// thread. It differs between machines.
const ONCE: usize = 1024 * 1024;

/// Ends with its test.
struct Program {
    child: Child,
    /// Open as long as it runs, so that it can write.
    told: Option<BufReader<ChildStderr>>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(autoscaler: &Autoscaler, env: &[(&str, &str)]) -> Self {
        // Free at every address a moment ago: the program takes no port 0.
        let free = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .and_then(|free| free.local_addr());
        let mut child = Command::new(env!("CARGO_BIN_EXE_activator"))
            .env_clear()
            .envs([("POD_NAME", support::NAME), ("POD_IP", "127.0.0.1")])
            .env("EBB_METRICS_PORT", free.expect("a port").port().to_string())
            .env("EBB_AUTOSCALER", autoscaler.address.to_string())
            .envs(env.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let told = child.stderr.take().map(BufReader::new);
        let mut program = Self { child, told };
        let (mut line, told) = (String::new(), program.told.as_mut().expect("it is piped"));
        while !line.contains("running") {
            line.clear();
            assert!(told.read_line(&mut line).expect("text") > 0, "it ended at once");
        }
        program
    }

    /// Bytes of memory that it has now.
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }
}

/// A program that answers for one service without a pod, which holds so many requests; and the service's port.
async fn holding(requests: usize, env: &[(&str, &str)]) -> (Program, Autoscaler, SocketAddr) {
    let mut autoscaler = Autoscaler::start().await;
    let program = Program::start(&autoscaler, env);
    autoscaler.session().await;
    let entry = ServiceEntry {
        queue_depth: u32::try_from(requests).expect("a few"),
        activation_deadline_ms: 600_000,
        ..service()
    };
    autoscaler.tell(Down { services: vec![entry], ..Down::default() }).await;
    let port = u16::try_from(autoscaler.listening().await.port).expect("a port");
    (program, autoscaler, (Ipv4Addr::LOCALHOST, port).into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_takes_less_than_ten_kibibytes_with_its_connection() {
    // The last one is one too many: its refusal tells that all before it are held.
    let (program, _autoscaler, address) = holding(REQUESTS, &[]).await;
    let request = "GET /orders?id=17 HTTP/1.1\r\nhost: hello.default\r\naccept: */*\r\n\
                   user-agent: curl/8.5.0\r\nx-request-id: 705ab4f5-6393-11e8-b7cc-42010a800002\r\n\r\n";
    let before = program.resident();
    let mut held = Vec::new();
    for _ in 0..REQUESTS {
        held.push(raw(address, request).await);
    }
    until("one more is refused", || is_refused(address, request)).await;
    let each = program.resident().saturating_sub(before) / REQUESTS;
    eprintln!("{REQUESTS} held requests: {each} bytes each");
    assert!(each <= MOST_BYTES, "{each} bytes");
}

/// Some forty such requests once took all the memory that an activator has.
#[tokio::test(flavor = "multi_thread")]
async fn held_bodies_in_chunks_of_a_byte_take_no_more_than_their_bytes() {
    const BODIES: usize = 40;
    // As much as is read ahead of a request that waits.
    const CHUNKS: usize = 32 * 1024 - 1;
    let (program, _autoscaler, address) = holding(BODIES, &[]).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let posted = [head, &"1\r\n#\r\n".repeat(CHUNKS)].concat();
    let before = program.resident();
    let mut clients = Vec::new();
    for _ in 0..BODIES {
        clients.push(raw(address, &posted).await);
    }
    until("all of it is read", || unread(address.port()) == 0).await;
    let grown = program.resident().saturating_sub(before);
    eprintln!("{BODIES} held bodies of {CHUNKS} chunks: {} KiB", grown / 1024);
    // What is counted of each.
    assert!(grown <= ONCE + BODIES * (8 + 64) * 1024, "{} KiB", grown / 1024);
    assert!(is_refused(address, head), "they are held");
}

/// Over HTTP/2 the beginning of a body comes whether anybody asks for it or not.
#[tokio::test(flavor = "multi_thread")]
async fn held_bodies_over_http2_are_counted_with_all_that_has_come_of_them() {
    const CLIENTS: usize = 60;
    const MEMORY: usize = 2 * 1024 * 1024;
    let memory = MEMORY.to_string();
    let (program, _autoscaler, address) =
        holding(CLIENTS, &[("EBB_REQUEST_MEMORY_BYTES", memory.as_str())]).await;
    let before = program.resident();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let post = Request::post("http://hello.example/").body(Bytes::from(vec![b'x'; 256 * 1024]).into());
        let mut sender = connect_http2(address).await;
        clients.spawn(async move { sender.send_request(post.expect("a request")).await.expect("an answer") });
    }
    // Each is counted as 136 KiB at least.
    for _ in 0..CLIENTS - MEMORY / (136 * 1024) {
        let refused = soon("a refusal", clients.join_next()).await.expect("one more").expect("no panic");
        assert_eq!(refused.headers()["ebb-reason"], "memory-short");
    }
    until("all of it is read", || unread(address.port()) == 0).await;
    let grown = program.resident().saturating_sub(before);
    eprintln!("{} held bodies over HTTP/2: {} KiB", clients.len(), grown / 1024);
    assert!(clients.len() > 5, "some are held");
    // And what its connections cost, generously: held or not they would take five times as much.
    assert!(grown <= MEMORY + CLIENTS * 64 * 1024, "{} KiB", grown / 1024);
}

/// A client's connection over HTTP/2 with one POST, of whose body so many bytes come each in a frame of its own.
fn in_frames_of_a_byte(bytes: usize) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).expect("a short one");
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let (headers, settings, end_headers) = (1, 4, 4);
    // POST, http, /, and an authority that is spelled out, as HPACK has them.
    let head = [0x83, 0x86, 0x84, 0x41, 1, b'a'];
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(settings, 0, 0, &[]),
        frame(headers, end_headers, 1, &head),
        frame(0, 0, 1, b"#").repeat(bytes),
    ]
    .concat()
}

/// What is kept for a frame is many times what is in it, and its stream's window counts only that.
#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_byte_are_counted_and_whoever_sends_too_many_is_cut_off() {
    const CLIENTS: usize = 20;
    const MEMORY: usize = 16 * 1024 * 1024;
    let memory = MEMORY.to_string();
    let (program, _autoscaler, address) =
        holding(CLIENTS, &[("EBB_REQUEST_MEMORY_BYTES", memory.as_str())]).await;
    // Beyond what is read ahead; and not so many that `h2` takes them for a flood.
    let posted = in_frames_of_a_byte(60_000);
    let before = program.resident();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let posted = posted.clone();
        clients.spawn_blocking(move || {
            let mut client = TcpStream::connect(address).expect("it listens");
            // It may be cut off before all is sent.
            let _ = client.write_all(&posted);
            client
        });
    }
    let clients = clients.join_all().await;
    until("all of it is read", || unread(address.port()) == 0).await;
    let grown = program.resident().saturating_sub(before);
    eprintln!("{CLIENTS} bodies of {} KiB in frames of a byte: {} KiB", posted.len() / 1024, grown / 1024);
    // A quarter of it is for what is not complete; the rest is what bodies that are read ahead and connections cost, and
    // what the allocator keeps of those that were cut off. Uncounted, it is eight times as much.
    assert!(grown <= MEMORY, "{} KiB", grown / 1024);
    drop(clients);
}

/// Bytes that have come to `port` and that nobody has read, as the kernel tells.
fn unread(port: u16) -> u64 {
    // A node without IPv6 has no table of it.
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let table = tables.concat();
    let of_port = format!(":{port:04X}");
    let queues = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let here = queues.filter(|columns| columns.get(1).is_some_and(|local| local.ends_with(&of_port)));
    here.filter_map(|columns| u64::from_str_radix(columns.get(4)?.split_once(':')?.1, 16).ok()).sum()
}

/// Whether a request is refused at once, because as many as are allowed are held.
fn is_refused(address: SocketAddr, request: &str) -> bool {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it takes bytes");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a living socket");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"503")
}
