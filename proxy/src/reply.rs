//! Ebb's own replies, which are mostly errors.

use bytes::Bytes;
use ebb_core::{fate::Fate, headers};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::{body::ResponseBody, http1::Fault};

/// A reply of Ebb's own: a status, a reason for programs (one word), and a text for people.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    reason: &'static str,
    text: String,
    retry_after: Option<u32>,
    grpc: Option<u8>,
    fate: Option<Fate>,
}

/// What a client speaks. It is read from a request before the request is sent on, for the reply if that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Plain HTTP.
    Http,
    /// gRPC.
    Grpc,
}

impl Speaks {
    /// Returns what the client speaks that sent a request with these headers.
    pub fn of(request: &HeaderMap) -> Self {
        match request.get(header::CONTENT_TYPE) {
            Some(kind) if kind.as_bytes().starts_with(b"application/grpc") => Self::Grpc,
            _ => Self::Http,
        }
    }
}

/// gRPC's `UNAVAILABLE`: the client may try again.
const GRPC_UNAVAILABLE: u8 = 14;
/// gRPC's `DEADLINE_EXCEEDED`.
const GRPC_DEADLINE_EXCEEDED: u8 = 4;
/// gRPC's `INTERNAL`.
const GRPC_INTERNAL: u8 = 13;

impl Reply {
    /// Returns an error reply. `reason` goes into the header `ebb-reason`.
    pub fn new(status: StatusCode, reason: &'static str, text: impl Into<String>) -> Self {
        Self { status, reason, text: text.into(), retry_after: None, grpc: None, fate: None }
    }

    /// Tells the client to try again after this many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Tells the hop in front what became of the request, so that it can repeat it.
    #[must_use]
    pub const fn fate(mut self, fate: Fate) -> Self {
        self.fate = Some(fate);
        self
    }

    /// Uses the client's protocol: gRPC clients read `grpc-status`, not the HTTP status.
    #[must_use]
    pub fn speaking(mut self, client: Speaks) -> Self {
        self.grpc = match client {
            Speaks::Http => None,
            Speaks::Grpc => Some(match self.status {
                StatusCode::GATEWAY_TIMEOUT => GRPC_DEADLINE_EXCEEDED,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY => GRPC_UNAVAILABLE,
                _ => GRPC_INTERNAL,
            }),
        };
        self
    }

    /// Returns the response. For gRPC, it has no body, and the status is in the headers ("trailers-only").
    pub fn into_response<G>(self) -> Response<ResponseBody<G>> {
        let mut response = Response::new(ResponseBody::own(Bytes::new()));
        let headers = response.headers_mut();
        headers.insert(headers::REASON, HeaderValue::from_static(self.reason));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(fate) = self.fate {
            headers.insert(headers::FATE, HeaderValue::from_static(fate.word()));
        }
        if let Some(status) = self.grpc {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", HeaderValue::from(u16::from(status)));
            if let Ok(message) = HeaderValue::try_from(percent_encoded(&self.text)) {
                headers.insert("grpc-message", message);
            }
            return response;
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        *response.status_mut() = self.status;
        if !self.text.is_empty() {
            *response.body_mut() = ResponseBody::own(self.text + "\n");
        }
        response
    }
}

/// Tells a client what is wrong with its request.
impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        let reply = Self::new(fault.status, fault.reason, fault.text);
        if fault.status == StatusCode::SERVICE_UNAVAILABLE { reply.retry_after(1) } else { reply }
    }
}

/// Encodes `grpc-message`, which is percent-encoded ASCII (gRPC over HTTP/2, "Responses").
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_client_gets_its_status_where_it_looks_for_it() {
        let mut request = HeaderMap::new();
        request.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        let reply = Reply::new(StatusCode::SERVICE_UNAVAILABLE, "no-pod", "no pod\nfor 5 %");
        let response = reply.speaking(Speaks::of(&request)).into_response::<()>();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-message"], "no pod%0Afor 5 %25");
    }

    #[test]
    fn other_clients_get_the_status_and_the_reason() {
        let reply = Reply::new(StatusCode::SERVICE_UNAVAILABLE, "queue-full", "full").retry_after(1);
        let response = reply.speaking(Speaks::of(&HeaderMap::new())).into_response::<()>();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[headers::REASON], "queue-full");
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
