use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::AsyncWriteExt,
    net::tcp::OwnedWriteHalf,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{
    Hops, Observed, PATIENCE, Path,
    app::{App, Script},
    client::{Answer, Answers, Client},
    soon, until,
    wire::Tape,
};

/// One exchange whose result must be the same on every path.
#[derive(Clone, Debug)]
pub struct Case {
    /// What the client does.
    pub client: Vec<Step>,
    /// When the client reads.
    pub reads: Reads,
    /// What the app does.
    pub app: Script,
    /// The expected result.
    pub want: Want,
}

/// The steps of the client, in order.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends bytes. If sending fails because the client is refused, it stops sending and reads.
    Send(Vec<u8>),
    /// Sends this many bytes of padding.
    Flood(usize),
    /// Waits until the app has received this many requests.
    UntilAppSaw(usize),
    /// Waits until it has received a text.
    UntilHeard(&'static str),
    /// Tells the app to continue.
    Tell,
    /// Closes its sending half.
    Shut,
}

/// When the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All the time, like browsers.
    Meanwhile,
    /// After it has sent everything, like simple libraries.
    AfterSending,
}

/// A difference from the direct result, and its reason.
pub type Difference = (&'static str, fn(&mut Observed));

/// The expected result of a case.
#[derive(Clone, Debug)]
pub enum Want {
    /// The same as directly, except for these differences.
    AsDirect(Vec<Difference>),
    /// This status and body at the client, whatever happens to the connection to the app.
    Answer(u16, &'static str),
    /// One of these statuses from Ebb itself, with its reason; the app receives nothing.
    Refused(&'static [u16]),
    /// A part of the app's response, which is marked as incomplete.
    BrokenOff(u16),
    /// The app's response with this status and body, or a 502 of Ebb's own with the reason.
    RepairedOrBadGateway {
        /// The status and body, if the response is repaired.
        repaired: Option<(u16, &'static str)>,
        /// How often the app receives the request.
        deliveries: usize,
    },
    /// A function that panics if the result is wrong.
    Judged(fn(&Observed, &Run)),
}

/// How a case ran.
#[derive(Clone, Debug)]
pub struct Run {
    /// On which path.
    pub path: Path,
    /// What the client received while the request was held.
    pub heard_while_held: Vec<u8>,
    /// Time from the first sent byte to the complete response.
    pub took: Duration,
    /// Number of bytes that the app received, over all connections.
    pub app_received: usize,
    /// What the client received.
    pub heard: Vec<u8>,
}

impl Case {
    /// Returns a case whose client sends `request` and reads all the time, and whose app reads it and writes
    /// `answer`.
    pub fn plain(request: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) -> Self {
        Self::new([Step::Send(request.as_ref().to_vec())], Script::answering(answer))
    }

    /// Returns a case whose client reads all the time; the result must be the same as directly.
    pub fn new(client: impl Into<Vec<Step>>, app: Script) -> Self {
        let want = Want::AsDirect(Vec::new());
        Self { client: client.into(), reads: Reads::Meanwhile, app, want }
    }

    /// Expects another result.
    #[must_use]
    pub fn wants(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    /// Expects one more difference from the direct result; `why` gives the reason.
    #[must_use]
    pub fn but(mut self, why: &'static str, difference: fn(&mut Observed)) -> Self {
        let Want::AsDirect(differences) = &mut self.want else { panic!("it is not as directly") };
        differences.push((why, difference));
        self
    }

    /// Runs only the client, with the server at `address`; its steps must not involve the app.
    pub async fn send_to(&self, address: SocketAddr) -> Answer {
        let client = Client::connect(address).await;
        start(self, client, None).await.expect("the client does not panic")
    }

    /// Makes the client read at another time.
    #[must_use]
    pub fn reading(mut self, reads: Reads) -> Self {
        self.reads = reads;
        self
    }
}

/// Returns a case with a request that must be refused with 400, and of which the app must receive nothing.
pub fn refused(request: impl AsRef<[u8]>) -> Case {
    Case::plain(request, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").wants(Want::Refused(&[400]))
}

/// Runs `case` on `path`, and fails if the result is wrong.
pub async fn check(case: &Case, path: Path) {
    let (observed, run) = observe(case, path).await;
    assert_eq!(String::from_utf8_lossy(&run.heard_while_held), "", "heard while the request was held");
    match &case.want {
        Want::AsDirect(differences) => as_direct(case, differences, observed, &run).await,
        Want::Answer(status, body) => {
            let answer = &observed.answer;
            let short = (answer.status, String::from_utf8_lossy(&answer.body.0));
            assert_eq!(short, (*status, (*body).into()), "{observed:#?}");
            assert_eq!(answer.fault, None, "the answer is whole");
        }
        Want::Refused(statuses) => {
            assert_eq!(run.app_received, 0, "the app saw bytes of it: {observed:#?}");
            assert!(statuses.contains(&observed.answer.status), "{:#?}", observed.answer);
            has_a_reason(&observed.answer);
        }
        Want::BrokenOff(status) => {
            let answer = &observed.answer;
            assert_eq!(answer.status, *status, "{answer:#?}");
            assert!(answer.fault.is_some(), "an answer that the app broke off seems whole: {answer:#?}");
        }
        Want::RepairedOrBadGateway { repaired, deliveries } => {
            repaired_or_bad_gateway(&observed, *repaired, *deliveries);
        }
        Want::Judged(judge) => judge(&observed, &run),
    }
}

async fn as_direct(case: &Case, differences: &[Difference], observed: Observed, run: &Run) {
    assert_eq!(observed.answer.fault, None, "the answer is whole: {observed:#?}");
    if run.path == Path::Direct {
        return;
    }
    let (mut want, _) = observe(case, Path::Direct).await;
    want = want.through(run.path.hops());
    let mut observed = observed;
    if want.answer.head.all("date").is_empty() {
        // RFC 9110, section 6.6.1: a recipient with a clock adds it.
        observed.answer_lacks("date");
    }
    let mut reasons = String::new();
    for (why, difference) in differences {
        difference(&mut want);
        reasons = reasons + "; " + why;
    }
    assert!(observed == want, "on {:?}{reasons}\ngot  {observed:#?}\nwant {want:#?}", run.path);
}

fn repaired_or_bad_gateway(observed: &Observed, repaired: Option<(u16, &'static str)>, deliveries: usize) {
    let answer = &observed.answer;
    assert_eq!(observed.requests.len(), deliveries, "deliveries: {observed:#?}");
    assert_eq!(answer.fault, None, "{answer:#?}");
    match repaired {
        Some((status, body)) if answer.status == status => assert_eq!(answer.body, body),
        _ => {
            assert_eq!(answer.status, 502, "{answer:#?}");
            has_a_reason(answer);
        }
    }
}

/// Fails unless it is a reply of Ebb's own with a reason.
pub fn has_a_reason(answer: &Answer) {
    assert_ne!(answer.field("ebb-reason"), "", "it says which rule made it: {answer:#?}");
    assert_ne!(answer.body, "", "it says what is wrong: {answer:#?}");
    assert_eq!(answer.fault, None, "it is whole");
}

/// Runs `case` on `path`, and returns the result.
pub(crate) async fn observe(case: &Case, path: Path) -> (Observed, Run) {
    let app = Arc::new(App::start(case.app.clone()).await);
    let hops = Hops::start(path, &[app.address]).await;
    let client = Client::connect(hops.entry).await;
    let tape = client.answers.tape.clone();
    let began = Instant::now();
    let running = start(case, client, Some(app.clone()));
    let mut heard_while_held = Vec::new();
    if path == Path::Held {
        // A request that is refused at once is never held.
        until("the request is held, or answered", || hops.held() > 0 || running.is_finished()).await;
        if !running.is_finished() {
            heard_while_held.clone_from(&tape.borrow());
        }
        hops.release().await;
    }
    let answer = running.await.expect("the client does not panic");
    let took = began.elapsed();
    let app_received = app.received().iter().map(|received| received.0.len()).sum();
    let observed = Observed::new(answer, settled(&app).await);
    let heard = tape.borrow().clone();
    (observed, Run { path, heard_while_held, took, app_received, heard })
}

/// Returns what the app received. Its response may arrive before it has read the whole request.
async fn settled(app: &App) -> Vec<crate::app::Seen> {
    app.idle().await;
    app.seen()
}

fn start(case: &Case, client: Client, app: Option<Arc<App>>) -> JoinHandle<Answer> {
    let (steps, reads) = (case.client.clone(), case.reads);
    let first = steps.iter().find_map(|step| if let Step::Send(bytes) = step { Some(bytes) } else { None });
    let to_head = first.is_some_and(|bytes| bytes.starts_with(b"HEAD "));
    let Client { write, mut answers } = client;
    let tape = answers.tape.clone();
    let (done, mut is_done) = watch::channel(false);
    tokio::spawn(async move {
        let sending = tokio::spawn(async move {
            let write = send(steps, write, tape, app).await;
            done.send_replace(true);
            write
        });
        if reads == Reads::AfterSending {
            // If the sender is gone, it has sent everything.
            let _ = soon("all is sent", is_done.wait_for(|done| *done)).await;
        }
        let answer = answers.next(to_head).await;
        if answer.fault.is_none() {
            // Let the client send the rest, because the app should receive all of it. After a switch of protocols,
            // keep reading.
            let sent = timeout(PATIENCE, is_done.wait_for(|done| *done));
            let hears_on = async {
                if answer.status == 101 {
                    answers.wire.drain().await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                _ = sent => {}
                () = hears_on => {}
            }
        }
        sending.abort();
        // A step that waited in vain is a fault of the path.
        if let Err(error) = sending.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        answer
    })
}

async fn send(
    steps: Vec<Step>,
    mut write: OwnedWriteHalf,
    tape: Tape,
    app: Option<Arc<App>>,
) -> OwnedWriteHalf {
    let app = || app.as_ref().expect("an app with a script");
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if write.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            Step::Flood(bytes) => {
                let piece = vec![b'x'; 16 * 1024];
                let mut left = bytes;
                while left > 0 {
                    let Ok(sent) = write.write(&piece[..left.min(piece.len())]).await else { return write };
                    left -= sent;
                }
            }
            Step::UntilAppSaw(count) => app().has_seen(count).await,
            Step::UntilHeard(text) => Answers::have(&tape, text).await,
            Step::Tell => app().tell(),
            Step::Shut => {
                // The other side may have closed already.
                let _ = write.shutdown().await;
            }
        }
    }
    write
}
