//! The bytes of a client's connection, as an app behind a hop hears of them, and what the client hears.

mod answers;

use ebb_hops::{
    Hops, PATIENCE, Path, Text,
    app::{App, Script, Seen, UNREAD},
    client::Client,
};
use tokio::{
    io::AsyncWriteExt,
    runtime::{Builder, Runtime},
    time::timeout,
};

/// Only the app says this: an answer with it is one that it gave.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nx-app: yes\r\ncontent-length: 0\r\n\r\n";
/// With these a connection speaks HTTP/2, and nothing of what follows is text.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";
/// An app keeps all that it has seen; after so many connections another one goes on.
const RENEWED_AFTER: usize = 512;

/// A way to an app, for one connection after the other. The hops keep theirs to the app: what was left over on one of
/// them would show with the next.
#[derive(Debug)]
pub struct Way {
    path: Path,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    // In this order: what runs ends before what it runs on.
    hops: Hops,
    app: App,
    runtime: Runtime,
    seen: usize,
    connections: usize,
}

impl Way {
    /// Over `path`.
    pub const fn new(path: Path) -> Self {
        Self { path, running: None }
    }

    /// Checks everything that holds of a client's `bytes`, after which it says nothing more: whatever the app receives
    /// reads without doubt, and is exactly what the hop took for requests and has answered; and so does what the client
    /// receives.
    ///
    /// # Panics
    ///
    /// If something does not hold.
    pub fn hold(&mut self, bytes: &[u8]) {
        if bytes.starts_with(HTTP2) {
            return;
        }
        self.running.take_if(|running| running.connections >= RENEWED_AFTER);
        let path = self.path;
        self.running.get_or_insert_with(|| Running::start(path)).hold(bytes);
    }
}

impl Running {
    fn start(path: Path) -> Self {
        // One thread, so that the same bytes take the same way.
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (app, hops) = runtime.block_on(async {
            let app = App::start(Script::answering(ANSWER)).await;
            let hops = Hops::start(path, &[app.address]).await;
            (app, hops)
        });
        Self { hops, app, runtime, seen: 0, connections: 0 }
    }

    fn hold(&mut self, bytes: &[u8]) {
        let (answered, seen) = self.runtime.block_on(async {
            let answered = answers(&self.hops, bytes).await;
            self.app.idle().await;
            (answered, self.app.seen())
        });
        let new = &seen[self.seen..];
        self.seen = seen.len();
        self.connections += 1;
        holds_of_seen(new, answered, &Text::from(bytes));
    }
}

/// Sends the bytes and says that this is all; how many answers of the app came.
async fn answers(hops: &Hops, bytes: &[u8]) -> usize {
    let mut client = Client::connect(hops.entry).await;
    // It may be refused before all is sent.
    let _ = client.write.write_all(bytes).await;
    let _ = client.write.shutdown().await;
    let drained = async { while !client.answers.wire.some().await.unwrap_or_default().is_empty() {} };
    timeout(PATIENCE, drained)
        .await
        .unwrap_or_else(|_| panic!("the connection stays open after {:?}", Text::from(bytes)));
    let heard = client.answers.tape.borrow();
    answers::of_the_app(&heard, bytes).unwrap_or_else(|fault| {
        panic!("{fault} in {:?}, after {:?}", Text::from(&**heard), Text::from(bytes))
    })
}

/// The app's view: every whole request is one that the hop took for one, and was answered.
fn holds_of_seen(seen: &[Seen], answered: usize, bytes: &Text) {
    let broken_off = |seen: &&Seen| {
        let ends = ["closed within", "within the body: Connection reset"];
        let ended = |fault: &String| fault == UNREAD || ends.iter().any(|end| fault.contains(end));
        seen.fault.as_ref().is_some_and(ended)
    };
    let whole: Vec<&Seen> = seen.iter().filter(|seen| !broken_off(seen)).collect();
    for request in &whole {
        assert_eq!(request.fault, None, "the app could not read without doubt {request:?} of {bytes:?}");
        let by = request.head.all("x-forwarded-for");
        let known = by.len() == 1 && by[0].ends_with(b"127.0.0.1");
        assert!(known, "the hop did not know of {request:?} of {bytes:?}");
    }
    assert_eq!(whole.len(), answered, "requests of the app, and its answers, of {bytes:?}: {whole:?}");
}
