//! The key of the cluster's settings that makes the autoscaler give all Services back.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{Cluster, FIELD_MANAGER, Failure, bound::SETTINGS};

const KEY: &str = "release";
/// Marks a ConfigMap that was created only for this key.
const OURS: &str = "ebb.dev/made-for-release";

/// Makes the autoscaler give all Services back, or take them up again. Returns whether this changed anything.
///
/// # Errors
///
/// Returns an error if the API server refuses.
pub(crate) async fn set_release(cluster: &Cluster, namespace: &str, release: bool) -> Result<bool, Failure> {
    let api: Api<ConfigMap> = cluster.within(namespace);
    let what = "setting `release` in the ConfigMap ebb-config";
    let there = cluster.find(what, api.get(SETTINGS)).await?;
    match step(there.as_ref(), release) {
        Step::Nothing => return Ok(false),
        Step::Create => {
            let map = serde_json::from_value(json!({
                "metadata": {"name": SETTINGS, "annotations": {OURS: "true"}}, "data": {KEY: "true"},
            }));
            let params =
                PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
            let map =
                map.map_err(|error| Failure { what: what.into(), code: None, text: error.to_string() })?;
            cluster.call(what, api.create(&params, &map)).await?;
        }
        Step::Set(value) => {
            let patch = json!({"data": {KEY: value}});
            let params =
                PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            cluster.call(what, api.patch(SETTINGS, &params, &Patch::Merge(&patch))).await?;
        }
        Step::Delete => {
            cluster.find(what, api.delete(SETTINGS, &DeleteParams::default())).await?;
        }
    }
    Ok(true)
}

/// What to do with the ConfigMap.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Create,
    /// The key's value; `None` removes it.
    Set(Option<&'static str>),
    Delete,
}

fn step(there: Option<&ConfigMap>, release: bool) -> Step {
    let Some(map) = there else {
        return if release { Step::Create } else { Step::Nothing };
    };
    let data = map.data.as_ref();
    let value = data.and_then(|data| data.get(KEY)).map(String::as_str);
    if release {
        return if value == Some("true") { Step::Nothing } else { Step::Set(Some("true")) };
    }
    let is_ours = map.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(OURS));
    match value {
        None => Step::Nothing,
        Some(_) if is_ours && data.is_some_and(|data| data.len() == 1) => Step::Delete,
        Some(_) => Step::Set(None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_users_settings_stay_and_our_own_go() {
        let map = |annotations: Value, data: Value| -> Option<ConfigMap> {
            Some(
                serde_json::from_value(json!({"metadata": {"annotations": annotations}, "data": data}))
                    .unwrap(),
            )
        };
        let ours = json!({OURS: "true"});
        for (there, release, wanted) in [
            (None, true, Step::Create),
            (None, false, Step::Nothing),
            (map(json!({}), json!({"stable-window": "30s"})), true, Step::Set(Some("true"))),
            (map(json!({}), json!({"release": "false"})), true, Step::Set(Some("true"))),
            (map(json!({}), json!({"release": "true"})), true, Step::Nothing),
            (map(json!({}), json!({"release": "true"})), false, Step::Set(None)),
            (map(ours.clone(), json!({"release": "true"})), false, Step::Delete),
            (map(ours, json!({"release": "true", "max-scale": "5"})), false, Step::Set(None)),
            (map(json!({}), json!({"max-scale": "5"})), false, Step::Nothing),
        ] {
            assert_eq!(step(there.as_ref(), release), wanted, "{there:?} {release}");
        }
    }
}
