//! Checks the programs' rights, by asking the API server about each right of the shipped roles.

use futures_util::{StreamExt, stream};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{
    Api, ResourceExt,
    api::PostParams,
    core::{DynamicObject, ObjectMeta},
};
use serde_json::Value;

use crate::cluster::{Cluster, Failure, finding::Finding, manifests::kind};

const CHECK: &str = "rights";
/// The number of questions in parallel.
const AT_ONCE: usize = 8;
/// The most missing rights that are named.
const NAMED: usize = 8;

/// A right to `verb` the given `group`, `resource` and `name`, in `namespace` or everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Right {
    namespace: Option<String>,
    group: String,
    resource: String,
    name: Option<String>,
    verb: String,
}

/// Returns all rights of the shipped roles of an account, which have its name.
fn of_roles(account: &str, objects: &[DynamicObject]) -> Vec<Right> {
    let mut rights = Vec::new();
    let roles = objects.iter().filter(|object| matches!(kind(object), "ClusterRole" | "Role"));
    for role in roles.filter(|role| role.metadata.name.as_deref() == Some(account)) {
        for rule in role.data["rules"].as_array().into_iter().flatten() {
            let names = texts(&rule["resourceNames"]);
            let names: Vec<Option<&str>> =
                if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    for name in &names {
                        rights.extend(texts(&rule["verbs"]).into_iter().map(|verb| Right {
                            namespace: role.metadata.namespace.clone(),
                            group: group.to_owned(),
                            resource: resource.to_owned(),
                            name: name.map(str::to_owned),
                            verb: verb.to_owned(),
                        }));
                    }
                }
            }
        }
    }
    rights
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

