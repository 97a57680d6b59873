//! Handles admission reviews.
//!
//! Nothing here waits except for the request itself. If something cannot be done, the object is admitted with a
//! warning: a pod without a sidecar serves, a pod that was not created does not.

use std::{
    fmt::{self, Debug, Display},
    net::SocketAddr,
    time::Duration,
};

use ebb_proxy::{Handler, Reply, RequestBody, ResponseBody};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use json_patch::Patch;
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Resource,
    core::{
        DynamicObject,
        admission::{AdmissionRequest, AdmissionReview},
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::metrics::{AdmissionMetrics, Outcome};

/// Maximum size of a request: the API server accepts objects of up to 3 MiB.
pub(super) const MAX_QUESTION_BYTES: usize = 4 * 1024 * 1024;
/// Time limit for receiving a request. The API server waits for 2 s, and a later answer is useless.
const QUESTION_TIMEOUT: Duration = Duration::from_millis(1500);

/// Decides about objects for the API server.
pub trait Admission: Send + Sync + 'static {
    /// The kinds of requests.
    type Hook: Hook;

    /// Returns the answer to `request`, which arrived at the path of `hook`.
    ///
    /// # Errors
    ///
    /// Returns an error if its object cannot be parsed; the object is then admitted.
    fn answer(
        &self,
        hook: Self::Hook,
        request: &AdmissionRequest<DynamicObject>,
    ) -> Result<Answer, Unreadable>;
}

/// A kind of request, with its own path.
pub trait Hook: Copy + Debug + Send + Sync + 'static {
    /// All kinds.
    const ALL: &'static [Self];

    /// Returns the path. Metrics have it without the first slash, and with hyphens for the others.
    fn path(self) -> &'static str;
}

/// An answer, without the fields that are copied from the request.
#[derive(Debug, Default)]
pub struct Answer {
    /// Changes of the object.
    pub patch: Patch,
    /// Warnings for the author of the object.
    pub warnings: Vec<String>,
    /// The refusal of the object, if it is refused.
    pub refused: Option<Refusal>,
    /// Whether a change that was needed was not made.
    pub undone: bool,
}

/// A refusal, as the author of the object sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status code of the API server's answer.
    pub code: StatusCode,
    /// The reason that Kubernetes gives with this code, in one word.
    pub reason: &'static str,
    /// Why the object is refused. The API server puts the name of the webhook before it.
    pub message: String,
}

impl Refusal {
    /// Refuses an object whose fields are wrong (422).
    pub fn invalid(message: String) -> Self {
        Self { code: StatusCode::UNPROCESSABLE_ENTITY, reason: "Invalid", message }
    }

    /// Refuses a request that is wrong as a whole (400).
    pub fn bad_request(message: String) -> Self {
        Self { code: StatusCode::BAD_REQUEST, reason: "BadRequest", message }
    }
}

/// An object that cannot be parsed, and why.
#[derive(Debug)]
pub struct Unreadable(String);

impl Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Answers admission reviews.
#[derive(Debug)]
pub(super) struct Reviewer<A> {
    pub(super) admission: A,
    pub(super) metrics: AdmissionMetrics,
}

impl<A: Admission> Handler for Reviewer<A> {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        let Some(hook) = hook_at::<A::Hook>(request.uri().path()) else {
            let paths: Vec<&str> = A::Hook::ALL.iter().map(|hook| hook.path()).collect();
            let text = format!("only {} are served here", paths.join(", "));
            return Reply::new(StatusCode::NOT_FOUND, "not-found", text).into_response();
        };
        if request.method() != Method::POST {
            return Reply::new(StatusCode::METHOD_NOT_ALLOWED, "method", "want POST").into_response();
        }
        let question = Limited::new(request.into_body(), MAX_QUESTION_BYTES).collect();
        let (outcome, response) = match timeout(QUESTION_TIMEOUT, question).await {
            Ok(Ok(question)) => review(&self.admission, hook, &question.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let text = format!("want at most {MAX_QUESTION_BYTES} bytes");
                let reply = Reply::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text);
                (Outcome::Malformed, reply.into_response())
            }
            Ok(Err(error)) => (Outcome::Malformed, malformed(error)),
            Err(_) => {
                let text = "the question did not come in time";
                (Outcome::Late, Reply::new(StatusCode::REQUEST_TIMEOUT, "late", text).into_response())
            }
        };
        self.metrics.count(hook.path(), outcome);
        response
    }
}

/// Returns the hook at `path`.
pub fn hook_at<H: Hook>(path: &str) -> Option<H> {
    H::ALL.iter().copied().find(|hook| hook.path() == path)
}

/// Returns the outcome and the answer of `admission` to `question`, which may be any bytes.
pub fn review<A: Admission>(
    admission: &A,
    hook: A::Hook,
    question: &[u8],
) -> (Outcome, Response<ResponseBody<()>>) {
    let review: Result<AdmissionReview<DynamicObject>, _> = serde_json::from_slice(question);
    let request: AdmissionRequest<DynamicObject> = match review.map(TryInto::try_into) {
        Ok(Ok(request)) => request,
        Ok(Err(error)) => return (Outcome::Malformed, malformed(error)),
        Err(error) => return (Outcome::Malformed, malformed(error)),
    };
    let answer = admission.answer(hook, &request).unwrap_or_else(|Unreadable(why)| {
        warn!(?hook, why, "cannot read an object; admitted it unchanged");
        Answer { warnings: vec![format!("Ebb: not checked: {why}")], undone: true, ..Answer::default() }
    });
    answered(&request, answer)
}

/// Parses an object of a request as its type; returns `None` if there is no object.
///
/// # Errors
///
/// Returns an error if it is of another type.
pub fn read<K: Resource + DeserializeOwned>(object: Option<&DynamicObject>) -> Result<Option<K>, Unreadable> {
    let Some(object) = object else { return Ok(None) };
    // Missing metadata would parse as empty, and a patch would then point at fields that do not exist.
    if object.metadata == ObjectMeta::default() {
        return Err(Unreadable("the object has no metadata".to_owned()));
    }
    object.clone().try_parse().map(Some).map_err(|error| Unreadable(error.to_string()))
}

fn answered(
    request: &AdmissionRequest<DynamicObject>,
    answer: Answer,
) -> (Outcome, Response<ResponseBody<()>>) {
    let Answer { patch, warnings, refused, undone } = answer;
    let outcome = match (&refused, undone) {
        (Some(_), _) => Outcome::Refused,
        (None, true) => Outcome::Undone,
        (None, false) if patch.is_empty() => Outcome::Allowed,
        (None, false) => Outcome::Changed,
    };
    let mut response = json!({ "uid": request.uid, "allowed": refused.is_none() });
    if let Some(Refusal { code, reason, message }) = refused {
        response["status"] =
            json!({ "status": "Failure", "reason": reason, "code": code.as_u16(), "message": message });
    } else if !patch.is_empty() {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(ByteString(json!(patch).to_string().into_bytes()));
    }
    if !warnings.is_empty() {
        response["warnings"] = json!(warnings);
    }
    debug!(name = request.name, ?outcome, "answered the API server");
    let types = &request.types;
    let review = json!({ "apiVersion": types.api_version, "kind": types.kind, "response": response });
    let mut response = Response::new(ResponseBody::own(review.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (outcome, response)
}

fn malformed(why: impl Display) -> Response<ResponseBody<()>> {
    warn!(%why, "cannot answer an admission review");
    Reply::new(StatusCode::BAD_REQUEST, "malformed", format!("want an AdmissionReview: {why}"))
        .into_response()
}
