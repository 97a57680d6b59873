//! The answers to the API server's questions.
//!
//! Nothing here waits for anything but the question itself. What cannot be done is let through with a warning: a
//! pod without a sidecar serves, a pod that was not made does not.

use std::{
    fmt::{Debug, Display},
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

/// Largest question that is read: an object of 3 MiB is the largest that the API server takes.
pub(super) const MAX_QUESTION_BYTES: usize = 4 * 1024 * 1024;
/// The API server waits for 2 s; a reason that comes late is none.
const QUESTION_TIMEOUT: Duration = Duration::from_millis(1500);

/// Whoever answers the API server's questions about objects.
pub trait Admission: Send + Sync + 'static {
    /// The questions.
    type Hook: Hook;

    /// The answer to `request`, which was asked at the path of `hook`.
    ///
    /// # Errors
    ///
    /// When its object cannot be read; it is let through.
    fn answer(
        &self,
        hook: Self::Hook,
        request: &AdmissionRequest<DynamicObject>,
    ) -> Result<Answer, Unreadable>;
}

/// A question that is asked at a path of its own.
pub trait Hook: Copy + Debug + Send + Sync + 'static {
    /// All there are.
    const ALL: &'static [Self];

    /// Where it is asked.
    fn path(self) -> &'static str;

    /// What metrics call it.
    fn name(self) -> &'static str;
}

/// What is answered, beside the question's own marks.
#[derive(Debug, Default)]
pub struct Answer {
    /// What is to be changed.
    pub patch: Patch,
    /// What whoever wrote the object is shown.
    pub warnings: Vec<String>,
    /// Why it is not let through.
    pub refused: Option<String>,
    /// Whether something was left undone.
    pub undone: bool,
}

/// An object of a question that cannot be read, and why.
#[derive(Debug)]
pub struct Unreadable(String);

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
        self.metrics.count(hook.name(), outcome);
        response
    }
}

/// The question that is asked at `path`.
pub fn hook_at<H: Hook>(path: &str) -> Option<H> {
    H::ALL.iter().copied().find(|hook| hook.path() == path)
}

/// What `admission` answers to `question`, whatever its bytes are, and what became of it.
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

/// An object of a question as what it is; `None` where there is none.
///
/// # Errors
///
/// When it is something else.
pub fn read<K: Resource + DeserializeOwned>(object: Option<&DynamicObject>) -> Result<Option<K>, Unreadable> {
    let Some(object) = object else { return Ok(None) };
    // What is absent reads as empty, and then a patch would point at what is not there.
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
    if let Some(reason) = refused {
        let code = StatusCode::UNPROCESSABLE_ENTITY.as_u16();
        response["status"] =
            json!({ "status": "Failure", "reason": "Invalid", "code": code, "message": reason });
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
