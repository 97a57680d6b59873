//! The latency of a GET beside unfinished uploads: through a queue-proxy, through nginx on the same machine
//! at the same time, and without a hop. The uploads pause after their first chunk, or flow as fast as all
//! three take them.
//!
//! `cargo build --release -p queue-proxy && cargo bench -p ebb-benches --bench unfinished_uploads`;
//! `EBB_QUEUE_PROXY` names another program. Clients, app and clock share one thread on a separate core: its
//! own cost is in the column without a hop.

#[path = "cores/mod.rs"]
mod cores;
#[path = "hop/mod.rs"]
mod hop;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

use hop::{Result, nginx, queue_proxy};

/// How long GETs are sent, one after the other on a persistent connection.
const MEASURED: Duration = Duration::from_secs(3);
/// The size of an upload's chunk.
const CHUNK: usize = 0x4000;
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: hello.default\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const END: &[u8] = b"\r\n\r\nok";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: hello.default\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What an upload does after its first chunk.
#[derive(Clone, Copy, Debug)]
enum Upload {
    Rests,
    Flows,
}

/// The number of open uploads, and what they do.
const UPLOADS: [(usize, Upload); 7] = [
    (0, Upload::Rests),
    (100, Upload::Rests),
    (1000, Upload::Rests),
    (3000, Upload::Rests),
    (1, Upload::Flows),
    (10, Upload::Flows),
    (100, Upload::Flows),
];

fn main() -> Result<()> {
    if !cores::leave_the_first() {
        return Ok(());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(compare())
}

async fn compare() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let app = listener.local_addr()?;
    let uploads = Arc::<Uploads>::default();
    let mut serving = JoinSet::new();
    serving.spawn(serve(listener, uploads.clone()));
    let (ours, theirs) = (queue_proxy(app).await?, nginx(app).await?);
    let ways = [
        ("no hop", Some(app)),
        ("queue-proxy", Some(ours.address)),
        ("nginx", theirs.as_ref().map(|nginx| nginx.address)),
    ];
    println!("{:>8} {:>6} {:>12} {:>22} {:>10}", "", "", "", "a GET, in ms", "uploads");
    println!("{:>8} {:>6} {:>12} {:>11} {:>10} {:>10}", "uploads", "", "through", "median", "99 %", "MB a s");
    for (count, upload) in UPLOADS {
        for (name, entry) in ways {
            let Some(entry) = entry else {
                println!("{count:>8} {upload:>6?} {name:>12}   is not installed");
                continue;
            };
            let _open = begin(entry, count, upload, &uploads).await?;
            let (before, since) = (uploads.bytes.load(Ordering::Relaxed), Instant::now());
            let [median, most] = measure(entry).await?;
            let sent = (uploads.bytes.load(Ordering::Relaxed) - before) as f64 / 1e6;
            let rate = sent / since.elapsed().as_secs_f64();
            println!("{count:>8} {upload:>6?} {name:>12} {median:>11.3} {most:>10.3} {rate:>10.0}");
        }
    }
    Ok(())
}

/// The app's view of uploads.
#[derive(Debug, Default)]
struct Uploads {
    open: AtomicUsize,
    bytes: AtomicU64,
}

/// Answers each GET, and reads uploads to their end.
async fn serve(listener: TcpListener, uploads: Arc<Uploads>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let uploads = uploads.clone();
        connections.spawn(async move {
            // However it ends, its client knows.
            let _ = answer(stream, &uploads).await;
        });
    }
}

async fn answer(mut stream: TcpStream, uploads: &Uploads) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut unread = Vec::with_capacity(64 * 1024);
    while stream.read_buf(&mut unread).await? > 0 {
        if unread.starts_with(b"POST") {
            // A hop may send the head alone.
            while !unread.ends_with(b"x\r\n") && stream.read_buf(&mut unread).await? > 0 {}
            uploads.open.fetch_add(1, Ordering::Relaxed);
            unread.clear();
            // A hop resets it if its client has gone.
            while stream.read_buf(&mut unread).await.is_ok_and(|read| read > 0) {
                uploads.bytes.fetch_add(unread.len() as u64, Ordering::Relaxed);
                unread.clear();
            }
            uploads.open.fetch_sub(1, Ordering::Relaxed);
            return Ok(());
        }
        if unread.ends_with(b"\r\n\r\n") {
            unread.clear();
            stream.write_all(ANSWER).await?;
        }
    }
    Ok(())
}

/// Begins `count` uploads, and waits until the app has exactly these.
async fn begin(
    entry: SocketAddr,
    count: usize,
    upload: Upload,
    at_app: &Uploads,
) -> Result<JoinSet<std::io::Result<()>>> {
    while at_app.open.load(Ordering::Relaxed) > 0 {
        sleep(Duration::from_millis(10)).await;
    }
    let mut uploads = JoinSet::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(entry).await?;
        uploads.spawn(async move {
            let chunk = [format!("{CHUNK:x}\r\n").as_bytes(), &[b'x'; CHUNK], b"\r\n"].concat();
            stream.write_all(POST).await?;
            stream.write_all(&chunk).await?;
            match upload {
                Upload::Rests => std::future::pending().await,
                Upload::Flows => loop {
                    stream.write_all(&chunk).await?;
                },
            }
        });
    }
    while at_app.open.load(Ordering::Relaxed) < count {
        if let Some(ended) = uploads.try_join_next() {
            return Err(format!("an upload ended: {ended:?}").into());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(uploads)
}

/// Returns the median and the 99th percentile of a GET's latency, in milliseconds.
async fn measure(entry: SocketAddr) -> Result<[f64; 2]> {
    let mut stream = TcpStream::connect(entry).await?;
    stream.set_nodelay(true)?;
    let (mut took, mut answer, since) = (Vec::new(), Vec::with_capacity(4096), Instant::now());
    while since.elapsed() < MEASURED {
        let began = Instant::now();
        stream.write_all(GET).await?;
        answer.clear();
        while !answer.ends_with(END) {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err("the connection ended".into());
            }
        }
        took.push(began.elapsed());
    }
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
    Ok([at(50), at(99)])
}
