//! Answers the API server's admission reviews of the kinds, and of the settings.
//!
//! An object that cannot be read is refused. Admitted without its defaults, it would fail later and say less.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ebb_cluster::admission::{Admission, Answer, Hook, Refusal, Unreadable, read};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Resource,
    core::{
        DynamicObject,
        admission::{AdmissionRequest, Operation},
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    configuration, defaults::written, domain_mapping, fault::Faults, revision_object, route, service,
};
use crate::config::Config;

/// The group of the kinds that are examined.
const GROUP: &str = "serving.knative.dev";

/// The kind of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Defaults of an object of the kinds.
    Defaulting,
    /// Validation of an object of the kinds.
    Validation,
    /// Validation of a `ConfigMap` with settings.
    Settings,
}

impl Hook for Question {
    const ALL: &'static [Self] = &[Self::Defaulting, Self::Validation, Self::Settings];

    fn path(self) -> &'static str {
        match self {
            Self::Defaulting => "/defaulting",
            Self::Validation => "/resource-validation",
            Self::Settings => "/config-validation",
        }
    }
}

/// Fills in and examines objects before they are stored.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// The settings in effect.
    pub config: Arc<ArcSwap<Config>>,
    /// Examines a `ConfigMap` with settings: returns warnings, or why it is refused.
    pub judge_settings: fn(&ConfigMap) -> Result<Vec<String>, String>,
}

impl Admission for Webhooks {
    type Hook = Question;

    fn answer(
        &self,
        hook: Question,
        request: &AdmissionRequest<DynamicObject>,
    ) -> Result<Answer, Unreadable> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(Answer::default());
        }
        let answer = match hook {
            Question::Settings => self.of_settings(request),
            Question::Defaulting | Question::Validation if is_passed(request) => Ok(Answer::default()),
            Question::Defaulting => self.filled(request),
            Question::Validation => self.examined(request),
        };
        Ok(answer.unwrap_or_else(|why| refused(format!("decoding request failed: {why}"))))
    }
}

impl Webhooks {
    fn filled(&self, request: &AdmissionRequest<DynamicObject>) -> Result<Answer, Unreadable> {
        let config = &**self.config.load();
        let user = request.user_info.username.as_deref().unwrap_or_default();
        match request.kind.kind.as_str() {
            "Service" => patched(request, |new, old| written::service(new, old, user, config)),
            "Configuration" => patched(request, |new, old| written::configuration(new, old, user, config)),
            "Route" => patched(request, |new, old| written::route(new, old, user)),
            "Revision" => patched(request, |new, old| written::revision(new, old, config)),
            "DomainMapping" => patched(request, |new, old| written::domain_mapping(new, old, user)),
            _ => Ok(Answer::default()),
        }
    }

    fn examined(&self, request: &AdmissionRequest<DynamicObject>) -> Result<Answer, Unreadable> {
        let config = &**self.config.load();
        match request.kind.kind.as_str() {
            "Service" => judged(request, |new, old| service::faults(new, old, config)),
            "Configuration" => judged(request, |new, old| configuration::faults(new, old, config)),
            "Route" => judged(request, |new, old| route::faults(new, old, config)),
            "Revision" => judged(request, |new, old| revision_object::faults(new, old, config)),
            "DomainMapping" => judged(request, |new, old| domain_mapping::faults(new, old, config)),
            _ => Ok(Answer::default()),
        }
    }

    fn of_settings(&self, request: &AdmissionRequest<DynamicObject>) -> Result<Answer, Unreadable> {
        let Some(map) = read::<ConfigMap>(request.object.as_ref())? else { return Ok(Answer::default()) };
        Ok(match (self.judge_settings)(&map) {
            Ok(warnings) => Answer { warnings, ..Answer::default() },
            Err(why) => refused(format!("validation failed: {why}")),
        })
    }
}

/// Returns whether a request changes nothing that is examined: only a status, or an object that is being deleted, of
/// which only the finalizers matter.
fn is_passed(request: &AdmissionRequest<DynamicObject>) -> bool {
    let is_part = request.sub_resource.as_ref().is_some_and(|part| !part.is_empty());
    let is_dying = request.object.as_ref().is_some_and(|object| object.metadata.deletion_timestamp.is_some());
    request.kind.group != GROUP || is_part || is_dying
}

/// Returns what `fill` changes, as a patch. The patch touches only fields that it fills in, so that fields which the
/// types do not know stay.
fn patched<K>(
    request: &AdmissionRequest<DynamicObject>,
    fill: impl FnOnce(&mut K, Option<&K>),
) -> Result<Answer, Unreadable>
where
    K: Resource + Clone + DeserializeOwned + Serialize,
{
    let Some(sent) = read::<K>(request.object.as_ref())? else { return Ok(Answer::default()) };
    let old = read::<K>(request.old_object.as_ref())?;
    let mut filled = sent.clone();
    fill(&mut filled, old.as_ref());
    Ok(match (serde_json::to_value(&sent), serde_json::to_value(&filled)) {
        (Ok(sent), Ok(filled)) => Answer { patch: json_patch::diff(&sent, &filled), ..Answer::default() },
        (Err(why), _) | (_, Err(why)) => refused(format!("mutation failed: {why}")),
    })
}

fn judged<K>(
    request: &AdmissionRequest<DynamicObject>,
    examine: impl FnOnce(&K, Option<&K>) -> Faults,
) -> Result<Answer, Unreadable>
where
    K: Resource + DeserializeOwned,
{
    let Some(new) = read::<K>(request.object.as_ref())? else { return Ok(Answer::default()) };
    let old = read::<K>(request.old_object.as_ref())?;
    let faults = examine(&new, old.as_ref());
    // A warning is a header of the answer, which has one line.
    let warnings = faults.warnings().iter().flat_map(|warning| warning.lines()).map(str::to_owned).collect();
    let refused = faults.text().map(|text| Refusal::bad_request(format!("validation failed: {text}")));
    Ok(Answer { warnings, refused, ..Answer::default() })
}

fn refused(message: String) -> Answer {
    Answer { refused: Some(Refusal::bad_request(message)), ..Answer::default() }
}

#[cfg(test)]
mod tests;
