//! What the webhook of `ConfigMap`s says.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use super::{Map, Settings, example_fault};

/// Examines a `ConfigMap` before it is stored; returns warnings. One that has no settings is not looked at.
///
/// # Errors
///
/// Returns why it is refused: an edited example, or everything that is wrong with the settings, a line each.
pub fn admit(map: &ConfigMap) -> Result<Vec<String>, String> {
    let name = map.name_any();
    if Map::of(&name).is_none() {
        return Ok(Vec::new());
    }
    if let Some(fault) = example_fault(map) {
        return Err(fault);
    }
    let taken = Settings::default().take(&name, map.data.as_ref());
    if taken.faults.is_empty() {
        return Ok(taken.warnings);
    }
    let faults: Vec<String> = taken.faults.iter().map(ToString::to_string).collect();
    Err(faults.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, pairs: &[(&str, &str)]) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = Some(name.to_owned());
        map.data = Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        map
    }

    #[test]
    fn a_good_map_is_admitted_with_warnings() {
        let good = map(
            "config-gc",
            &[("min-non-active-revisions", "3"), ("max-non-active", "5"), ("_example", "x")],
        );
        let warning =
            "config-gc: max-non-active: unknown, has no effect; did you mean max-non-active-revisions?";
        assert_eq!(admit(&good), Ok(vec![warning.to_owned()]));
    }

    #[test]
    fn a_bad_map_is_refused_with_all_of_its_faults() {
        let bad = map("config-gc", &[("min-non-active-revisions", "-1"), ("retain-since-create-time", "2d")]);
        assert_eq!(
            admit(&bad).unwrap_err(),
            "config-gc: retain-since-create-time: \"2d\" is not allowed; want a duration of at least 0s, or disabled\n\
             config-gc: min-non-active-revisions: \"-1\" is out of range; want an integer from 0 to 2147483647"
        );
    }

    #[test]
    fn an_edited_example_is_refused() {
        let mut edited = map("config-gc", &[("_example", "edited")]);
        edited.metadata.annotations =
            Some([("knative.dev/example-checksum".into(), "83dcefb7".into())].into());
        assert!(admit(&edited).unwrap_err().starts_with("the update modifies a key in \"_example\""));
    }

    #[test]
    fn maps_without_settings_are_admitted_whatever_they_contain() {
        assert_eq!(admit(&map("config-logging", &[("min-non-active-revisions", "x")])), Ok(Vec::new()));
        assert_eq!(admit(&ConfigMap::default()), Ok(Vec::new()));
    }
}
