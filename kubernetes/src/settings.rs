//! Reads the cluster's settings from a ConfigMap.

use std::collections::BTreeMap;

use ebb_annotations::ClusterDefaults;
use k8s_openapi::api::core::v1::ConfigMap;

use crate::http_routes::Parent;

/// The name of the ConfigMap in Ebb's own namespace.
pub(crate) const NAME: &str = "ebb-config";

/// The key that gives every service back, before Ebb is removed.
const RELEASE: &str = "release";
/// The key that names the Gateway for which Ebb writes HTTPRoutes.
const GATEWAY_PARENT: &str = "gateway-parent";

/// The settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Settings {
    pub(crate) defaults: ClusterDefaults,
    pub(crate) releases: bool,
    /// The Gateway for which Ebb writes HTTPRoutes.
    pub(crate) gateway: Option<Parent>,
}

/// Why the settings cannot be used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refused {
    /// Everything that is wrong with them.
    pub(crate) faults: Vec<String>,
    /// Whether to give every service back nevertheless.
    pub(crate) releases: bool,
}

/// Reads the settings; without a ConfigMap, or without data, everything has its default.
///
/// # Errors
///
/// Returns everything that is wrong with them.
pub(crate) fn read(map: Option<&ConfigMap>) -> Result<Settings, Refused> {
    let empty = BTreeMap::new();
    let data = map.and_then(|map| map.data.as_ref()).unwrap_or(&empty);
    let defaults = ClusterDefaults::from_map(data);
    let releases = match data.get(RELEASE).map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("{RELEASE}: {other:?} is neither true nor false; want true or false")),
    };
    let gateway = data.get(GATEWAY_PARENT).map(|text| Parent::read(text)).transpose();
    let gateway = gateway.map(Option::flatten).map_err(|fault| format!("{GATEWAY_PARENT}: {fault}"));
    match (defaults, releases, gateway) {
        (Ok(defaults), Ok(releases), Ok(gateway)) => Ok(Settings { defaults, releases, gateway }),
        (defaults, releases, gateway) => {
            let faults = defaults.err().unwrap_or_default();
            let is_released = matches!(releases, Ok(true));
            let faults = faults.iter().map(ToString::to_string).chain(releases.err()).chain(gateway.err());
            let faults = faults.collect();
            Err(Refused { faults, releases: is_released })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> ConfigMap {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        ConfigMap { data: Some(data), ..ConfigMap::default() }
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        assert_eq!(read(None), Ok(Settings::default()));
        let settings = read(Some(&map(&[("stable-window", "30s"), ("release", "true")]))).unwrap();
        assert_eq!((settings.defaults.stable_window.as_secs(), settings.releases), (30, true));
    }

    #[test]
    fn a_gateway_is_named_or_none_is() {
        let gateway = |text| read(Some(&map(&[("gateway-parent", text)]))).map(|settings| settings.gateway);
        assert_eq!(gateway("infra/web").unwrap().unwrap().to_string(), "infra/web");
        assert_eq!(gateway(""), Ok(None));
        let faults = gateway("web").unwrap_err().faults;
        assert_eq!(
            faults,
            ["gateway-parent: \"web\" names no Gateway; want NAMESPACE/NAME, or NAMESPACE/NAME/LISTENER"]
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let refused = read(Some(&map(&[("stable-window", "1s"), ("release", "maybe")]))).unwrap_err();
        assert_eq!((refused.faults.len(), refused.releases), (2, false), "{refused:?}");
        let refused = read(Some(&map(&[("stable-window", "1s"), ("release", "true")]))).unwrap_err();
        assert!(refused.releases, "who leaves is not kept by what is wrong elsewhere");
    }
}
