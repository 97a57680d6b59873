//! What a request costs the queue-proxy, in microseconds of one core, beside what it costs nginx on the same machine in
//! the same minute. Fails where the queue-proxy needs more than [`MOST`] times as much, or more than [`MOST_RESIDENT`] of
//! memory before the first request.
//!
//! `cargo build --release -p queue-proxy && cargo bench -p ebb-benches --bench proxy_cpu`; another program is named by
//! `EBB_QUEUE_PROXY`. Without nginx there is nothing to compare with, and nothing fails.

use std::{
    env,
    error::Error,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

/// nginx does less than a queue-proxy does: it counts nothing and limits nothing.
const MOST: f64 = 1.6;
/// Kilobytes of an idle queue-proxy: there is one beside every pod.
const MOST_RESIDENT: u64 = 4608;
/// Requests at once, each on a connection that is kept.
const CONCURRENCY: usize = 32;
const REQUESTS: usize = 64_000;
/// Each of the two is measured so often, in turn.
const ROUNDS: usize = 4;
const REQUEST: &[u8] =
    b"GET /orders?id=17 HTTP/1.1\r\nHost: hello.default\r\nAccept: */*\r\nUser-Agent: curl/8.5.0\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
const END: &[u8] = b"\r\n\r\nok";

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<ExitCode> {
    // Before there are threads: they run where the one runs that began them.
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-p", "-c", "1", &own]).stdout(Stdio::null()).status();
    if !pinned.is_ok_and(|status| status.success()) {
        println!("skipped: want taskset, and two cores");
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

/// Answers whatever is asked.
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

/// A proxy in front of the app, alone on the first core.
struct Proxy {
    child: Child,
    address: SocketAddr,
    /// What it was configured by, if that is a folder.
    folder: Option<PathBuf>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Proxy {
    async fn start(command: &mut Command, address: SocketAddr, folder: Option<PathBuf>) -> Result<Self> {
        let child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut proxy = Self { child, address, folder };
        for _ in 0..500 {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(proxy);
            }
            if let Some(status) = proxy.child.try_wait()? {
                return Err(format!("{command:?} ended: {status}").into());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Err(format!("{command:?} does not listen").into())
    }

    /// Kilobytes of memory that it has.
    fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        Ok(line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?)
    }

    /// The time of a core that it has used.
    fn used(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name of the program may hold anything; after it the user's time is the twelfth, the kernel's next.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        // Linux shows a hundred of them a second on every machine that it runs pods on.
        Ok(Duration::from_millis(ticks * 10))
    }
}

async fn queue_proxy(app: SocketAddr) -> Result<Proxy> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/queue-proxy");
    let program = env::var_os("EBB_QUEUE_PROXY").map_or(built, PathBuf::from);
    if !program.exists() {
        return Err(format!("{} is missing: cargo build --release -p queue-proxy", program.display()).into());
    }
    let [serving, stats, admin] = [free_port().await?, free_port().await?, free_port().await?];
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).env_clear().envs([
        ("SERVING_POD", "pod-1".to_owned()),
        ("USER_PORT", app.port().to_string()),
        ("QUEUE_SERVING_PORT", serving.port().to_string()),
        ("EBB_STATS_PORT", stats.port().to_string()),
        ("EBB_ADMIN_PORT", admin.port().to_string()),
    ]);
    Proxy::start(&mut command, serving, None).await
}

async fn nginx(app: SocketAddr) -> Result<Option<Proxy>> {
    let paths = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let places = paths.into_iter().chain([PathBuf::from("/usr/sbin")]);
    let Some(program) = places.map(|place| place.join("nginx")).find(|program| program.exists()) else {
        return Ok(None);
    };
    let address = free_port().await?;
    let folder = env::temp_dir().join(format!("ebb-proxy-cpu-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, configured(app, address, &folder))?;
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program).arg("-p").arg(&folder).arg("-c").arg(&configuration);
    Proxy::start(&mut command, address, Some(folder)).await.map(Some)
}

/// One process that keeps its connections on both sides, as a queue-proxy does.
fn configured(app: SocketAddr, address: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;
         events {{ worker_connections 1024; }}
         http {{
           access_log off; keepalive_requests 1000000000;
           client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
           uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
           upstream app {{ server {app}; keepalive 64; keepalive_requests 1000000000; }}
           server {{
             listen {address};
             location / {{
               proxy_pass http://app; proxy_http_version 1.1;
               proxy_set_header Connection \"\"; proxy_set_header Host $host;
               proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             }}
           }}
         }}"
    )
}

async fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}

/// Microseconds of a core that one request takes.
async fn measure(proxy: &Proxy) -> Result<f64> {
    let (before, began) = (proxy.used()?, Instant::now());
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
    let used = proxy.used()?.saturating_sub(before);
    let rate = REQUESTS as f64 / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} requests a second");
    Ok(used.as_secs_f64() * 1e6 / REQUESTS as f64)
}
