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

/// The number of reports that may wait while the network is slow: there is one a second and one for each
/// first request. A stream with more is closed and opened anew.
const UP_CAPACITY: usize = 256;
/// The time within which the autoscaler must answer.
const OPEN_WITHIN: Duration = Duration::from_secs(3);
/// The first and the longest pause between attempts to open the stream.
const RETRY: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(2)];
/// The time within which a token must be read. The file is in memory.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// The longest token that is read, in bytes. A service account's has about a thousand.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;

/// Identifies a stream, even while it is not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamId(pub(super) u64);

/// The sending end of an open stream. Dropping it closes the stream.
#[derive(Debug)]
pub(super) struct OpenStream {
    pub(super) up: mpsc::Sender<Bytes>,
    /// Dropping it ends the stream's task, even if the autoscaler does not notice.
    _cut: oneshot::Sender<()>,
}

#[cfg(test)]
impl OpenStream {
    /// Creates one without a task of its own.
    pub(super) fn of(up: mpsc::Sender<Bytes>) -> Self {
        Self { up, _cut: oneshot::channel().0 }
    }
}

/// An event of a stream.
#[derive(Debug)]
pub(super) enum StreamEvent {
    /// The stream is open.
    Opened(OpenStream),
    /// A message arrived.
    Said(Box<Down>),
    /// The stream is no longer open.
    Ended,
}

/// Keeps a stream to one autoscaler open.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) autoscaler: SocketAddr,
    /// The file of the token, read anew for each stream.
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
    /// Runs until the receiver of its events is dropped.
    pub(super) async fn run(self) {
        let mut pauses = Pauses::new(RETRY);
        // The last reported reason why the stream could not be opened.
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
                // An autoscaler that is not there yet is not logged; one that refuses us is, once.
                let why = ended.to_string();
                if matches!(ended, Ended::Refused(_) | Ended::Token(..)) && told.as_ref() != Some(&why) {
                    warn!(autoscaler = %self.autoscaler, why, "no link to the autoscaler; trying again");
                    told = Some(why);
                } else {
                    debug!(autoscaler = %self.autoscaler, why, "no link to the autoscaler yet");
                }
            }
            // An autoscaler that ends the stream right away must not be asked fifty times a second.
            if was_open && began.elapsed() > RETRY[1] {
                pauses.reset();
            }
            sleep(pauses.pause()).await;
        }
    }

    /// Returns why the stream ended, and whether it was open.
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

    /// Passes on incoming messages until the stream ends.
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

/// Returns the token in `file` as a header value.
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
