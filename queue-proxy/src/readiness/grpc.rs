//! gRPC's health check (`grpc.health.v1.Health/Check`). It consists of two messages with one field each, so it needs
//! no library.

use std::net::SocketAddr;

use ebb_proxy::RequestBody;
use http::{HeaderMap, Request, StatusCode, Version, header};
use hyper::body::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::{
    attempt::NotReady,
    exchange::{AGENT, Answer, exchange},
};

/// Maximum size of the response, which usually has 7 bytes.
const ENOUGH_BYTES: usize = 4 * 1024;
/// Length of the prefix of each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

#[derive(Clone, PartialEq, Eq, Message)]
struct HealthCheckRequest {
    /// Empty for the whole server.
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

/// The status of a service, as its server reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(super) enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// Asks the server at `address` for the status of `service`.
pub(super) async fn attempt(address: SocketAddr, service: &str, deadline: Instant) -> Result<(), NotReady> {
    let answer = exchange(address, request(address, service)?, ENOUGH_BYTES, deadline).await?;
    match health(&answer)? {
        ServingStatus::Serving => Ok(()),
        other => Err(NotReady::Health(other)),
    }
}

fn request(address: SocketAddr, service: &str) -> Result<Request<RequestBody>, http::Error> {
    let message = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    let mut body = vec![0];
    body.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend_from_slice(&message);
    Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, AGENT)
        .body(Bytes::from(body).into())
}

fn health(answer: &Answer) -> Result<ServingStatus, NotReady> {
    if answer.status != StatusCode::OK {
        return Err(NotReady::Status(answer.status));
    }
    // A call that fails at once has its status in the head.
    let ended = answer.trailers.as_ref().and_then(grpc_status).or_else(|| grpc_status(&answer.headers));
    match ended {
        Some("0") => message(&answer.body).ok_or(NotReady::NoHealth),
        Some(failed) => Err(NotReady::GrpcStatus(failed.to_owned())),
        None => Err(NotReady::NoHealth),
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

/// Returns the message in `body`. It is never compressed, because the request does not allow it.
fn message(body: &[u8]) -> Option<ServingStatus> {
    let (prefix, message) = body.split_at_checked(PREFIX_BYTES)?;
    let (compressed, length) = prefix.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if *compressed != 0 || usize::try_from(length).ok()? != message.len() {
        return None;
    }
    // An unknown status is at least not `SERVING`.
    let response = HealthCheckResponse::decode(message).ok()?;
    Some(ServingStatus::try_from(response.status).unwrap_or(ServingStatus::Unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_whole_message() {
        for (body, want) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(ServingStatus::Serving)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(ServingStatus::NotServing)),
            (&[0, 0, 0, 0, 2, 8, 3], Some(ServingStatus::ServiceUnknown)),
            (&[0, 0, 0, 0, 2, 8, 9], Some(ServingStatus::Unknown)),
            // A value of 0 is not encoded.
            (&[0, 0, 0, 0, 0], Some(ServingStatus::Unknown)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 3, 8, 1], None),
            (&[0, 0, 0, 0, 2, 8, 1, 0], None),
            (&[0, 0, 0, 0, 2, 8], None),
            (&[0, 255, 255, 255, 255, 8, 1], None),
            (&[0, 0, 0], None),
            (&[], None),
        ] {
            assert_eq!(message(body), want, "{body:?}");
        }
    }

    #[test]
    fn only_a_call_that_ended_well_is_an_answer() {
        let ended = |status: &'static str| {
            HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())])
        };
        let answer = |headers, trailers| {
            let body = vec![0, 0, 0, 0, 2, 8, 1];
            health(&Answer { status: StatusCode::OK, headers, body, trailers })
        };
        assert!(matches!(answer(HeaderMap::new(), Some(ended("0"))), Ok(ServingStatus::Serving)));
        assert!(
            matches!(answer(HeaderMap::new(), Some(ended("2"))), Err(NotReady::GrpcStatus(two)) if two == "2")
        );
        assert!(matches!(answer(ended("12"), None), Err(NotReady::GrpcStatus(_))));
        assert!(matches!(answer(HeaderMap::new(), None), Err(NotReady::NoHealth)));
    }
}
