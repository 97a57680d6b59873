//! The CPU time of a request in the queue-proxy, in microseconds of one core, compared with nginx on the same
//! machine at the same time. Fails if the queue-proxy needs more than [`MOST`] times as much, or more than
//! [`MOST_RESIDENT`] of memory before the first request.
//!
//! `cargo build --release -p queue-proxy && cargo bench -p ebb-benches --bench proxy_cpu`; `EBB_QUEUE_PROXY`
//! names another program. Without nginx there is nothing to compare with, and nothing fails.

#[path = "cores/mod.rs"]
mod cores;
#[path = "hop/mod.rs"]
mod hop;

use std::{fs, net::Ipv4Addr, process::ExitCode};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::Instant,
};

use cores::used;
use hop::{Proxy, Result, nginx, queue_proxy};

/// nginx does less than a queue-proxy: it counts nothing and limits nothing.
const MOST: f64 = 1.6;
/// The most kilobytes of an idle queue-proxy: there is one beside every pod.
const MOST_RESIDENT: u64 = 4608;
/// Requests at once, each on a persistent connection.
const CONCURRENCY: usize = 32;
const REQUESTS: usize = 64_000;
/// How often each of the two is measured, in turn.
const ROUNDS: usize = 4;
const REQUEST: &[u8] =
    b"GET /orders?id=17 HTTP/1.1\r\nHost: hello.default\r\nAccept: */*\r\nUser-Agent: curl/8.5.0\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
const END: &[u8] = b"\r\n\r\nok";

fn main() -> Result<ExitCode> {
    if !cores::leave_the_first() {
        return Ok(ExitCode::SUCCESS);
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(compare())
}

async fn compare() -> Result<ExitCode> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let app = listener.local_addr()?;
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener));
    let ours = queue_proxy(app).await?;
    let resident = ours.resident()?;
    println!("idle queue-proxy: {resident} kB resident, at most {MOST_RESIDENT}");
    if resident > MOST_RESIDENT {
        return Ok(ExitCode::FAILURE);
    }
    let Some(theirs) = nginx(app).await? else {
        println!("queue-proxy: {:.1} µs a request", measure(&ours).await?);
        println!("compared with nothing: nginx is not installed");
        return Ok(ExitCode::SUCCESS);
    };
    for proxy in [&ours, &theirs] {
        measure(proxy).await?;
    }
    let (mut our_sum, mut their_sum) = (0.0, 0.0);
    println!("{:>6} {:>15} {:>10}   µs a request, of one core", "round", "queue-proxy", "nginx");
    for round in 1..=ROUNDS {
        let (our, their) = (measure(&ours).await?, measure(&theirs).await?);
        println!("{round:>6} {our:>15.1} {their:>10.1}");
        (our_sum, their_sum) = (our_sum + our, their_sum + their);
    }
    let ratio = our_sum / their_sum;
    println!("ratio: {ratio:.2}, at most {MOST}");
    Ok(if ratio <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Answers all requests.
async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut unread = Vec::with_capacity(4096);
            while stream.read_buf(&mut unread).await.is_ok_and(|read| read > 0) {
                if unread.ends_with(b"\r\n\r\n") {
                    unread.clear();
                    if stream.write_all(ANSWER).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
}

impl Proxy {
    /// Returns its resident kilobytes.
    fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?)
    }
}

/// Returns the CPU time of one request, in microseconds.
async fn measure(proxy: &Proxy) -> Result<f64> {
    let (before, began) = (used(&proxy.child)?, Instant::now());
    let mut clients = JoinSet::new();
    for _ in 0..CONCURRENCY {
        let mut stream = TcpStream::connect(proxy.address).await?;
        stream.set_nodelay(true)?;
        clients.spawn(async move {
            let mut answer = Vec::with_capacity(4096);
            for _ in 0..REQUESTS / CONCURRENCY {
                stream.write_all(REQUEST).await?;
                answer.clear();
                while !answer.ends_with(END) {
                    if stream.read_buf(&mut answer).await? == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                }
                if !answer.starts_with(b"HTTP/1.1 200 ") {
                    return Err(std::io::Error::other(answer.escape_ascii().to_string()));
                }
            }
            Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let used = used(&proxy.child)?.saturating_sub(before);
    let rate = REQUESTS as f64 / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} requests a second");
    Ok(used.as_secs_f64() * 1e6 / REQUESTS as f64)
}
