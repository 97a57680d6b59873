//! What a held request costs, as the kernel sees the program.

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use ebb_core::link::{Down, ServiceEntry};
use support::{autoscaler::Autoscaler, client::raw, service, until};

/// Of a held request with its connection: its tasks, its head as it came and as it is read, its place in the queue.
const MOST_BYTES: usize = 10 * 1024;
const REQUESTS: usize = 2000;

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
    fn start(autoscaler: &Autoscaler) -> Self {
        // Free at every address a moment ago: the program takes no port 0.
        let free = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))
            .and_then(|free| free.local_addr());
        let mut child = Command::new(env!("CARGO_BIN_EXE_activator"))
            .env_clear()
            .envs([("POD_NAME", support::NAME), ("POD_IP", "127.0.0.1")])
            .env("EBB_METRICS_PORT", free.expect("a port").port().to_string())
            .env("EBB_AUTOSCALER", autoscaler.address.to_string())
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

#[tokio::test(flavor = "multi_thread")]
async fn a_held_request_takes_less_than_ten_kibibytes_with_its_connection() {
    let mut autoscaler = Autoscaler::start().await;
    let program = Program::start(&autoscaler);
    autoscaler.session().await;
    // The last one is one too many: its refusal tells that all before it are held.
    let entry = ServiceEntry {
        queue_depth: u32::try_from(REQUESTS).expect("a few"),
        activation_deadline_ms: 600_000,
        ..service()
    };
    autoscaler.tell(Down { services: vec![entry], ..Down::default() }).await;
    let port = u16::try_from(autoscaler.listening().await.port).expect("a port");
    let address = (Ipv4Addr::LOCALHOST, port).into();
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

/// Whether a request is refused at once, because as many as are allowed are held.
fn is_refused(address: SocketAddr, request: &str) -> bool {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it takes bytes");
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a living socket");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).is_ok() && answer.ends_with(b"503")
}
