//! Answers the API server's admission reviews of pods and Services.

use std::sync::Arc;

use arc_swap::ArcSwap;
use ebb_annotations::ClusterDefaults;
use ebb_cluster::admission::{Admission, Answer, Hook, Refusal, Unreadable, read};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::core::{
    DynamicObject,
    admission::{AdmissionRequest, Operation},
};

use super::{
    pod::{Settings, inject},
    service::admitted,
    validate::judge,
};
use crate::Claims;

/// Namespaces whose objects are never changed. The webhook configurations exclude them already.
const SYSTEM_NAMESPACES: [&str; 2] = ["kube-system", "kube-node-lease"];

/// The kind of a review.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Changes to a pod.
    MutatePods,
    /// Changes to a Service.
    MutateServices,
    /// Validation of a Service.
    ValidateServices,
}

impl Hook for Question {
    const ALL: &'static [Self] = &[Self::MutatePods, Self::MutateServices, Self::ValidateServices];

    fn path(self) -> &'static str {
        match self {
            Self::MutatePods => "/mutate/pods",
            Self::MutateServices => "/mutate/services",
            Self::ValidateServices => "/validate/services",
        }
    }
}

/// Injects sidecars into pods, moves the selectors of Services, and validates annotations.
#[derive(Clone, Debug)]
pub struct Injector {
    /// The Services that are Ebb's, updated by their watch.
    pub claims: Claims,
    /// The settings of all sidecars.
    pub settings: Arc<ArcSwap<Settings>>,
    /// The cluster's defaults.
    pub defaults: Arc<ArcSwap<ClusterDefaults>>,
    /// Ebb's own namespace.
    pub namespace: String,
}

impl Admission for Injector {
    type Hook = Question;

    fn answer(
        &self,
        hook: Question,
        request: &AdmissionRequest<DynamicObject>,
    ) -> Result<Answer, Unreadable> {
        let namespace = request.namespace.as_deref().unwrap_or_default();
        if self.is_own(request) || namespace == self.namespace || SYSTEM_NAMESPACES.contains(&namespace) {
            return Ok(Answer::default());
        }
        match (hook, &request.operation) {
            (Question::MutatePods, Operation::Create) => {
                let pod: Option<Pod> = read(request.object.as_ref())?;
                Ok(pod.map(|pod| self.of_pod(namespace, &pod)).unwrap_or_default())
            }
            (
                Question::MutateServices | Question::ValidateServices,
                Operation::Create | Operation::Update,
            ) => {
                let (old, new) = (read(request.old_object.as_ref())?, read(request.object.as_ref())?);
                Ok(new.map(|new| self.of_service(hook, old.as_ref(), &new)).unwrap_or_default())
            }
            _ => Ok(Answer::default()),
        }
    }
}

impl Injector {
    /// Returns whether Ebb sent the request. Ebb's own writes are valid, and nobody could correct a refused one.
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

    fn of_service(&self, hook: Question, old: Option<&Service>, new: &Service) -> Answer {
        let defaults = self.defaults.load();
        if hook == Question::ValidateServices {
            let judgement = judge(old, new, &defaults, |key| self.claims.is_route(key));
            let refused = judgement.refused.map(Refusal::invalid);
            return Answer { warnings: judgement.warnings, refused, ..Answer::default() };
        }
        let Some(wanted) = admitted(old, new, &defaults) else { return Answer::default() };
        // Both contain only the known fields, so that unknown ones never differ.
        match (serde_json::to_value(new), serde_json::to_value(&wanted)) {
            (Ok(new), Ok(wanted)) => Answer { patch: json_patch::diff(&new, &wanted), ..Answer::default() },
            _ => Answer { undone: true, ..Answer::default() },
        }
    }
}

#[cfg(test)]
mod tests;
