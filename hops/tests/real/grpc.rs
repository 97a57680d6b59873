//! gRPC, with its own client and server in Python.

use ebb_hops::{Hops, Path, soon, until};
use tokio::process::Command;

use crate::{
    dialogue::Dialogue,
    listening,
    programs::{Kind, free_port, have, source},
    takes_nobody,
};

/// Calls and streams with messages of all sizes, including many small ones, and an error status.
async fn grpc_of_python(path: Path) {
    let Some(program) = have(Kind::Grpc).await else { return };
    let address = free_port();
    let hops = Hops::start_probing(path, &[address]).await;
    let mut calls = Command::new(program.path());
    calls.arg(source("grpc_calls.py")).arg(hops.entry.to_string()).kill_on_drop(true);
    let output = tokio::spawn(async move { calls.output().await });
    if path == Path::Held {
        until("the call is held", || hops.held() > 0).await;
    }
    let _running = program.start(address);
    if path == Path::Held {
        hops.release().await;
    }
    let output = soon("the last call", output).await.expect("no panic").expect("python runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "NOT_FOUND no such thing", "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_of_python_speaks_through_the_sidecar_of_an_app_that_starts() {
    grpc_of_python(Path::Sidecar).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_of_python_waits_for_a_cold_start_and_speaks_through_both() {
    grpc_of_python(Path::Held).await;
}

/// Calls and a stream are in flight when the sidecar drains. GOAWAY ends none of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_loses_no_call_of_grpc() {
    let Some(program) = have(Kind::Grpc).await else { return };
    let (_running, address) = listening(&program).await;
    let mut hops = Hops::start(Path::Sidecar, &[address]).await;
    let entry = hops.entry;
    let mut calls = Command::new(program.path());
    let mut calls = Dialogue::begin(calls.arg(source("grpc_long_calls.py")).arg(entry.to_string()));
    assert_eq!(calls.hear().await, "under way");
    hops.has_in_flight_at(0, 11).await;
    let calling = async {
        takes_nobody(entry).await;
        calls.tell("go on").await;
        calls.hear().await
    };
    let (drained, said) = tokio::join!(hops.drain(0), calling);
    assert_eq!((said.as_str(), drained), ("10 OK", Ok(())));
}
