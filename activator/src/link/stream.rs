//! The stream to one autoscaler, opened again whenever it ends.

use std::{
    fs::File,
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use ebb_core::link::{Down, Frames, PATH};
use ebb_proxy::Incoming;
use ebb_proxy::stream::{ChannelBody, open};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt;
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::pauses::Pauses;

/// Reports wait here while the network is slow; there is one a second and one for each first request. A stream on
/// which more would wait is given up, and opened anew.
const UP_CAPACITY: usize = 256;
/// The autoscaler must answer in so long.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// Between two tries to open the stream, at first and at most.
const RETRY: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(2)];
/// A token is read in so long: it is in memory.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// Longest token that is read, in bytes. A service account's has some thousand.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// Names a stream, also across times at which it is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId(pub(super) u64);

/// The way up an open stream. Dropping it closes the stream.
#[derive(Debug)]
pub(super) struct OpenStream {
    pub(super) up: mpsc::Sender<Bytes>,
    /// Its other end notices when this is dropped, even if the autoscaler does not.
    _cut: oneshot::Sender<()>,
}

#[cfg(test)]
impl OpenStream {
    /// One without a task of its own.
    pub(super) fn of(up: mpsc::Sender<Bytes>) -> Self {
        Self { up, _cut: oneshot::channel().0 }
    }
}

/// What happened on a stream.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// It is open.
    Opened(OpenStream),
    /// A message came.
    Said(Box<Down>),
    /// It is not open any more.
    Ended,
}

/// Keeps a stream to one autoscaler open.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) autoscaler: SocketAddr,
    /// The token to show, read anew for each stream.
    pub(super) token_file: Option<PathBuf>,
    pub(super) events: mpsc::Sender<(StreamId, StreamEvent)>,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Open(#[from] ebb_proxy::stream::OpenError),
    #[error("cannot make the request: {0}")]
    Request(#[from] http::Error),
    #[error("no token from {0}: {1}")]
    Token(PathBuf, String),
    #[error("the autoscaler answered {0}")]
    Refused(StatusCode),
    #[error("the autoscaler ended it")]
    Closed,
    #[error("it did not keep up, or is not wanted any more")]
    Cut,
    #[error("nobody listens here any more")]
    Alone,
    #[error(transparent)]
    Frame(#[from] ebb_core::link::FrameError),
}

impl Stream {
    /// Ends when nobody takes its events any more.
    pub(super) async fn run(self) {
        let mut pauses = Pauses::new(RETRY);
        // What is wrong with opening it, as last told.
        let mut told = None;
        loop {
            let began = Instant::now();
            let (ended, was_open) = self.session().await;
            if matches!(ended, Ended::Alone) {
                return;
            }
            if was_open {
                told = None;
                warn!(autoscaler = %self.autoscaler, why = %ended, "link to the autoscaler ended");
                if self.events.send((self.id, StreamEvent::Ended)).await.is_err() {
                    return;
                }
            } else {
                // One that is not there yet is nothing to write home about; one that does not want us is, once.
                let why = ended.to_string();
                if matches!(ended, Ended::Refused(_) | Ended::Token(..)) && told.as_ref() != Some(&why) {
                    warn!(autoscaler = %self.autoscaler, why, "no link to the autoscaler; trying again");
                    told = Some(why);
                } else {
                    debug!(autoscaler = %self.autoscaler, why, "no link to the autoscaler yet");
                }
            }
            // One that takes the stream only to end it must not be asked fifty times a second.
            if was_open && began.elapsed() > RETRY[1] {
                pauses.reset();
            }
            sleep(pauses.pause()).await;
        }
    }

    /// Why it ended, and whether it was open.
    async fn session(&self) -> (Ended, bool) {
        let (up, down) = match self.open().await {
            Ok(stream) => stream,
            Err(ended) => return (ended, false),
        };
        info!(autoscaler = %self.autoscaler, "link to the autoscaler is open");
        let (cut, was_cut) = oneshot::channel();
        let opened = StreamEvent::Opened(OpenStream { up, _cut: cut });
        if self.events.send((self.id, opened)).await.is_err() {
            return (Ended::Alone, false);
        }
        (self.listen(down, was_cut).await, true)
    }

    async fn open(&self) -> Result<(mpsc::Sender<Bytes>, Incoming), Ended> {
        let (up, body) = ChannelBody::new(UP_CAPACITY);
        let mut request = Request::post(format!("http://{}{PATH}", self.autoscaler)).body(body)?;
        if let Some(file) = &self.token_file {
            let token = token(file).await.map_err(|why| Ended::Token(file.clone(), why))?;
            request.headers_mut().insert(header::AUTHORIZATION, token);
        }
        let response = open(self.autoscaler, request, OPEN_WITHIN).await?;
        if response.status() != StatusCode::OK {
            return Err(Ended::Refused(response.status()));
        }
        Ok((up, response.into_body()))
    }

    /// Passes on what comes down, until nothing more does.
    async fn listen(&self, mut down: Incoming, mut was_cut: oneshot::Receiver<()>) -> Ended {
        let mut frames = Frames::default();
        loop {
            let piece = tokio::select! {
                piece = down.frame() => piece,
                _ = &mut was_cut => return Ended::Cut,
            };
            let Some(Ok(piece)) = piece else { return Ended::Closed };
            let Ok(bytes) = piece.into_data() else { continue };
            frames.push(&bytes);
            loop {
                match frames.next_message::<Down>() {
                    Ok(Some(message)) => {
                        let said = StreamEvent::Said(Box::new(message));
                        if self.events.send((self.id, said)).await.is_err() {
                            return Ended::Alone;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return error.into(),
                }
            }
        }
    }
}

/// The token in `file`, as it is shown.
async fn token(file: &Path) -> Result<HeaderValue, String> {
    let file = file.to_owned();
    let reading = spawn_blocking(move || {
        let mut text = String::new();
        File::open(file)?.take(MAX_TOKEN_BYTES).read_to_string(&mut text).map(|_| text)
    });
    let text = match timeout(READ_WITHIN, reading).await {
        Ok(Ok(read)) => read.map_err(|error| error.to_string())?,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("not read within {READ_WITHIN:?}")),
    };
    let token = text.trim();
    if token.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| error.to_string())?;
    value.set_sensitive(true);
    Ok(value)
}
