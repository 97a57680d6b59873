//! Real apps and clients. If a program that a test needs is not available, the test says so and ends.

#[path = "real/dialogue.rs"]
mod dialogue;
#[path = "real/grpc.rs"]
mod grpc;
#[path = "real/programs.rs"]
mod programs;
#[path = "real/web_sockets.rs"]
mod web_sockets;

use std::{net::SocketAddr, time::Duration};

use ebb_hops::{Case, Hops, Path, Step, app::Script, client::Client, soon, until};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, timeout},
};

use programs::{Kind, Program, free_port, have, installed};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const UPLOAD: usize = 30 * 1024 * 1024;

/// Starts `program` on a free port, and waits until it listens.
async fn listening(program: &Program) -> (Child, SocketAddr) {
    let address = free_port();
    let running = program.start(address);
    until("the app listens", || std::net::TcpStream::connect(address).is_ok()).await;
    (running, address)
}

/// A request that arrives before the app has started waits for it.
async fn cold_start(kind: Kind) {
    let Some(program) = have(kind).await else { return };
    let address = free_port();
    let hops = Hops::start_probing(Path::Held, &[address]).await;
    let entry = hops.entry;
    let asked = tokio::spawn(async move { Client::connect(entry).await.ask(GET).await });
    until("the request is held", || hops.held() == 1).await;
    let _running = program.start(address);
    hops.release().await;
    let answer = soon("the answer", asked).await.expect("the client does not panic");
    assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
    assert_eq!(answer.body, "hello");
}

/// If an app refuses an upload without reading it, curl and a plain client get its response.
async fn early_answers(kind: Kind, path: Path) {
    let Some(program) = have(kind).await else { return };
    let (_running, address) = listening(&program).await;
    let hops = Hops::start(path, &[address]).await;
    let mut heard = Vec::new();
    for _ in 0..20 {
        heard.push(refused_upload(&hops).await);
    }
    assert_eq!(heard, vec![Ok(413); 20]);
    let curl = refused_uploads_of_curl(&hops).await;
    assert_eq!(curl.unwrap_or_else(|| vec!["413".into(); 20]), vec!["413"; 20]);
}

/// Returns the status of the response to an upload, if the response was complete.
async fn refused_upload(hops: &Hops) -> Result<u16, String> {
    let head = format!("POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: {UPLOAD}\r\n\r\n");
    let case = Case::new([Step::Send(head.into_bytes()), Step::Flood(UPLOAD)], Script::default());
    let answer = case.send_to(hops.entry).await;
    answer.fault.map_or(Ok(answer.status), Err)
}

/// Returns what curl reports for twenty uploads; `None` if there is no curl.
async fn refused_uploads_of_curl(hops: &Hops) -> Option<Vec<String>> {
    let curl = installed("curl")?;
    let file = programs::folder().join(format!("upload-{}", hops.entry.port()));
    std::fs::write(&file, vec![b'x'; UPLOAD]).expect("room for the upload");
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let mut command = Command::new(&curl);
        command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "--data-binary"]);
        command.arg(format!("@{}", file.display())).arg(format!("http://{}/upload", hops.entry));
        let output = soon("curl's end", command.output()).await.expect("curl runs");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        statuses.push(format!("{out}{err}"));
    }
    std::fs::remove_file(&file).expect("the upload is there");
    Some(statuses)
}

/// Waits until the sidecar at `entry` accepts no more connections.
async fn takes_nobody(entry: SocketAddr) {
    until("nobody listens", || std::net::TcpStream::connect(entry).is_err()).await;
}

/// Requests in flight when the sidecar drains get their responses.
async fn drain(kind: Kind) {
    let Some(program) = have(kind).await else { return };
    let (_running, address) = listening(&program).await;
    let mut hops = Hops::start(Path::Sidecar, &[address]).await;
    let entry = hops.entry;
    let mut asked = JoinSet::new();
    for _ in 0..10 {
        asked.spawn(async move {
            Client::connect(entry).await.ask("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n").await
        });
    }
    hops.has_in_flight_at(0, 10).await;
    soon("the drain", hops.drain(0)).await.expect("nothing is cut");
    for answer in asked.join_all().await {
        assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
        assert_eq!(answer.body, "slow");
    }
}

/// Defines a module of tests for each app.
macro_rules! with_apps {
    ($($app:ident $kind:ident),*) => { $(
        mod $app {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_request_waits_for_a_cold_start() {
                cold_start(Kind::$kind).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn early_answers_pass_the_sidecar() {
                early_answers(Kind::$kind, Path::Sidecar).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn early_answers_pass_both() {
                early_answers(Kind::$kind, Path::Both).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_drain_loses_no_request() {
                drain(Kind::$kind).await;
            }
        }
    )* };
}

with_apps! {
    node Node, express Express, go Go, gunicorn Gunicorn, gunicorn_with_threads GunicornThreads, uvicorn Uvicorn,
    http_server HttpServer, nginx Nginx
}

/// Streams of many HTTP/2 clients at once are all answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h2load_loses_nothing_through_both() {
    let Some(load) = installed("h2load") else { return };
    let Some(program) = have(Kind::Go).await else { return };
    let (_running, address) = listening(&program).await;
    let hops = Hops::start(Path::Both, &[address]).await;
    let mut load = Command::new(load);
    load.args(["-n", "2000", "-c", "10", "-m", "10"]).arg(format!("http://{}/", hops.entry));
    let began = Instant::now();
    let output = timeout(Duration::from_secs(60), load.kill_on_drop(true).output()).await;
    let output = output.unwrap_or_else(|_| panic!("h2load runs since {:?}", began.elapsed()));
    let output = output.expect("h2load runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
}
