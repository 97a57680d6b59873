//! The answers to the API server's questions.
//!
//! Nothing here waits for anything but the question itself. What cannot be done is let through with a warning: a
//! pod without a sidecar serves, a pod that was not made does not.

use std::{fmt::Display, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ebb_annotations::ClusterDefaults;
use ebb_proxy::{Handler, Reply, RequestBody, ResponseBody};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use json_patch::Patch;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource,
    core::{
        DynamicObject,
        admission::{AdmissionRequest, AdmissionReview, Operation},
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::{
    claims::Claims,
    metrics::{AdmissionMetrics, Hook, Outcome},
    pod::{Settings, inject},
    service::admitted,
    validate::judge,
};

/// Largest question that is read: an object of 3 MiB is the largest that the API server takes.
const MAX_QUESTION_BYTES: usize = 4 * 1024 * 1024;
/// The API server waits for 2 s; a reason that comes late is none.
const QUESTION_TIMEOUT: Duration = Duration::from_millis(1500);
/// Namespaces that are nobody's to change. The configurations leave them out already.
const SYSTEM_NAMESPACES: [&str; 2] = ["kube-system", "kube-node-lease"];

/// Answers admission reviews.
#[derive(Debug)]
pub(super) struct Webhook {
    pub(super) claims: Claims,
    pub(super) settings: Arc<ArcSwap<Settings>>,
    pub(super) defaults: Arc<ArcSwap<ClusterDefaults>>,
    /// Ebb's own namespace.
    pub(super) namespace: String,
    pub(super) metrics: AdmissionMetrics,
}

/// What is answered, beside the question's own marks.
#[derive(Debug, Default)]
struct Answer {
    patch: Patch,
    warnings: Vec<String>,
    refused: Option<String>,
    /// Whether something was left undone.
    undone: bool,
}

/// An object of a question that cannot be read.
#[derive(Debug)]
struct Unreadable(String);

impl Handler for Webhook {
    type Guard = ();

    async fn call(&self, request: Request<RequestBody>, _: SocketAddr) -> Response<ResponseBody<()>> {
        let Some(hook) = Hook::at(request.uri().path()) else {
            let text = "only /mutate/pods, /mutate/services and /validate/services are served here";
            return Reply::new(StatusCode::NOT_FOUND, "not-found", text).into_response();
        };
        if request.method() != Method::POST {
            return Reply::new(StatusCode::METHOD_NOT_ALLOWED, "method", "want POST").into_response();
        }
        let question = Limited::new(request.into_body(), MAX_QUESTION_BYTES).collect();
        let (outcome, response) = match timeout(QUESTION_TIMEOUT, question).await {
            Ok(Ok(question)) => self.review(hook, &question.to_bytes()),
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
        self.metrics.count(hook, outcome);
        response
    }
}

impl Webhook {
    pub(super) fn review(&self, hook: Hook, question: &[u8]) -> (Outcome, Response<ResponseBody<()>>) {
        let review: Result<AdmissionReview<DynamicObject>, _> = serde_json::from_slice(question);
        let request: AdmissionRequest<DynamicObject> = match review.map(TryInto::try_into) {
            Ok(Ok(request)) => request,
            Ok(Err(error)) => return (Outcome::Malformed, malformed(error)),
            Err(error) => return (Outcome::Malformed, malformed(error)),
        };
        let answer = self.answer(hook, &request).unwrap_or_else(|Unreadable(why)| {
            warn!(?hook, why, "let through what cannot be read");
            Answer { warnings: vec![format!("Ebb: not looked at: {why}")], undone: true, ..Answer::default() }
        });
        answered(&request, answer)
    }

    fn answer(&self, hook: Hook, request: &AdmissionRequest<DynamicObject>) -> Result<Answer, Unreadable> {
        let namespace = request.namespace.as_deref().unwrap_or_default();
        if self.is_own(request) || namespace == self.namespace || SYSTEM_NAMESPACES.contains(&namespace) {
            return Ok(Answer::default());
        }
        match (hook, &request.operation) {
            (Hook::MutatePods, Operation::Create) => {
                let pod: Option<Pod> = read(request.object.as_ref())?;
                Ok(pod.map(|pod| self.of_pod(namespace, &pod)).unwrap_or_default())
            }
            (Hook::MutateServices | Hook::ValidateServices, Operation::Create | Operation::Update) => {
                let (old, new) = (read(request.old_object.as_ref())?, read(request.object.as_ref())?);
                Ok(new.map(|new| self.of_service(hook, old.as_ref(), &new)).unwrap_or_default())
            }
            _ => Ok(Answer::default()),
        }
    }

    /// What Ebb itself writes is right; and a refusal could not be mended by anybody.
    fn is_own(&self, request: &AdmissionRequest<DynamicObject>) -> bool {
        let user = request.user_info.username.as_deref().unwrap_or_default();
        let account = user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
        account.is_some_and(|(namespace, _)| namespace == self.namespace)
    }

    fn of_pod(&self, namespace: &str, pod: &Pod) -> Answer {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let claims = self.claims.selecting(namespace, &labels);
        let nonce = format!("{:032x}", rand::random::<u128>());
        match inject(pod, &claims, &self.settings.load(), &nonce) {
            Ok(None) => Answer::default(),
            Ok(Some(injection)) => {
                Answer { patch: injection.patch, warnings: injection.warnings, ..Answer::default() }
            }
            Err(refusal) => Answer {
                warnings: vec![format!("Ebb: served without a sidecar, and not counted: {refusal}")],
                undone: true,
                ..Answer::default()
            },
        }
    }

    fn of_service(&self, hook: Hook, old: Option<&Service>, new: &Service) -> Answer {
        let defaults = self.defaults.load();
        if hook == Hook::ValidateServices {
            let judgement = judge(old, new, &defaults);
            return Answer { warnings: judgement.warnings, refused: judgement.refused, ..Answer::default() };
        }
        let Some(wanted) = admitted(old, new, &defaults) else { return Answer::default() };
        // Both are what we know of it, so that what we do not know of is in no difference.
        match (serde_json::to_value(new), serde_json::to_value(&wanted)) {
            (Ok(new), Ok(wanted)) => Answer { patch: json_patch::diff(&new, &wanted), ..Answer::default() },
            _ => Answer { undone: true, ..Answer::default() },
        }
    }
}

fn read<K: Resource + DeserializeOwned>(object: Option<&DynamicObject>) -> Result<Option<K>, Unreadable> {
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
    warn!(%why, "an admission review that cannot be answered");
    Reply::new(StatusCode::BAD_REQUEST, "malformed", format!("want an AdmissionReview: {why}"))
        .into_response()
}

#[cfg(test)]
mod tests;