impl Right {
    fn review(&self, account: &str, namespace: &str) -> SubjectAccessReview {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource.to_owned(), Some(subresource.to_owned())),
            None => (self.resource.clone(), None),
        };
        let groups = ["system:serviceaccounts", "system:authenticated"].map(str::to_owned).into_iter();
        SubjectAccessReview {
            metadata: ObjectMeta::default(),
            spec: SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{namespace}:{account}")),
                groups: Some(groups.chain([format!("system:serviceaccounts:{namespace}")]).collect()),
                resource_attributes: Some(ResourceAttributes {
                    namespace: self.namespace.clone(),
                    group: Some(self.group.clone()),
                    resource: Some(resource),
                    subresource,
                    name: self.name.clone(),
                    verb: Some(self.verb.clone()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            status: None,
        }
    }

    fn in_words(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let name = self.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let place = match &self.namespace {
            Some(namespace) => format!(" in {namespace}"),
            None => String::new(),
        };
        format!("{} {}{group}{name}{place}", self.verb, self.resource)
    }
}

/// Asks for each right of each account that has any.
pub(crate) async fn check(cluster: &Cluster, shipped: &[DynamicObject], namespace: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for account in shipped.iter().filter(|object| kind(object) == "ServiceAccount").map(ResourceExt::name_any)
    {
        let rights = of_roles(&account, shipped);
        if !rights.is_empty() {
            findings.push(ask(cluster, &account, rights, namespace).await);
        }
    }
    findings
}

async fn ask(cluster: &Cluster, account: &str, rights: Vec<Right>, namespace: &str) -> Finding {
    let api: Api<SubjectAccessReview> = Api::all(cluster.client.clone());
    let api = &api;
    let number = rights.len();
    let answers: Vec<(Right, Result<bool, Failure>)> = stream::iter(rights)
        .map(|right| async move {
            let (params, review) = (PostParams::default(), right.review(account, namespace));
            let answer = cluster.call("asking for rights", api.create(&params, &review)).await;
            (right, answer.map(|review| review.status.is_some_and(|status| status.allowed)))
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    judge(account, number, &answers)
}

fn judge(account: &str, number: usize, answers: &[(Right, Result<bool, Failure>)]) -> Finding {
    if let Some(failure) = answers.iter().find_map(|(_, answer)| answer.as_ref().err()) {
        return Finding::warning(
            CHECK,
            format!("cannot check the rights of {account}: {failure}"),
            "use a context that may create subjectaccessreviews.authorization.k8s.io",
        );
    }
    let missing: Vec<String> = answers
        .iter()
        .filter(|(_, answer)| *answer == Ok(false))
        .map(|(right, _)| right.in_words())
        .collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, format!("{account} has all of its {number} rights"));
    }
    let more = missing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let named = missing.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    Finding::fault(
        CHECK,
        format!("{account} may not {named}{more}"),
        "ebb install   # applies the roles and their bindings again; requires these rights",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{
        components::Components,
        finding::Level,
        manifests::{Images, objects},
    };

    const ACCOUNT: &str = "ebb-autoscaler";

    fn rights_of(account: &str) -> Vec<String> {
        let all = Components { gateway: true, serving: true };
        let shipped = objects(false, all, &Images::default()).unwrap();
        of_roles(account, &shipped).iter().map(Right::in_words).collect()
    }

    fn rights() -> Vec<Right> {
        of_roles(ACCOUNT, &objects(false, Components::default(), &Images::default()).unwrap())
    }

    #[test]
    fn each_verb_on_each_resource_is_a_right_of_its_own() {
        let words = rights_of(ACCOUNT);
        for wanted in [
            "patch services",
            "deletecollection endpointslices.discovery.k8s.io",
            "update statefulsets/scale.apps",
            "patch mutatingwebhookconfigurations.admissionregistration.k8s.io ebb",
            "patch secrets ebb-webhook in ebb-system",
            "create leases.coordination.k8s.io in ebb-system",
        ] {
            assert!(words.iter().any(|word| word == wanted), "{wanted} in {words:#?}");
        }
        assert!(!words.iter().any(|word| word.contains("delete pods")), "{words:#?}");
    }

    #[test]
    fn each_account_has_the_rights_of_its_own_roles() {
        let (autoscaler, serving) = (rights_of(ACCOUNT), rights_of("ebb-serving"));
        let right = "update revisions/status.serving.knative.dev".to_owned();
        assert!(serving.contains(&right) && !autoscaler.contains(&right), "{serving:#?}");
        assert_eq!(rights_of("ebb-activator"), Vec::<String>::new());
    }

    #[test]
    fn it_is_asked_as_the_api_server_knows_the_account() {
        let scale = rights().into_iter().find(|right| right.resource == "deployments/scale").unwrap();
        let spec = scale.review(ACCOUNT, "scaling").spec;
        assert_eq!(spec.user.as_deref(), Some("system:serviceaccount:scaling:ebb-autoscaler"));
        assert!(spec.groups.unwrap().contains(&"system:serviceaccounts:scaling".to_owned()));
        let asked = spec.resource_attributes.unwrap();
        assert_eq!(
            (asked.resource.as_deref(), asked.subresource.as_deref()),
            (Some("deployments"), Some("scale"))
        );
    }

    #[test]
    fn what_is_missing_is_named_and_what_cannot_be_asked_is_no_fault() {
        let right = rights().remove(0);
        let answer = |answer: Result<bool, Failure>| vec![(right.clone(), answer)];
        assert_eq!(judge(ACCOUNT, 1, &answer(Ok(true))).level, Level::Ok);
        let missing = judge(ACCOUNT, 1, &answer(Ok(false)));
        assert!(missing.level == Level::Fault && missing.what.contains(&right.in_words()), "{missing:?}");
        let forbidden = Failure { what: "asking".to_owned(), code: Some(403), text: "no".to_owned() };
        assert_eq!(judge(ACCOUNT, 1, &answer(Err(forbidden))).level, Level::Warning);
        let many: Vec<_> = (0..10).flat_map(|_| answer(Ok(false))).collect();
        assert!(judge(ACCOUNT, 10, &many).what.ends_with("and 2 more"));
    }
}
