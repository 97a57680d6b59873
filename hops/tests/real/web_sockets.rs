//! `WebSocket`s, with a client and a server in Python.

use std::{net::SocketAddr, time::Duration};

use ebb_hops::{Hops, Path, soon, until};
use ebb_proxy::Cut;
use tokio::process::Command;

use crate::{
    dialogue::Dialogue,
    listening,
    programs::{Kind, Program, free_port, have, source},
    takes_nobody,
};

/// A client that sends messages of all sizes, and receives them back.
fn talk(program: &Program, hops: &Hops) -> Command {
    let mut talk = Command::new(program.path());
    talk.arg(source("talk.py")).arg(hops.entry.to_string()).kill_on_drop(true);
    talk
}

/// A client that sends what it is told.
fn speaker(program: &Program, entry: SocketAddr) -> Dialogue {
    let mut speaker = Command::new(program.path());
    Dialogue::begin(speaker.arg(source("speak.py")).arg(entry.to_string()))
}

/// Messages of all sizes come back, and the closing handshake is the app's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_both() {
    let Some(program) = have(Kind::WebSockets).await else { return };
    let (_running, address) = listening(&program).await;
    let hops = Hops::start(Path::Both, &[address]).await;
    let output = soon("the talk's end", talk(&program, &hops).output()).await.expect("python runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "closed 1000", "{output:?}");
}

/// A client that connects while there is no pod is held, and then continues like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_waits_for_a_cold_start() {
    let Some(program) = have(Kind::WebSockets).await else { return };
    let address = free_port();
    let hops = Hops::start_probing(Path::Held, &[address]).await;
    let mut talk = talk(&program, &hops);
    let talking = tokio::spawn(async move { talk.output().await });
    until("the client is held", || hops.held() == 1).await;
    let _running = program.start(address);
    hops.release().await;
    let output = soon("the talk's end", talking).await.expect("no panic").expect("python runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "closed 1000", "{output:?}");
}

/// Connections that are open when the sidecar drains continue until they end, and the drain waits for that. New ones
/// are refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_waits_for_the_end_of_what_is_open() {
    let Some(program) = have(Kind::WebSockets).await else { return };
    let (_running, address) = listening(&program).await;
    let mut hops = Hops::start(Path::Sidecar, &[address]).await;
    let entry = hops.entry;
    let mut open = speaker(&program, entry);
    assert_eq!(open.hear().await, "open");
    let speaking = async {
        takes_nobody(entry).await;
        assert_eq!(speaker(&program, entry).hear().await, "refused");
        open.tell("still here").await;
        assert_eq!(open.hear().await, "still here");
        open.end().await
    };
    let (drained, said) = tokio::join!(hops.drain(0), speaking);
    assert_eq!((said.as_str(), drained), ("closed 1000", Ok(())));
}

/// Connections that do not end by themselves are cut when the drain's limit has passed. The client notices, through
/// both hops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_cuts_what_does_not_end() {
    let Some(program) = have(Kind::WebSockets).await else { return };
    let (_running, address) = listening(&program).await;
    let mut hops = Hops::start(Path::Both, &[address]).await;
    let mut open = speaker(&program, hops.entry);
    assert_eq!(open.hear().await, "open");
    assert_eq!(hops.drain_within(0, Duration::from_millis(200)).await, Err(Cut { connections: 1 }));
    open.tell("anybody?").await;
    assert_eq!(open.hear().await, "closed 1006", "the connection broke off");
}
