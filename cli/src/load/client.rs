//! A request, from its connection to its end.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Uri, header, response::Parts};
use http_body_util::{BodyExt, Empty};
use tokio::time::{Instant, timeout_at};

use super::Target;
use super::meter::InFlight;
use super::pool::{Connection, Pool};
use super::report::Loss;

/// The header with which the sample app's pods identify themselves.
const SAMPLE_POD: &str = "sample-pod";

/// Sends requests; shared by all tasks of a run.
#[derive(Debug)]
pub(super) struct Client {
    request: RequestParts,
    timeout: Duration,
    pool: Pool,
}

impl Client {
    /// Creates a client that gives a request up `timeout` after its planned time.
    pub(super) fn new(target: &Target, timeout: Duration) -> Self {
        Self { request: RequestParts::of(target), timeout, pool: Pool::new(target.address) }
    }

    /// Closes connections that have been idle too long.
    pub(super) fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Sends one request and records how it ended.
    pub(super) async fn exchange(&self, in_flight: InFlight, planned: Instant) {
        match timeout_at(planned + self.timeout, self.attempt()).await {
            Ok(Ok((head, connection))) => {
                if head.status.is_success() {
                    in_flight.answered(service(&head.headers));
                } else {
                    in_flight.lost(Loss::Status(head.status.as_u16()));
                }
                self.pool.put_back(connection).await;
            }
            Ok(Err(loss)) => in_flight.lost(loss),
            Err(_elapsed) => in_flight.lost(Loss::TimedOut),
        }
    }

    /// Returns the head of a complete answer, and its connection.
    async fn attempt(&self) -> Result<(Parts, Connection), Loss> {
        let mut connection = self.pool.take().await.map_err(|_| Loss::Connect)?;
        let response = connection.send_request(self.request.build()).await.map_err(|_| Loss::Reset)?;
        let (head, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            frame.map_err(|_| Loss::Reset)?;
        }
        Ok((head, connection))
    }
}

/// Returns the service whose pod answered: pods of one machine are named after their service, with a number.
fn service(headers: &HeaderMap) -> Option<&str> {
    Some(headers.get(SAMPLE_POD)?.to_str().ok()?.rsplit_once('-')?.0)
}

/// The parts of the request that is sent repeatedly, checked once.
#[derive(Debug)]
struct RequestParts {
    uri: Uri,
    host: HeaderValue,
}

impl RequestParts {
    fn of(target: &Target) -> Self {
        let host = target.authority.as_str().try_into().expect("an authority is visible ASCII");
        Self { uri: Uri::from(target.path.clone()), host }
    }

    fn build(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(header::HOST, self.host.clone());
        request
    }
}
