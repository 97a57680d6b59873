//! What each path answers.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::Options;
use super::events::Events;
use super::fetch::{FetchError, fetch};
use super::identity::Identity;
use super::websocket::WebSockets;
use super::work::Work;

/// Names the pod that answered.
pub(super) const SAMPLE_POD: HeaderName = HeaderName::from_static("sample-pod");
/// Tells how many requests were with the pod when this one came, itself among them.
const SAMPLE_CONCURRENT: HeaderName = HeaderName::from_static("sample-concurrent");

const DEFAULT_EVENTS: u32 = 10;
const DEFAULT_EVENT_DISTANCE: Duration = Duration::from_millis(100);

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// Everything that a request may need; one per server.
#[derive(Debug)]
pub(super) struct App {
    work: Work,
    identity: Identity,
    pub(super) listening_since: Duration,
    pub(super) websockets: WebSockets,
}

impl App {
    pub(super) fn new(options: &Options, identity: Identity, listening_since: Duration) -> Self {
        Self { work: Work::new(options), identity, listening_since, websockets: WebSockets::default() }
    }

    /// Answers one request.
    ///
    /// # Errors
    ///
    /// When the request's body breaks off; there is nobody left to answer then.
    pub(super) async fn respond(&self, request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
        let answer = match request.uri().path() {
            "/echo" => Ok(echo(request)),
            "/events" => events(request.uri().query()),
            "/fetch" => fetched(request.uri().query()).await,
            "/healthz" => Ok(text("ok\n")),
            "/started" => Ok(text(format!("listening_us={}\n", self.listening_since.as_micros()))),
            "/upload" => Ok(text(format!("{}\n", body_length(request.into_body()).await?))),
            "/ws" => self.websocket(request),
            path => match path.strip_prefix("/status/") {
                Some(code) => status(code),
                None => self.work(request.uri().query()).await,
            },
        };
        let mut response = answer.unwrap_or_else(BadRequest::into_response);
        response.headers_mut().insert(SAMPLE_POD, self.identity.pod.clone());
        Ok(response)
    }

    async fn work(&self, query: Option<&str>) -> Result<Response<Body>, BadRequest> {
        let exactly = millis(query)?;
        let present = self.work.perform(exactly).await;
        let mut response = text(format!("hello from {}\n", self.identity.host));
        response.headers_mut().insert(SAMPLE_CONCURRENT, present.into());
        Ok(response)
    }

    fn websocket(&self, mut request: Request<Incoming>) -> Result<Response<Body>, BadRequest> {
        self.websockets.accept(&mut request).map_err(BadRequest::because)
    }
}

/// Why a request got a 400, in words for its sender.
struct BadRequest(String);

impl BadRequest {
    fn because(reason: impl Display) -> Self {
        Self(format!("{reason}\n"))
    }

    fn into_response(self) -> Response<Body> {
        let mut response = text(self.0);
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response
    }
}

fn echo(request: Request<Incoming>) -> Response<Body> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let mut response = Response::new(request.into_body().boxed_unsync());
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

fn events(query: Option<&str>) -> Result<Response<Body>, BadRequest> {
    let count = number(query, "count")?.unwrap_or(DEFAULT_EVENTS);
    let distance = millis(query)?.unwrap_or(DEFAULT_EVENT_DISTANCE);
    let body = Events::new(count, distance).map_err(|never| match never {}).boxed_unsync();
    Ok(with_type(body, HeaderValue::from_static("text/event-stream")))
}

/// Passes on what the URL answers that the query names; 502 with the reason if it does not answer.
async fn fetched(query: Option<&str>) -> Result<Response<Body>, BadRequest> {
    // All of the rest, so that a URL may have a query of its own.
    let url = query.and_then(|query| query.strip_prefix("url=")).unwrap_or_default();
    let url = Uri::from_str(url).map_err(BadRequest::because)?;
    Ok(match fetch(&url).await {
        Ok(answer) => answer.map(BodyExt::boxed_unsync),
        Err(FetchError::NotHttp) => return Err(BadRequest::because(FetchError::NotHttp)),
        Err(error) => {
            let mut response = text(format!("{url}: {error}\n"));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    })
}

fn status(code: &str) -> Result<Response<Body>, BadRequest> {
    let status = StatusCode::from_str(code).map_err(BadRequest::because)?;
    // An interim status has no response of its own, and nobody has defined one above 599.
    if !(200..=599).contains(&status.as_u16()) {
        return Err(BadRequest::because("a final status is between 200 and 599"));
    }
    let mut response = text(Bytes::new());
    *response.status_mut() = status;
    Ok(response)
}

/// Reads a body to its end, keeping nothing, and returns its length in bytes.
async fn body_length(mut body: Incoming) -> Result<usize, hyper::Error> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame?.data_ref().map_or(0, Buf::remaining);
    }
    Ok(length)
}

fn millis(query: Option<&str>) -> Result<Option<Duration>, BadRequest> {
    Ok(number(query, "ms")?.map(|count| Duration::from_millis(u64::from(count))))
}

/// The value of the first parameter called `name`; `None` when there is none.
fn number(query: Option<&str>, name: &str) -> Result<Option<u32>, BadRequest> {
    query
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        .map(|value| value.parse().map_err(|error| BadRequest::because(format_args!("{name}: {error}"))))
        .transpose()
}

fn text(text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never| match never {}).boxed_unsync();
    with_type(body, HeaderValue::from_static("text/plain; charset=utf-8"))
}

fn with_type(body: Body, content_type: HeaderValue) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
