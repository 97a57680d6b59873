//! What happens to a request whose app fails: it is never sent twice unless that does no harm, and then only once
//! more.

use ebb_hops::{
    Hops, Path,
    app::{Act, App, Script, write},
    client::{Answer, Client},
    has_a_reason, on_both_ways, soon,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const WARM: &str = "GET /warm HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST /die HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
const GET: &str = "GET /die HTTP/1.1\r\nhost: a\r\n\r\n";

/// Apps that serve, and break off `/die` with `acts`.
async fn apps(count: usize, acts: &[Act]) -> Vec<App> {
    let mut apps = Vec::new();
    for _ in 0..count {
        apps.push(App::start(Script::answering(OK).at("/die", acts)).await);
    }
    apps
}

fn addresses(apps: &[App]) -> Vec<std::net::SocketAddr> {
    apps.iter().map(|app| app.address).collect()
}

fn deliveries(apps: &[App]) -> usize {
    apps.iter().map(|app| app.deliveries("/die")).sum()
}

/// Sends a request after all pods have served, so that connections to them are kept.
async fn ask_warm(path: Path, apps: &[App], request: &str) -> Answer {
    let hops = Hops::start(path, &addresses(apps)).await;
    for _ in 0..8 * apps.len() {
        let mut client = Client::connect(hops.entry).await;
        assert_eq!(client.ask(WARM).await.status, 200);
    }
    Client::connect(hops.entry).await.ask(request).await
}

fn is_a_failure_of_the_apps(answer: &Answer) {
    // 503 if it should be sent once more, and no app came back to take it.
    assert!([502, 503].contains(&answer.status), "{answer:?}");
    has_a_reason(answer);
}

/// A request that kills any app that receives it.
async fn query_of_death(path: Path, pods: usize, acts: &[Act], request: &str, most: usize) {
    let apps = apps(pods, acts).await;
    let answer = ask_warm(path, &apps, request).await;
    is_a_failure_of_the_apps(&answer);
    let deliveries = deliveries(&apps);
    assert!((1..=most).contains(&deliveries), "delivered {deliveries} times, at most {most} may be");
}

on_both_ways! {
    a_get_that_the_app_breaks_off_on_a_kept_connection_is_sent_twice_at_most =>
        |path| query_of_death(path, 1, &[Act::Close], GET, 2);
    a_post_that_the_app_breaks_off_on_a_kept_connection_is_sent_once =>
        |path| query_of_death(path, 1, &[Act::Close], POST, 1);
    a_post_that_the_app_has_read_and_breaks_off_is_sent_once =>
        |path| query_of_death(path, 1, &[Act::Read, Act::Close], POST, 1);
    a_get_with_a_body_that_the_app_breaks_off_is_sent_twice_at_most => |path| query_of_death(
        path, 1, &[Act::Read, Act::Close], "GET /die HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi", 2);
    a_delete_that_the_app_breaks_off_is_sent_once =>
        |path| query_of_death(path, 1, &[Act::Close], "DELETE /die HTTP/1.1\r\nhost: a\r\n\r\n", 1);
    a_get_that_kills_the_app_is_sent_twice_at_most => |path| query_of_death(path, 1, &[Act::Die], GET, 2);
    a_post_that_kills_the_app_is_sent_once => |path| query_of_death(path, 1, &[Act::Die], POST, 1);
    an_answer_that_begins_and_breaks_off_is_not_asked_for_again =>
        |path| async move {
            let half = [Act::Read, write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Act::Close];
            let apps = apps(1, &half).await;
            let answer = ask_warm(path, &apps, GET).await;
            assert!(answer.fault.is_some(), "{answer:?}");
            assert_eq!((answer.status, deliveries(&apps)), (200, 1));
        };
    a_post_to_an_app_that_restarts_is_sent_when_it_is_back => sent_when_the_app_is_back;
    a_get_to_an_app_that_restarts_is_sent_when_it_is_back => |path| async move {
        back(path, "GET /die HTTP/1.1\r\nhost: a\r\n\r\n").await;
    };
    a_post_to_an_app_that_has_not_started_is_sent_when_it_is_there => sent_when_the_app_is_there;
    a_kept_connection_that_the_app_has_closed_costs_nothing => closed_after_each_answer;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_that_the_app_breaks_off_reaches_two_of_six_pods_at_most() {
    query_of_death(Path::Both, 6, &[Act::Close], GET, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_get_that_kills_the_app_kills_two_of_six_pods_at_most() {
    query_of_death(Path::Both, 6, &[Act::Die], GET, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_kills_the_app_kills_one_of_six_pods() {
    query_of_death(Path::Both, 6, &[Act::Die], POST, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_that_an_app_refuses_go_to_the_other_pod() {
    let mut apps = [App::start(Script::answering(OK)).await, App::start(Script::answering(OK)).await];
    let hops = Hops::start_probing(Path::Both, &addresses(&apps)).await;
    apps[0].crash().await;
    for _ in 0..20 {
        let answer = Client::connect(hops.entry).await.ask(POST).await;
        assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
    }
    assert_eq!((deliveries(&apps[..1]), deliveries(&apps[1..])), (0, 20));
}

async fn sent_when_the_app_is_back(path: Path) {
    back(path, POST).await;
}

/// Sends a request while the app is down; the app comes back when the sidecar has noticed.
async fn back(path: Path, request: &'static str) {
    // No connection is kept: what is written to an app that has just crashed may have been read.
    let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let script = Script::answering(OK).at("/warm", [Act::Read, write(close), Act::Close]);
    let mut app = App::start(script).await;
    let hops = Hops::start_probing(path, &[app.address]).await;
    hops.app_is_ready(0, true).await;
    assert_eq!(Client::connect(hops.entry).await.ask(WARM).await.status, 200);
    app.crash().await;
    let mut client = Client::connect(hops.entry).await;
    let asked = tokio::spawn(async move { client.ask(request).await });
    hops.app_is_ready(0, false).await;
    app.restart().await;
    let answer = soon("the answer", asked).await.expect("the client does not panic");
    assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
    assert_eq!(app.deliveries("/die"), 1);
}

/// Sends a request before the app has ever listened, which Kubernetes allows for pods without a readiness probe.
async fn sent_when_the_app_is_there(path: Path) {
    let mut app = App::start(Script::answering(OK)).await;
    app.crash().await;
    // The activator probes the pod first, and holds the request while it is not ready.
    let hops = Hops::start_probing(if path == Path::Both { Path::Held } else { path }, &[app.address]).await;
    hops.release().await;
    let mut client = Client::connect(hops.entry).await;
    client.send(POST).await;
    hops.has_in_flight(0, path).await;
    app.restart().await;
    let answer = client.answers.next(false).await;
    assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
    assert_eq!(app.deliveries("/die"), 1);
    assert_eq!(app.seen()[0].body, "hello");
}

/// The app's close and the next request may cross: a request that the app has not read is not lost.
async fn closed_after_each_answer(path: Path) {
    let close = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let app = App::start(Script::of([Act::Read, write(close), Act::Close])).await;
    let hops = Hops::start(path, &[app.address]).await;
    let mut client = Client::connect(hops.entry).await;
    for _ in 0..50 {
        let answer = client.ask(POST).await;
        assert_eq!((answer.status, answer.fault.as_deref()), (200, None), "{answer:?}");
    }
    assert_eq!(app.deliveries("/die"), 50);
}
